// A whole QEMU stream held in memory, decoded: what a twin sends as a template, and what tests compare.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/qemu/stream_reader.hpp"
#include "parsers/qemu/stream_writer.hpp"
#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"

namespace vmferry::qemu {

struct Snapshot {
    std::string machine;               ///< from CONFIGURATION, "pc-i440fx-7.2"
    Buffer configuration_subsections;  ///< raw, as sent
    std::vector<RamBlock> blocks;
    /// Non-zero pages: block idstr → offset in the block → 4096 bytes.
    std::map<std::string, std::map<std::uint64_t, Buffer>> pages;
    DeviceTree tree;
    std::string description;  ///< JSON, empty if the stream has none
};

/// Reads a complete precopy stream with a description (whole in memory). `max_pages_bytes` bounds what is
/// held of RAM.
[[nodiscard]] Result<Snapshot> read_snapshot(Bytes stream, std::size_t max_pages_bytes = 256u << 20);

/// The device model's blob of a Xen stream (no CONFIGURATION, no footers; a description is skipped), cut with
/// the schemas in parsers/qemu/schema*. `offset` = stream offset of blob[0]. A section that has no schema or
/// does not fit is an error that names section and version.
[[nodiscard]] Result<DeviceTree> read_device_model(Bytes blob, std::uint64_t offset);
/// Inverse of read_device_model.
[[nodiscard]] Buffer write_device_model(const DeviceTree& tree);

}  // namespace vmferry::qemu
