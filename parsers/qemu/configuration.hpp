// CONFIGURATION: 07 · be32 n · n bytes of machine type · subsections (05 · u8 n · name · be32 version ·
// body):
//
//     configuration/capabilities      be32 count, then count × (u8 n, name)
//     configuration/target-page-bits  be32
//     configuration/uuid              16 bytes
#pragma once

#include <cstdint>
#include <string_view>

#include "parsers/wire/pull.hpp"

namespace vmferry::qemu {

struct ParsedConfiguration {
    std::string_view machine;
    Bytes subsections;
};

/// Needs one byte beyond the last subsection, to see that no other follows. `offset` = stream offset of
/// in[0].
[[nodiscard]] Result<Step<ParsedConfiguration>> parse_configuration(Bytes in, std::uint64_t offset);

}  // namespace vmferry::qemu
