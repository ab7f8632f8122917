#include "parsers/qemu/stream_writer.hpp"

#include "parsers/qemu/format.hpp"

namespace vmferry::qemu {
namespace {

void write_type(Buffer& out, ItemType type) {
    append_be(out, static_cast<std::uint8_t>(type));
}

void write_idstr(Buffer& out, std::string_view name) {
    append_be(out, static_cast<std::uint8_t>(name.size()));
    append(out, name);
}

void write_footer(Buffer& out, std::uint32_t section_id) {
    write_type(out, ItemType::section_footer);
    append_be(out, section_id);
}

void write_page_word(Buffer& out, std::uint64_t offset_in_block, std::uint64_t kind, std::string_view name) {
    append_be(out, offset_in_block | kind | (name.empty() ? page_continue : 0));
    if (!name.empty()) write_idstr(out, name);
}

}  // namespace

void write_file_header(Buffer& out) {
    append_be(out, file_magic);
    append_be(out, file_version);
}

void write_configuration(Buffer& out, std::string_view machine, Bytes subsections) {
    write_type(out, ItemType::configuration);
    append_be(out, static_cast<std::uint32_t>(machine.size()));
    append(out, machine);
    append(out, subsections);
}

void write_ram_start(Buffer& out, std::span<const RamBlock> blocks, std::uint32_t section_id) {
    write_type(out, ItemType::section_start);
    append_be(out, section_id);
    write_idstr(out, "ram");
    append_be(out, std::uint32_t{0});
    append_be(out, ram_version);
    std::uint64_t total = 0;
    for (const auto& block : blocks) total += block.used_length;
    append_be(out, total | page_mem_size);
    for (const auto& block : blocks) {
        write_idstr(out, block.idstr);
        append_be(out, block.used_length);
    }
    write_ram_tail(out, section_id);
}

void write_ram_part_head(Buffer& out, std::uint32_t section_id) {
    write_type(out, ItemType::section_part);
    append_be(out, section_id);
}

void write_ram_end_head(Buffer& out, std::uint32_t section_id) {
    write_type(out, ItemType::section_end);
    append_be(out, section_id);
}

void write_ram_tail(Buffer& out, std::uint32_t section_id) {
    append_be(out, page_eos);
    write_footer(out, section_id);
}

void write_page_head(Buffer& out, std::uint64_t offset_in_block, std::string_view name) {
    write_page_word(out, offset_in_block, page_normal, name);
}

void write_zero_page(Buffer& out, std::uint64_t offset_in_block, std::string_view name) {
    write_page_word(out, offset_in_block, page_zero, name);
    append_be(out, std::uint8_t{0});
}

void write_section_head(Buffer& out, const Section& section) {
    write_type(out, ItemType::section_full);
    append_be(out, section.section_id);
    write_idstr(out, section.idstr);
    append_be(out, section.instance);
    append_be(out, section.version);
}

void write_section(Buffer& out, const Section& section) {
    write_section_head(out, section);
    append(out, encode_payload(section));
    write_footer(out, section.section_id);
}

void write_command(Buffer& out, std::uint16_t command, Bytes payload) {
    write_type(out, ItemType::command);
    append_be(out, command);
    append_be(out, static_cast<std::uint16_t>(payload.size()));
    append(out, payload);
}

void write_eof(Buffer& out) {
    write_type(out, ItemType::eof);
}

void write_description(Buffer& out, std::string_view json) {
    write_type(out, ItemType::vm_description);
    append_be(out, static_cast<std::uint32_t>(json.size()));
    append(out, json);
}

}  // namespace vmferry::qemu
