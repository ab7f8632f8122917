#include "tools/bench/generated_destination.hpp"

#include <algorithm>

namespace vmferry::bench {

Destination destination_for(const GuestLayout& layout) {
    constexpr std::uint64_t high_base = 1ull << 32;
    Destination target;
    auto& plan = target.plan;
    auto& twin = target.twin;
    const auto low = std::min(layout.ram_bytes, layout.mmio_hole);
    plan.ram_bytes = layout.ram_bytes;
    plan.low_ram_end = low;
    plan.mmio_start = layout.mmio_hole;
    plan.main_ram_bytes = low;
    plan.dimm_bytes = layout.ram_bytes - low;
    plan.ram.push_back({0, 0xA0000 / page_size, "pc.ram", 0});
    plan.ram.push_back({0xC0000 / page_size, (low - 0xC0000) / page_size, "pc.ram", 0xC0000});
    twin.machine = "pc-i440fx-7.2";
    twin.blocks.push_back({"pc.ram", low});
    if (layout.ram_bytes > low) {
        plan.ram.push_back({high_base / page_size, (layout.ram_bytes - low) / page_size, "hi", 0});
        twin.blocks.push_back({"hi", layout.ram_bytes - low});
    }
    if (layout.vram_bytes > 0) {
        plan.vga = "cirrus-vga";
        plan.vga_vmsd = "cirrus_vga";
        plan.vga_slot = {2, 0};
        plan.vram_bytes = layout.vram_bytes;
        plan.vram_block = "0000:00:02.0/vga.vram";
        twin.blocks.push_back({plan.vram_block, plan.vram_bytes});
    }
    plan.acpi_block = "xfw";
    plan.acpi_bytes = 2u << 20;
    twin.blocks.push_back({plan.acpi_block, plan.acpi_bytes});
    return target;
}

}  // namespace vmferry::bench
