// The two halves of `vmferry inspect`: each lists one format until its end or the first error.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/wire/error.hpp"
#include "parsers/xen/stream_reader.hpp"
#include "tools/vmferry/input_window.hpp"
#include "tools/vmferry/listing.hpp"

namespace vmferry::cli {

/// Both fill `summary` (totals) with what was seen, also when they end with an error.
[[nodiscard]] Result<void> inspect_xen(InputWindow& input, xen::StreamReader::Start start, Listing& listing,
                                       nlohmann::ordered_json& summary);
[[nodiscard]] Result<void> inspect_qemu(InputWindow& input, Listing& listing,
                                        nlohmann::ordered_json& summary);

/// One device section with all its fields.
void show_section(Listing& listing, unsigned depth, const qemu::Section& section);
/// All sections of a Xen device model's blob that ends at `end`, and what stands behind its EOF.
void show_device_model(Listing& listing, unsigned depth, const qemu::DeviceTree& tree, std::uint64_t end);

}  // namespace vmferry::cli
