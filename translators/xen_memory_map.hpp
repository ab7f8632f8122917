// Where each page of QEMU's RAM blocks lies in the memory of a Xen domain.
//
//     pc.ram            identity below the split, from 4 GiB on above it; 0xA0000–0xBFFFF nowhere
//     0xC0000–0xFFFFF   pc.ram or pc.rom/pc.bios, by the PAM registers: held until they are known
//     …/vga.vram        at the framebuffer BAR: held until it is known
//     …/xfw             0xFC000000 (guests that hvmloader set up); pages that were never written are not
//     there other ROMs        dropped: only the source's own firmware uses them
//
// A held page waits under a slot:
//
//     0x00–0x3F   pc.ram, 0xC0000–0xFFFFF              0x60–0x7F   the last 128 KiB of pc.bios
//     0x40–0x5F   pc.rom, seen at 0xC0000–0xDFFFF      0x80 …      video memory, page by page
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "translators/to_xen.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry {

/// Fate of one page of a RAM block.
struct XenPagePlace {
    /// firmware_area: as ram, but Xen has a frame only where hvmloader has put something. A dozen of 8192;
    /// all of them would be more than the domain may have.
    enum class Fate : std::uint8_t { ram, firmware_area, hold, drop } fate = Fate::drop;
    std::uint64_t gfn = 0;   ///< ram, firmware_area
    std::uint64_t slot = 0;  ///< hold: the number under which it waits, below SpillFile::frames
    const char* why = "";    ///< drop
};

/// Why a block needs no place in a Xen domain: firmware, option ROMs, tables for QEMU's firmware. nullptr: it
/// may be memory of the guest's.
[[nodiscard]] const char* dispensable_block(std::string_view name);

class XenMemoryMap {
  public:
    /// `blocks`: the stream's, whose order the block numbers below follow.
    XenMemoryMap(const XenPlan& plan, const std::vector<qemu::RamBlock>& blocks);

    /// Error (kind stream): an offset behind the block's end.
    [[nodiscard]] Result<XenPagePlace> place(std::uint32_t block, std::uint64_t offset) const;
    /// The first plain RAM at or behind this offset of the block; nothing: there is no more.
    struct RamStretch {
        std::uint64_t offset = 0;  ///< in the block
        std::uint64_t gfn = 0;     ///< of its first page
        std::uint64_t pages = 0;
    };
    [[nodiscard]] std::optional<RamStretch> next_ram(std::uint32_t block, std::uint64_t offset) const;

    static constexpr std::uint64_t first_vram_slot = 0x80;
    /// Slots are below this, whether a page waits there or not.
    [[nodiscard]] std::uint64_t held_slots() const { return first_vram_slot + vram_pages_; }
    /// The frame of a held page, once the device sections are known; nothing: it has no place. Each frame at
    /// 0xC0000–0xFFFFF belongs to exactly one slot.
    [[nodiscard]] std::optional<std::uint64_t> place_held(std::uint64_t slot,
                                                          const DeviceMemory& memory) const;

    /// Frames that Xen needs besides: zero pages, the identity page table for real mode, and zeros where the
    /// configuration has more RAM than the guest: without them it would lack memory at its next migration.
    struct SpecialPage {
        std::uint64_t gfn = 0;
        bool identity_table = false;  ///< else zeros
    };
    [[nodiscard]] const std::vector<SpecialPage>& special_pages() const { return special_; }
    /// Maps all 4 GiB to themselves in pages of 4 MiB: what a processor uses that cannot run a guest without
    /// paging (HVM_PARAM_IDENT_PT).
    [[nodiscard]] static const std::array<std::byte, page_size>& identity_table();

  private:
    struct Run {
        std::uint64_t offset = 0, bytes = 0;  ///< in the block
        XenPagePlace::Fate fate = XenPagePlace::Fate::drop;
        std::uint64_t target = 0;  ///< gfn or slot of the first page
        const char* why = "";
    };
    static void add_ram(std::vector<Run>& runs, const RamRange& range, std::uint64_t block_bytes);
    static void complete(std::vector<Run>& runs, const qemu::RamBlock& block);
    [[nodiscard]] bool is_free(std::uint64_t first_gfn, std::uint64_t pages) const;

    std::vector<std::vector<Run>> blocks_;  ///< by block: ascending, without gaps
    std::vector<RamRange> ram_;             ///< with the ACPI area and what only the configuration has
    std::uint64_t vram_pages_ = 0;
    std::vector<SpecialPage> special_;
    std::uint64_t behind_ram_ = 0;  ///< frame at which a device model of Xen has unmapped video memory
};

}  // namespace vmferry
