// The libxl layer: header and bodies of its records. Framing: stream_reader.cpp.
//
//     header (16, BE)   u64 ident "LibxlFmt" · u32 version 2 · u32 options (bit 0 big-endian, bit 1 legacy)
//     emulator records  u32 emulator (2 = qemu-upstream) · u32 index · data
#pragma once

#include <cstdint>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "parsers/wire/place.hpp"
#include "parsers/xen/records.hpp"

namespace vmferry::xen {

inline constexpr std::size_t libxl_header_size = 16;
inline constexpr std::size_t emulator_header_size = 8;
inline constexpr std::uint64_t libxl_ident = 0x4C6962786C466D74;  // "LibxlFmt"
inline constexpr std::uint32_t libxl_option_big_endian = 1, libxl_option_legacy = 2;

enum class LibxlType : std::uint32_t {
    end = 0,
    libxc_context = 1,
    emulator_xenstore_data = 2,
    emulator_context = 3,
    checkpoint_end = 4,
    checkpoint_state = 5,
};
/// "EMULATOR_CONTEXT", …; nullptr for a type that libxl does not define.
[[nodiscard]] const char* libxl_record_name(std::uint32_t type);

/// Precondition: in.size() >= libxl_header_size.
[[nodiscard]] Result<LibxlHeader> read_libxl_header(Bytes in, std::uint64_t offset);

// Bodies, without padding; `place.offset` is the offset of the body.
[[nodiscard]] Result<EmulatorXenstoreData> read_emulator_xenstore_data(Bytes body, const Place& place);
[[nodiscard]] Result<EmulatorContext> read_emulator_context(Bytes body, const Place& place);

}  // namespace vmferry::xen
