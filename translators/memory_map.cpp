#include "translators/memory_map.hpp"

#include <algorithm>

namespace vmferry {

namespace {

constexpr std::uint64_t frame(std::uint64_t address) {
    return address >> 12;
}

constexpr std::uint64_t vga_window_first = frame(0xA0000), vga_window_end = frame(0xC0000);
constexpr std::uint64_t special_first = frame(0xFEFF0000), special_end = frame(0xFF000000);
constexpr std::uint64_t four_gib = frame(1ull << 32);
/// The device model's RAM blocks behind the guest's RAM besides video RAM: option ROMs of the display adapter
/// and of each card, at most a few MiB each.
constexpr std::uint64_t option_rom_frames = frame(64u << 20);
constexpr const char* option_rom = "RAM behind an option ROM or behind video memory before its relocation";

}  // namespace

MemoryMap::MemoryMap(const Plan& plan) {
    for (const auto& range : plan.ram)
        runs_.push_back({range.first_gfn, range.frames, FrameFate::ram, block_index(range.block),
                         range.block_offset, ""});
    // Large runs first: most frames are found by the first compare.
    std::ranges::sort(runs_, std::greater{}, &Run::frames);

    // Without a firmware area everything up to Xen's special pages may be video memory.
    auto acpi_first = special_first;
    if (!plan.acpi_block.empty()) {
        acpi_first = frame(plan.acpi_base);
        runs_.push_back(
            {acpi_first, frame(plan.acpi_bytes), FrameFate::ram, block_index(plan.acpi_block), 0, ""});
    }

    vram_frames_ = frame(plan.vram_bytes);
    if (vram_frames_ > 0) vram_block_ = block_index(plan.vram_block);

    const auto low_end = frame(plan.low_ram_end), hole = frame(plan.mmio_start);
    auto high_end = four_gib;
    for (const auto& range : plan.ram) high_end = std::max(high_end, range.first_gfn + range.frames);

    // The device model's blocks follow the guest's RAM, wherever that ends.
    device_first_ = high_end > four_gib ? high_end : low_end;
    device_frames_ = vram_frames_ + option_rom_frames;
    auto dropped_end = device_first_ + device_frames_;
    if (device_first_ < four_gib) dropped_end = std::min(dropped_end, std::max(hole, device_first_));
    if (dropped_end > device_first_)
        runs_.push_back({device_first_, dropped_end - device_first_, FrameFate::drop, 0, 0, option_rom});
    const auto hold_first = std::max(device_first_ < four_gib ? dropped_end : low_end, vga_window_end);
    if (hold_first < acpi_first)
        runs_.push_back({hold_first, acpi_first - hold_first, FrameFate::hold, 0, 0, ""});
    runs_.push_back(
        {special_first, special_end - special_first, FrameFate::drop, 0, 0, "Xen's special page"});
}

unsigned MemoryMap::block_index(const std::string& name) {
    const auto found = std::ranges::find(blocks_, name);
    const auto index = static_cast<unsigned>(found - blocks_.begin());
    if (found == blocks_.end()) blocks_.push_back(name);
    return index;
}

Result<FramePlace> MemoryMap::place_held(std::uint64_t gfn, std::uint64_t vga_bar) const {
    const auto inside = gfn - frame(vga_bar);
    if (vga_bar != 0 && gfn >= frame(vga_bar) && inside < vram_frames_)
        return FramePlace{FrameFate::ram, vram_block_, inside << 12, ""};
    // RAM that reaches up to the hole pushes the device model's blocks into it.
    if (gfn - device_first_ < device_frames_) return FramePlace{FrameFate::drop, 0, 0, option_rom};
    return stream_error(
        "libxc", "PAGE_DATA", "pfn", 0, fmt::format("RAM in frame {:#x}, inside the MMIO hole", gfn),
        vga_bar == 0 ? "none there, as the display adapter's memory is not mapped"
                     : fmt::format("video memory only, which lies in frames {:#x} to {:#x}", frame(vga_bar),
                                   frame(vga_bar) + vram_frames_ - (vram_frames_ > 0 ? 1 : 0)));
}

Result<FramePlace> MemoryMap::no_place(std::uint64_t gfn) const {
    if (gfn >= vga_window_first && gfn < vga_window_end)
        return stream_error("libxc", "PAGE_DATA", "pfn", 0, fmt::format("RAM in frame {:#x}", gfn),
                            "none in the VGA window (frames 0xa0 to 0xbf)");
    return stream_error("libxc", "PAGE_DATA", "pfn", 0, fmt::format("RAM in frame {:#x}", gfn),
                        "a frame inside the guest's memory as its configuration describes it");
}

}  // namespace vmferry
