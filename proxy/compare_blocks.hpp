// The RAM blocks that a QEMU has or sends, against those of a plan.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "parsers/qemu/stream_writer.hpp"
#include "parsers/wire/error.hpp"
#include "translators/plan.hpp"

namespace vmferry {

/// Each block that guest memory is in must be there and just as long as the plan says: a longer one means
/// another memory layout, and what is missing shows otherwise only after the guest has been paused. `others`:
/// blocks besides plain RAM with their bytes; one without a name is none. `component` stands in the error
/// (kind environment).
Result<void> compare_blocks(const char* component, const std::vector<qemu::RamBlock>& blocks,
                            const std::vector<RamRange>& ram,
                            std::initializer_list<std::pair<std::string, std::uint64_t>> others);

}  // namespace vmferry
