// What makes a reset of a carried guest find the destination's firmware.
//
// QEMU's i440FX keeps its PAM registers over a reset, and a Xen guest has plain RAM at 0xC0000–0xFFFFF, so
// the reset vector in QEMU's ROM jumps to F000:E05B in *Xen's* copy of SeaBIOS. That one sees that it has
// already run its POST, cannot restore itself and resets again, for ever. Two places in that RAM are
// therefore changed:
//
//     0xFE05B  entry_post   far jump to the stub     (5 bytes)
//     0xDFFD0  the stub     PAM 0x59, 0x5E, 0x5F ← 0: 0xE0000–0xFFFFF read from ROM again
//                           jmp F000:E05B            (now QEMU's SeaBIOS, which runs its POST)
//
// The guest does not execute either before its next reset, unless it calls the reset vector itself, with the
// same result.
#pragma once

#include <cstdint>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "translators/audit.hpp"

namespace vmferry {

/// Bytes to lay over a guest page.
struct PagePatch {
    std::uint64_t gfn = 0;
    std::uint32_t offset = 0;
    std::vector<std::byte> bytes;  ///< offset + size ≤ page_size
    const char* name = "";
};

/// The frame that the stub goes into, and the one with the firmware's entry.
inline constexpr std::uint64_t reset_stub_frame = 0xDF, reset_entry_frame = 0xFE;

/// Whether place_reset_stub() needs this frame's content.
[[nodiscard]] constexpr bool is_reset_stub_frame(std::uint64_t gfn) {
    return gfn == reset_stub_frame || gfn == reset_entry_frame;
}

/// The patches for these two pages (page_size bytes each; empty for one that was never sent: zeros), and a
/// finding that says so. None, and a finding that resets will not work, if the entry is not SeaBIOS's or no
/// room is left for the stub: a page is only changed where it is known what it holds.
[[nodiscard]] std::vector<PagePatch> place_reset_stub(Bytes stub_page, Bytes entry_page, AuditReport& audit);

/// Lays the patch over the page's content. Precondition: page.size() == page_size.
void apply_patch(const PagePatch& patch, std::span<std::byte> page);

}  // namespace vmferry
