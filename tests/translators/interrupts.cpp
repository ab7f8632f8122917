// Xen's 48 I/O APIC pins on QEMU's 24.
#include "translators/interrupts.hpp"

#include <algorithm>
#include <memory>

#include <doctest/doctest.h>

namespace vmferry {
namespace {

constexpr std::uint64_t entry = 0x0300'0000'0000'A952;  // level, active low, logical, vector 0x52

/// A card with INTA# in each of these slots, and the redirection entries of a guest on Xen.
struct Board {
    std::vector<std::unique_ptr<Buffer>> configs;  ///< their configuration space, lent to `devices`
    std::vector<PciDevice> devices;
    Machine machine;
    AuditReport audit;

    explicit Board(std::initializer_list<unsigned> slots) {
        machine.ioapic.redirection.assign(48, redirection::reset);
        for (auto& pic : machine.pic) pic.imr = 0xFF;
        for (const auto slot : slots) {
            auto& config = configs.emplace_back(std::make_unique<Buffer>(256));
            (*config)[0x3D] = std::byte{1};
            devices.push_back({.device = slot, .function = 0, .name = "card", .config = *config});
        }
    }
    [[nodiscard]] std::uint64_t& pin_of(unsigned slot) {
        return machine.ioapic.redirection[xen_gsi(slot, 0)];
    }
    void fold() { fold_interrupts(machine, devices, audit); }
    [[nodiscard]] bool refused(std::string_view rule) const {
        return std::ranges::any_of(audit.findings(), [rule](const Finding& finding) {
            return finding.rule == rule && finding.verdict == Verdict::refused;
        });
    }
};

}  // namespace

TEST_CASE("a device's entry moves to an ISA pin, and its link is routed there") {
    Board board{3};
    board.pin_of(3) = entry;
    board.fold();
    CHECK_FALSE(board.audit.refused());
    const auto pin = board.machine.wires.pirq[piix3_link(3, 0)];
    REQUIRE(pin < 16);
    CHECK(board.machine.ioapic.redirection.size() == qemu_ioapic_pins);
    CHECK(board.machine.ioapic.redirection[pin] == entry);
    CHECK((board.machine.pic[pin / 8].elcr >> (pin % 8) & 1) == 1);
}

TEST_CASE("entries of pins that both have and no device is wired to stay as they were written") {
    Board board{3};
    board.pin_of(3) = entry;
    for (unsigned pin = 16; pin < 24; ++pin)
        board.machine.ioapic.redirection[pin] = redirection::masked | 0x70 | pin;
    board.fold();
    for (unsigned pin = 16; pin < 24; ++pin)
        CHECK(board.machine.ioapic.redirection[pin] == (redirection::masked | 0x70 | pin));
}

TEST_CASE("two devices on one link: refused if both have an interrupt of their own") {
    // Slots 3 and 7 share a link of the PIIX3; on Xen they have pins 28 and 44.
    REQUIRE(piix3_link(3, 0) == piix3_link(7, 0));
    REQUIRE(xen_gsi(3, 0) != xen_gsi(7, 0));
    Board both{3, 7};
    both.pin_of(3) = entry;
    both.pin_of(7) = entry + 1;
    both.fold();
    CHECK(both.refused("intx-collision"));

    Board one{3, 7};
    one.pin_of(7) = entry;  // the other one uses MSI, or nothing
    one.fold();
    CHECK_FALSE(one.audit.refused());
    CHECK(one.machine.ioapic.redirection[one.machine.wires.pirq[piix3_link(7, 0)]] == entry);

    // 32 slots further on Xen's formula gives the same pin again; such devices share it there too.
    Board neighbours{3, 4};
    neighbours.pin_of(3) = entry;
    neighbours.pin_of(4) = entry + 1;
    neighbours.fold();
    CHECK_FALSE(neighbours.audit.refused());
    CHECK(neighbours.machine.wires.pirq[piix3_link(3, 0)] != neighbours.machine.wires.pirq[piix3_link(4, 0)]);
}

TEST_CASE("a pin that is masked for a moment is refused, a pin that was given up is not") {
    Board moment{3};
    moment.pin_of(3) = entry | redirection::masked;
    moment.fold();
    CHECK(moment.refused("intx-masked"));

    Board given_up{3};
    given_up.pin_of(3) = redirection::masked;
    given_up.fold();
    CHECK_FALSE(given_up.audit.refused());
}

TEST_CASE("without a free ISA pin the interrupt has nowhere to go") {
    Board full{3};
    full.pin_of(3) = entry;
    for (unsigned pin = 0; pin < 16; ++pin) full.machine.ioapic.redirection[pin] = 0x30 + pin;
    full.fold();
    CHECK(full.refused("intx-pins"));
}

}  // namespace vmferry
