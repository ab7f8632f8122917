// QEMU's migration stream, written: header, CONFIGURATION, the ram section, device sections, EOF,
// description.
//
//     "QEVM" 3 · CONFIGURATION · START ram (block list) · PART ram (pages) … · END ram · FULL sections · EOF
//     · VMDESC
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/wire/bytes.hpp"

namespace vmferry::qemu {

struct RamBlock {
    std::string idstr;
    std::uint64_t used_length = 0;
};

inline constexpr std::uint32_t ram_section_id = 2;  ///< any value is accepted; this is what QEMU itself uses

void write_file_header(Buffer& out);
/// `payload`: what follows the type byte 0x07 (name length, name, subsections), e.g. a twin's own.
void write_configuration(Buffer& out, std::string_view machine, Bytes subsections = {});
/// START with the block list, EOS and footer.
void write_ram_start(Buffer& out, std::span<const RamBlock> blocks,
                     std::uint32_t section_id = ram_section_id);
/// Opens a PART or the END; pages follow, then write_ram_tail.
void write_ram_part_head(Buffer& out, std::uint32_t section_id = ram_section_id);
void write_ram_end_head(Buffer& out, std::uint32_t section_id = ram_section_id);
void write_ram_tail(Buffer& out, std::uint32_t section_id = ram_section_id);  ///< EOS and footer
/// A page record's head; the 4096 bytes follow for `page`. `name` empty: same block as the page before
/// (CONTINUE).
void write_page_head(Buffer& out, std::uint64_t offset_in_block, std::string_view name);
void write_zero_page(Buffer& out, std::uint64_t offset_in_block, std::string_view name);  ///< complete record
/// Type byte, id, name, instance and version of a FULL section; the payload follows.
void write_section_head(Buffer& out, const Section& section);
/// FULL section with payload and footer.
void write_section(Buffer& out, const Section& section);
/// A command with its payload, as it stands between the items.
void write_command(Buffer& out, std::uint16_t command, Bytes payload = {});
void write_eof(Buffer& out);
void write_description(Buffer& out, std::string_view json);

}  // namespace vmferry::qemu
