// QEMU's migration stream, read incrementally.
//
//     "QEVM" 3 · 07 CONFIGURATION · { 08 COMMAND }
//     01 START ram: block list, pages, EOS, footer · { 02 PART ram: pages, EOS, footer } · 03 END ram:
//     likewise { 04 FULL: device state, footer } · 00 EOF · 06 VMDESCRIPTION: be32 length, JSON
//
// Only an ordinary precopy stream is read. Everything that needs the cooperation of two QEMUs (multifd,
// postcopy, xbzrle, compress, x-ignore-shared, mapped-ram, TLS, COLO, background snapshots, dirty bitmaps) is
// recognised and refused; the error's hint names the capability to switch off at the source.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/qemu/format.hpp"
#include "parsers/qemu/stream_writer.hpp"
#include "parsers/wire/pull.hpp"

namespace vmferry::qemu {

inline constexpr std::size_t max_machine_name = 255;
inline constexpr std::size_t max_configuration_subsections = 64u << 10;  ///< bytes
inline constexpr std::size_t max_ram_blocks = 4096;
inline constexpr std::uint64_t max_block_length = std::uint64_t{1} << 52;
inline constexpr std::size_t max_device_state = 256u << 20;  ///< bytes held between the first FULL and EOF

struct FileHeader {};
struct Configuration {
    std::string_view machine;  ///< "pc-i440fx-7.2"
    Bytes subsections;         ///< raw, all of them
};
struct RamStart {
    std::uint32_t section_id = 0;
    std::vector<RamBlock> blocks;
};
/// A PART or the END begins; pages follow.
struct RamPart {
    std::uint32_t section_id = 0;
    bool end = false;
};
struct RamPage {
    std::uint32_t block = 0;   ///< index in RamStart::blocks
    bool named = false;        ///< the record named its block; false: CONTINUE
    std::uint64_t offset = 0;  ///< in the block
    Bytes data;                ///< 4096 bytes; empty: a page of zeros
};
/// EOS and footer of START, PART or END.
struct RamTail {
    std::uint32_t section_id = 0;
};
struct CommandItem {
    Command command{};
    Bytes payload;
};
/// Everything from the first FULL section to the end of the stream.
struct DeviceState {
    DeviceTree tree;
    Bytes raw;  ///< the FULL sections, without EOF
    std::string_view description;
};
using Event =
    std::variant<FileHeader, Configuration, RamStart, RamPart, RamPage, RamTail, CommandItem, DeviceState>;

/// Pull parser; contract in parsers/wire/pull.hpp.
///
/// Device sections have no length and the description that tells their layout comes last. From the first FULL
/// section on the reader therefore only asks for more, one byte beyond what there is, until a description has
/// arrived that accounts for every byte since then; the caller holds these bytes, at most max_device_state
/// and max_description. Nothing else needs more than the block list (max_ram_blocks × 264 bytes).
/// After DeviceState the stream has ended: any further byte is an error.
class StreamReader {
  public:
    StreamReader();
    ~StreamReader();
    StreamReader(StreamReader&&) noexcept;
    StreamReader& operator=(StreamReader&&) noexcept;

    [[nodiscard]] Result<Step<Event>> next(Bytes in);
    /// Bytes consumed since the beginning of the stream.
    [[nodiscard]] std::uint64_t offset() const;
    [[nodiscard]] bool finished() const;  ///< DeviceState has been delivered
    /// The stream ended here: what was being read, as an error; `rest` = the unread bytes that were left.
    [[nodiscard]] Error truncated(Bytes rest) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace vmferry::qemu
