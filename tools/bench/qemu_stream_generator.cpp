#include "tools/bench/qemu_stream_generator.hpp"

#include <algorithm>
#include <utility>

#include "parsers/qemu/format.hpp"
#include "tools/bench/xen_stream_generator.hpp"

namespace vmferry::bench {

namespace {

constexpr std::uint64_t four_gib = 1ull << 32, split_from = 3584ull << 20, mib = 1u << 20;

std::uint64_t low_end(const QemuGuestLayout& layout) {
    return layout.ram_bytes < split_from ? layout.ram_bytes : layout.below_4g;
}

}  // namespace

std::vector<qemu::RamBlock> blocks_of(const QemuGuestLayout& layout) {
    std::vector<qemu::RamBlock> blocks{{"pc.ram", layout.ram_bytes}};
    if (layout.vram_bytes > 0) blocks.push_back({"0000:00:02.0/vga.vram", layout.vram_bytes});
    blocks.push_back({"/rom@etc/acpi/tables", 0x20000});
    blocks.push_back({"pc.bios", 0x40000});
    blocks.push_back({"pc.rom", 0x20000});
    return blocks;
}

XenPlan xen_plan_for(const QemuGuestLayout& layout) {
    XenPlan plan;
    plan.name = "generated";
    plan.config = R"({"c_info":{"type":"hvm","name":"generated"},"b_info":{"type.hvm":{}}})";
    plan.xen_major = 4;
    plan.xen_minor = 17;
    plan.ram_bytes = layout.ram_bytes;
    const auto low = low_end(layout);
    plan.ram.push_back({0, 0xA0000 / page_size, "pc.ram", 0});
    plan.ram.push_back({0xC0000 / page_size, (low - 0xC0000) / page_size, "pc.ram", 0xC0000});
    if (low < layout.ram_bytes)
        plan.ram.push_back({four_gib / page_size, (layout.ram_bytes - low) / page_size, "pc.ram", low});
    if (layout.vram_bytes > 0) {
        plan.vga_vmsd = "vga";
        plan.vga_slot = {2, 0};
        plan.vram_block = "0000:00:02.0/vga.vram";
        plan.vram_bytes = layout.vram_bytes;
    }
    return plan;
}

std::uint64_t qemu_page_tag(const QemuGuestLayout& layout, std::uint32_t block, std::uint64_t offset,
                            unsigned round) {
    const auto page = offset / page_size;
    if (page % 8 >= layout.used_of_eight) return 0;
    return (page + 1) << 16 | std::uint64_t{block} << 8 | round;
}

bool qemu_page_sent(const QemuGuestLayout& layout, std::uint32_t block, std::uint64_t offset) {
    if (block != 0 || layout.hinted == 0 || offset < mib) return true;
    return offset / page_size % layout.hinted >= layout.hinted / 2;
}

QemuStreamGenerator::QemuStreamGenerator(QemuGuestLayout layout)
    : layout_(layout), blocks_(blocks_of(layout)) {
    piece_.reserve(pages_per_part * (page_size + 8) + page_size);
}

Bytes QemuStreamGenerator::next() {
    piece_.clear();
    switch (stage_) {
        case Stage::head:
            stage_ = Stage::pages;
            return head();
        case Stage::pages:
            if (block_ == blocks_.size() && ++round_ < layout_.rounds) block_ = 0;
            if (block_ < blocks_.size()) return part();
            stage_ = Stage::end;
            return tail();
        default:
            return {};
    }
}

Bytes QemuStreamGenerator::head() {
    Buffer value;
    append_be(value, std::uint32_t{1});
    qemu::write_file_header(piece_);
    qemu::write_configuration(piece_, "pc-i440fx-7.2");
    qemu::write_command(piece_, static_cast<std::uint16_t>(qemu::Command::open_return_path));
    qemu::write_command(piece_, static_cast<std::uint16_t>(qemu::Command::ping), value);
    qemu::write_ram_start(piece_, blocks_);
    return piece_;
}

Bytes QemuStreamGenerator::part() {
    qemu::write_ram_part_head(piece_);
    bool named = false;
    for (std::size_t i = 0; i < pages_per_part && block_ < blocks_.size(); ++i) {
        const auto& block = blocks_[block_];
        if (qemu_page_sent(layout_, block_, offset_)) {
            const std::string_view name = named ? std::string_view() : std::string_view(block.idstr);
            named = true;
            if (const auto tag = qemu_page_tag(layout_, block_, offset_, round_); tag == 0) {
                qemu::write_zero_page(piece_, offset_, name);
            } else {
                qemu::write_page_head(piece_, offset_, name);
                append_le(piece_, tag);
                append(piece_, frame_filling());
            }
        }
        offset_ += page_size;
        if (offset_ < block.used_length) continue;
        offset_ = 0;
        ++block_;
        named = false;
    }
    qemu::write_ram_tail(piece_);
    return piece_;
}

Bytes QemuStreamGenerator::tail() {
    qemu::write_ram_end_head(piece_);
    qemu::write_ram_tail(piece_);
    qemu::Field ticks;
    ticks.name = "ticks";
    ticks.type = "int64";
    ticks.size = 8;
    append_be(ticks.data, std::int64_t{0x1234});
    qemu::Section timer;
    timer.section_id = 3;
    timer.idstr = "timer";
    timer.version = 2;
    timer.root.vmsd_name = "timer";
    timer.root.version = 2;
    timer.root.fields.push_back(std::move(ticks));
    qemu::write_section(piece_, timer);
    qemu::write_eof(piece_);
    qemu::write_description(
        piece_,
        R"({"page_size": 4096, "devices": [{"name": "timer", "instance_id": 0, "vmsd_name": "timer", )"
        R"("version": 2, "fields": [{"name": "ticks", "type": "int64", "size": 8}]}]})");
    return piece_;
}

}  // namespace vmferry::bench
