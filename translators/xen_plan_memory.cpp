// RAM of a QEMU guest, and what a Xen domain must be told to have it at the same addresses.
//
//     QEMU   main block (-m)   0 … split, the rest from 4 GiB on; the split is QEMU's own or max-ram-below-4g
//            memory modules    where they were plugged
//     Xen    RAM               0 … 4 GiB − MMIO hole, the rest from 4 GiB on, in one piece
//
// So modules must follow the main block's high part without a gap, as they do in guests that were taken over
// from Xen. Xen makes room for the RAM of the adapter besides; other blocks are ROMs that only QEMU's own
// firmware reads.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "translators/devices.hpp"
#include "translators/size_text.hpp"
#include "translators/xen_memory_map.hpp"
#include "translators/xen_plan_parts.hpp"

namespace vmferry {

namespace {

constexpr std::uint64_t kib = 1u << 10, mib = 1u << 20, gib = 1u << 30;
constexpr std::uint64_t four_gib = 4 * gib;
constexpr std::uint64_t page = 4096;
constexpr std::uint64_t least_hole = 256 * mib, largest_hole = 3840 * mib;  // xl.cfg(5), mmio_hole
constexpr std::uint64_t vga_window = 0xA0000, vga_window_end = 0xC0000;
/// pc-i440fx: RAM from 3.5 GiB on is split, and 3 GiB of it stay below (hw/i386/pc_piix.c).
constexpr std::uint64_t split_by_default = 3584 * mib, low_part_by_default = 3 * gib;
/// QEMU moves high RAM away from here, where AMD's HyperTransport has its addresses.
constexpr std::uint64_t hypertransport = 0xFD00000000;
constexpr std::uint64_t largest_seabios = 256 * kib;  ///< a bigger -bios is another firmware
constexpr std::string_view vram_name = "/vga.vram", firmware_area_name = "/xfw";
constexpr std::array<std::string_view, 2> flash_names{"system.flash", "pflash"};

const qemu::RamBlock* find_block(const QemuSource& source, std::string_view name) {
    const auto found = std::ranges::find(source.blocks, name, &qemu::RamBlock::idstr);
    return found == source.blocks.end() ? nullptr : &*found;
}

struct Block {
    std::string name;
    std::uint64_t base = 0, bytes = 0;  ///< guest-physical
    std::uint64_t offset = 0;           ///< of `base` in the block
};

/// Where plain RAM lies, ascending. Empty, with a finding, if that is not certain.
std::vector<Block> ram_layout(const XenPlanInput& in, const DomainConfig* given, AuditReport& audit) {
    const std::string name = in.facts ? in.facts->ram_block : "pc.ram";
    const auto* main = find_block(in.source, name);
    if (main == nullptr) {
        audit.violated("memory-layout", name.empty() ? "the RAM is in several parts (NUMA)"
                                                     : fmt::format("no RAM block {} in the stream", name));
        return {};
    }
    const auto bytes = main->used_length;
    auto low = bytes < split_by_default ? bytes : low_part_by_default;
    if (given != nullptr && given->mmio_hole_memkb * kib > least_hole)
        low = std::min(bytes, four_gib - std::min(given->mmio_hole_memkb * kib, largest_hole));
    if (in.facts) low = std::min(bytes, in.facts->low_ram_end);
    std::vector<Block> ram{{name, 0, low, 0}};
    if (low < bytes) ram.push_back({name, four_gib, bytes - low, low});
    if (!in.facts) return ram;
    for (const auto& dimm : in.facts->dimms) {
        const auto* block = find_block(in.source, dimm.block);
        const auto expected = std::max(four_gib, ram.back().base + ram.back().bytes);
        if (block == nullptr || block->used_length != dimm.bytes || dimm.base != expected) {
            audit.violated("memory-layout", fmt::format("a memory module of {} MiB at {:#x}, not at {:#x}",
                                                        dimm.bytes / mib, dimm.base, expected));
            return {};
        }
        ram.push_back({dimm.block, dimm.base, dimm.bytes, 0});
    }
    return ram;
}

void add_range(XenPlan& plan, const Block& block, std::uint64_t first, std::uint64_t end) {
    if (end <= first) return;
    plan.ram.push_back({first / page, (end - first) / page, block.name, block.offset + (first - block.base)});
}

void check_other_blocks(const XenPlanInput& in, const XenPlan& plan, AuditReport& audit) {
    for (const auto& block : in.source.blocks) {
        const auto& name = block.idstr;
        const bool flash = std::ranges::any_of(
            flash_names, [&](std::string_view known) { return name.find(known) != std::string::npos; });
        if (flash || (name == "pc.bios" && block.used_length > largest_seabios)) {
            audit.violated("uefi-firmware",
                           fmt::format("RAM block {} of {} KiB", name, block.used_length / kib));
            continue;
        }
        const bool plain =
            std::ranges::any_of(plan.ram, [&](const RamRange& range) { return range.block == name; });
        if (plain || name == plan.vram_block || name == plan.acpi_block || dispensable_block(name) != nullptr)
            continue;
        audit.violated("memory-layout", fmt::format("RAM block {} of {} KiB has no known place", name,
                                                    block.used_length / kib));
    }
}

/// Without facts: the stream has the memory of one adapter at most.
void find_video_memory(const XenPlanInput& in, const DomainConfig* given, XenPlan& plan, AuditReport& audit) {
    if (in.facts) {
        if (in.facts->vga.empty()) return;
        plan.vga_vmsd = in.facts->vga == "VGA" ? "vga" : "cirrus_vga";
        plan.vga_slot = in.facts->vga_slot;
        plan.vram_block =
            fmt::format("0000:00:{:02x}.{}/vga.vram", plan.vga_slot.device, plan.vga_slot.function);
    } else if (given != nullptr) {
        const auto found = std::ranges::find_if(
            in.source.blocks, [](const qemu::RamBlock& block) { return block.idstr.ends_with(vram_name); });
        const auto slot = found == in.source.blocks.end() ? std::nullopt : slot_of(found->idstr);
        if (!slot) return;
        plan.vga_vmsd = given->vga == "std" ? "vga" : "cirrus_vga";
        plan.vga_slot = *slot;
        plan.vram_block = found->idstr;
    }
    const auto* block = find_block(in.source, plan.vram_block);
    if (block == nullptr) {
        audit.violated("video-memory", fmt::format("no RAM block {} in the stream", plan.vram_block));
        return;
    }
    plan.vram_bytes = block->used_length;
}

}  // namespace

std::uint64_t plan_xen_memory(const XenPlanInput& in, const DomainConfig* given, XenPlan& plan,
                              AuditReport& audit) {
    for (const auto& block : in.source.blocks) {
        if (!block.idstr.ends_with(firmware_area_name) || !slot_of(block.idstr)) continue;
        plan.acpi_block = block.idstr;
        plan.acpi_bytes = block.used_length;
    }
    find_video_memory(in, given, plan, audit);

    const auto ram = ram_layout(in, given, audit);
    if (ram.empty()) return 0;
    for (const auto& block : ram) {
        const auto end = block.base + block.bytes;
        plan.ram_bytes += block.bytes;
        if (block.base == 0) {
            add_range(plan, block, 0, std::min(end, vga_window));
            add_range(plan, block, vga_window_end, end);
        } else {
            add_range(plan, block, block.base, end);
        }
    }
    check_other_blocks(in, plan, audit);

    const auto low = ram.front().bytes, high = plan.ram_bytes - low;
    const auto hole = four_gib - std::min(low, four_gib);
    const bool split = high > 0;
    // libxl takes a hole of whole MiB; the rest only has to be whole pages.
    if (plan.ram_bytes % page != 0 || (split && low % mib != 0) || hole < least_hole ||
        (split && hole > largest_hole) || ram.back().base + ram.back().bytes > hypertransport) {
        audit.violated("memory-layout",
                       fmt::format("{} KiB of RAM at 0 and {} KiB at 4 GiB", low / kib, high / kib));
        return 0;
    }
    audit.carried("memory", split ? fmt::format("{} at 0 and {} at 4 GiB", size_text(low), size_text(high))
                                  : fmt::format("{} at 0", size_text(low)));
    if (const auto more = plan.configured_ram_bytes() - plan.ram_bytes; more != 0)
        audit.adapted(
            "memory",
            fmt::format("{} more, which the guest sees after a reset: Xen builds domains of whole MiB",
                        size_text(more)));
    if (!plan.acpi_block.empty())
        audit.carried("firmware area", fmt::format("block {} at {:#x}", plan.acpi_block, plan.acpi_base));
    return split && hole != least_hole ? hole : 0;
}

}  // namespace vmferry
