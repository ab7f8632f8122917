#include "translators/reset_stub.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

namespace vmferry {

namespace {

constexpr std::uint32_t entry_offset = 0x05B;  // of 0xFE05B, the entry point that all PC BIOSes share

// SeaBIOS's entry_post:   2e 66 83 3e .. .. 00   cmpl $0, %cs:HaveRunPost
//                         0f 85 .. ..            jnz  entry_resume
constexpr int any = -1;
constexpr std::array seabios_entry{0x2e, 0x66, 0x83, 0x3e, any, any, 0x00, 0x0f, 0x85, any, any};

// Real mode, 16-bit. PAM registers are bytes of the host bridge's configuration space (bus 0, device 0),
// reached through 0xCF8 (address) and 0xCFC + (register & 3) (data). Intel 440FX data sheet (290549), 3.2.18:
// 0 in both bits = reads and writes go to PCI, where QEMU has its ROM.
constexpr std::array<std::uint8_t, 42> stub{
    0xfa,                                // cli
    0x66, 0xb8, 0x58, 0x00, 0x00, 0x80,  // mov  eax, 0x80000058
    0xba, 0xf8, 0x0c,                    // mov  dx, 0xcf8
    0x66, 0xef,                          // out  dx, eax
    0xba, 0xfd, 0x0c,                    // mov  dx, 0xcfd
    0xb0, 0x00,                          // mov  al, 0
    0xee,                                // out  dx, al         PAM0 (0x59): 0xF0000–0xFFFFF
    0x66, 0xb8, 0x5c, 0x00, 0x00, 0x80,  // mov  eax, 0x8000005c
    0xba, 0xf8, 0x0c,                    // mov  dx, 0xcf8
    0x66, 0xef,                          // out  dx, eax
    0xba, 0xfe, 0x0c,                    // mov  dx, 0xcfe
    0xb0, 0x00,                          // mov  al, 0
    0xee,                                // out  dx, al         PAM5 (0x5e): 0xE0000–0xE7FFF
    0x42,                                // inc  dx
    0xee,                                // out  dx, al         PAM6 (0x5f): 0xE8000–0xEFFFF
    0xea, 0x5b, 0xe0, 0x00, 0xf0,        // jmp  0xf000:0xe05b
};
constexpr std::uint32_t paragraph = 16;
constexpr std::uint32_t stub_room = (stub.size() + paragraph - 1) / paragraph * paragraph;

bool is_seabios_entry(Bytes page) {
    for (std::size_t i = 0; i < seabios_entry.size(); ++i)
        if (seabios_entry[i] != any && std::to_integer<int>(page[entry_offset + i]) != seabios_entry[i])
            return false;
    return true;
}

/// The highest paragraph of the page from which on there is zeroed room for the stub.
std::optional<std::uint32_t> find_room(Bytes page) {
    // One paragraph before the stub must be zero, too: it does not begin in the middle of somebody's tail.
    constexpr auto wanted = stub_room + paragraph;
    for (auto at = static_cast<std::uint32_t>(page_size - wanted);; at -= paragraph) {
        const auto room = page.subspan(at, wanted);
        if (std::ranges::all_of(room, [](std::byte b) { return b == std::byte{0}; })) return at + paragraph;
        if (at == 0) return std::nullopt;
    }
}

std::vector<std::byte> as_vector(std::span<const std::uint8_t> bytes) {
    const auto raw = std::as_bytes(bytes);
    return {raw.begin(), raw.end()};
}

}  // namespace

std::vector<PagePatch> place_reset_stub(Bytes stub_page, Bytes entry_page, AuditReport& audit) {
    static constexpr std::array<std::byte, page_size> zeros{};
    if (stub_page.empty()) stub_page = zeros;
    if (entry_page.size() != page_size || stub_page.size() != page_size || !is_seabios_entry(entry_page)) {
        audit.adapted("reset",
                      "the guest's firmware is not a SeaBIOS that is known here: a reset of the guest "
                      "will not come up again; end QEMU and start it anew instead");
        return {};
    }
    const auto room = find_room(stub_page);
    if (!room) {
        audit.adapted("reset",
                      "the guest's firmware left no room for the reset stub: a reset of the guest will "
                      "not come up again; end QEMU and start it anew instead");
        return {};
    }
    const auto address = static_cast<std::uint32_t>(reset_stub_frame * page_size) + *room;
    const auto segment = address / paragraph;
    const std::array<std::uint8_t, 5> jump{0xea, 0x00, 0x00, static_cast<std::uint8_t>(segment & 0xFF),
                                           static_cast<std::uint8_t>(segment >> 8)};
    audit.adapted("reset",
                  fmt::format("{} bytes of the firmware in RAM are changed (at 0xfe05b and {:#x}), so "
                              "that a reset starts QEMU's own",
                              jump.size() + stub.size(), address));
    return {{reset_stub_frame, *room, as_vector(stub), "reset stub"},
            {reset_entry_frame, entry_offset, as_vector(jump), "reset entry"}};
}

void apply_patch(const PagePatch& patch, std::span<std::byte> page) {
    std::ranges::copy(patch.bytes, page.begin() + patch.offset);
}

}  // namespace vmferry
