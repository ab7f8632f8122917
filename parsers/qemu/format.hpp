// The constants of QEMU's migration stream, version 3: item types, commands, flags of the ram records.
#pragma once

#include <cstdint>
#include <string_view>

namespace vmferry::qemu {

inline constexpr std::string_view format_name = "qemu";

inline constexpr std::uint32_t file_magic = 0x5145564d;  // "QEVM"
inline constexpr std::uint32_t file_version = 3;
inline constexpr std::uint32_t multifd_magic = 0x11223344;
inline constexpr std::uint8_t tls_handshake = 0x16;

enum class ItemType : std::uint8_t {
    eof = 0x00,
    section_start = 0x01,
    section_part = 0x02,
    section_end = 0x03,
    section_full = 0x04,
    subsection = 0x05,
    vm_description = 0x06,
    configuration = 0x07,
    command = 0x08,
    section_footer = 0x7e,
};

enum class Command : std::uint16_t {
    invalid = 0,
    open_return_path = 1,
    ping = 2,
    postcopy_advise = 3,
    postcopy_listen = 4,
    postcopy_run = 5,
    postcopy_ram_discard = 6,
    packaged = 7,
    enable_colo = 8,
    postcopy_resume = 9,
    recv_bitmap = 10,
    switchover_start = 11,
};

// A ram record starts with a be64: the low 12 bits are these flags, the rest an offset inside a block.
inline constexpr std::uint32_t ram_version = 4;
inline constexpr std::uint64_t page_flags_mask = 0xfff;
inline constexpr std::uint64_t page_zero = 0x002;
inline constexpr std::uint64_t page_mem_size = 0x004;
inline constexpr std::uint64_t page_normal = 0x008;
inline constexpr std::uint64_t page_eos = 0x010;
inline constexpr std::uint64_t page_continue = 0x020;
inline constexpr std::uint64_t page_xbzrle = 0x040;
inline constexpr std::uint64_t page_hook = 0x080;
inline constexpr std::uint64_t page_compress = 0x100;
inline constexpr std::uint64_t page_multifd_flush = 0x200;

}  // namespace vmferry::qemu
