// Where a guest frame of a Xen guest lives in the destination's RAM blocks.
//
//     guest-physical           fate
//     0 – 0x9FFFF              RAM
//     0xA0000 – 0xBFFFF        the VGA window: Xen never has RAM there (error)
//     0xC0000 – low RAM's end  RAM; Xen has plain RAM where a PC has its ROMs
//     low RAM's end – hole     behind option-ROM BARs, or video RAM before its relocation: dropped
//     hole – 0xFBFFFFFF        held: video RAM at the adapter's BAR, known only from the device records
//     0xFC000000 – 0xFDFFFFFF  hvmloader's ACPI and SMBIOS area: the block that backs it
//     0xFEFF0000 – 0xFEFFFFFF  Xen's special pages: dropped
//     4 GiB – high RAM's end   RAM
//     high RAM's end …         as behind low RAM's end (the device model's blocks follow its RAM): dropped
//     everything else          error
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parsers/wire/error.hpp"
#include "translators/plan.hpp"

namespace vmferry {

enum class FrameFate : std::uint8_t {
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

    /// Before the device records are known. Error (kind stream, offset 0 for the caller to fill in): a frame
    /// with data that cannot exist. Costs a few compares for RAM.
    [[nodiscard]] Result<FramePlace> place(std::uint64_t gfn) const {
        for (const auto& run : runs_) {
            const auto inside = gfn - run.first;  // wraps for frames below the run
            if (inside < run.frames)
                return FramePlace{run.fate, run.block, run.offset + (inside << 12), run.why};
        }
        return no_place(gfn);
    }
    /// For held frames, once the VGA section's BAR is known (guest-physical base of the framebuffer BAR, 0 =
    /// unmapped).
    [[nodiscard]] Result<FramePlace> place_held(std::uint64_t gfn, std::uint64_t vga_bar) const;
    /// Names of the RAM blocks that frames are placed in.
    [[nodiscard]] const std::vector<std::string>& blocks() const { return blocks_; }

  private:
    struct Run {
        std::uint64_t first = 0, frames = 0;  ///< frame numbers
        FrameFate fate = FrameFate::drop;
        unsigned block = 0;
        std::uint64_t offset = 0;
        const char* why = "";
    };
    unsigned block_index(const std::string& name);
    [[nodiscard]] Result<FramePlace> no_place(std::uint64_t gfn) const;

    std::vector<Run> runs_;  ///< disjoint; the most frequent first
    std::vector<std::string> blocks_;
    std::uint64_t vram_frames_ = 0;
    std::uint64_t device_first_ = 0, device_frames_ = 0;  ///< where the device model's own blocks begin
    unsigned vram_block_ = 0;
};

}  // namespace vmferry
