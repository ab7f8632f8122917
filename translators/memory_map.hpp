// Where a guest frame of a Xen guest lives in the destination's RAM blocks.
//
//     0–0x9FFFF RAM · 0xA0000–0xBFFFF hole · 0xC0000–low_ram_end RAM (Xen has plain RAM under the ROMs)
//     low_ram_end … : frames that only back option-ROM BARs or VRAM before its relocation: dropped
//     0xF0000000 … (hole): VGA's BAR → vga.vram · 0xFC000000 … firmware area → acpi block · others: see below
//     0xFEFF0–0xFEFFF (frames): Xen's special pages: dropped
//     ≥ 4 GiB: high RAM
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "parsers/wire/error.hpp"
#include "translators/plan.hpp"

namespace vmferry {

enum class FrameFate {
    ram,   ///< known now: block and offset
    hold,  ///< inside the MMIO hole: only the device records say what it is
    drop,  ///< has no counterpart; `why` names it
};

struct FramePlace {
    FrameFate fate = FrameFate::drop;
    unsigned block = 0;        ///< index into MemoryMap::blocks()
    std::uint64_t offset = 0;  ///< bytes inside the block
    const char* why = "";      ///< for drop
};

class MemoryMap {
  public:
    explicit MemoryMap(const Plan& plan);

    /// Before the device records are known. Error: a frame that cannot exist (beyond RAM, in the VGA hole
    /// with data).
    [[nodiscard]] Result<FramePlace> place(std::uint64_t gfn) const;
    /// For held frames, once the VGA section's BAR is known (guest-physical base of the framebuffer BAR, 0 =
    /// unmapped).
    [[nodiscard]] Result<FramePlace> place_held(std::uint64_t gfn, std::uint64_t vga_bar) const;
    [[nodiscard]] const std::vector<std::string>& blocks() const { return blocks_; }

  private:
    std::vector<RamRange> ranges_;
    std::vector<std::string> blocks_;
    std::uint64_t low_end_gfn_ = 0, vram_frames_ = 0, acpi_first_ = 0, acpi_frames_ = 0;
    unsigned vram_block_ = 0, acpi_block_ = 0;
};

}  // namespace vmferry
