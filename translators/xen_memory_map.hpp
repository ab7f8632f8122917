// Where each page of QEMU's RAM blocks lies in the memory of a Xen domain.
//
//     pc.ram            identity below the split, from 4 GiB on above it; 0xA0000–0xBFFFF nowhere
//     0xC0000–0xFFFFF   pc.ram or pc.rom/pc.bios, by the PAM registers: held until they are known
//     …/vga.vram        at the framebuffer BAR: held until it is known
//     …/xfw             0xFC000000 (guests that hvmloader set up)
//     other ROMs        dropped: only the source's own firmware uses them
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/wire/error.hpp"
#include "translators/to_xen.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry {

/// Fate of one page of a RAM block.
struct XenPagePlace {
    enum class Fate : std::uint8_t { ram, hold, drop } fate = Fate::drop;
    std::uint64_t gfn = 0;   ///< ram
    std::uint64_t slot = 0;  ///< hold: the number under which it waits, below SpillFile::frames
    const char* why = "";    ///< drop
};

class XenMemoryMap {
  public:
    /// `blocks`: the stream's, whose order the block numbers below follow.
    XenMemoryMap(const XenPlan& plan, const std::vector<qemu::RamBlock>& blocks);

    /// Error (kind stream): an offset behind the block's end.
    [[nodiscard]] Result<XenPagePlace> place(std::uint32_t block, std::uint64_t offset) const;
    /// The frame of a held page, once the device sections are known; nothing: it has no place.
    [[nodiscard]] std::optional<std::uint64_t> place_held(std::uint64_t slot,
                                                          const DeviceMemory& memory) const;

    /// Frames that Xen needs besides: zero pages and the identity page table for real mode.
    struct SpecialPage {
        std::uint64_t gfn = 0;
        bool identity_table = false;  ///< else zeros
    };
    [[nodiscard]] static const std::vector<SpecialPage>& special_pages();

  private:
    struct Run {
        std::uint64_t offset = 0, bytes = 0;  ///< in the block
        XenPagePlace::Fate fate = XenPagePlace::Fate::drop;
        std::uint64_t target = 0;  ///< gfn or slot of the first page
        const char* why = "";
    };
    std::vector<std::vector<Run>> blocks_;
};

}  // namespace vmferry
