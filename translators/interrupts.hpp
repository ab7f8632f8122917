// Xen's interrupt routing on QEMU's board.
//
//     Xen   device, pin → GSI ((4·device + device/8 + pin) & 31) + 16 → I/O APIC pin 16–47
//                       → link (device + pin) & 3 → ISA IRQ → 8259s and I/O APIC pin 0–15
//     QEMU  device, pin → link (device − 1 + pin) & 3 → PIIX3 register 0x60 + link → ISA IRQ → 8259s and I/O
//     APIC
//                         pin 0–15; pins 16–23 have no wire, pins from 24 on do not exist
//
// Sources: Xen's public hvm/save.h and asl of hvmloader; 82371SB (PIIX3) data sheet, PIRQRC; QEMU's
// pc-i440fx.
//
// So a device whose redirection entry is in use keeps the entry, moved to an ISA pin that the guest does not
// use, and its link is routed there. What the guest reads back of a pin from 16 on is then the reset value: a
// driver that registers its interrupt anew writes to a pin that does nothing. MSI is not concerned.
#pragma once

#include <cstdint>
#include <span>

#include "translators/audit.hpp"
#include "translators/devices.hpp"
#include "translators/machine.hpp"

namespace vmferry {

inline constexpr unsigned qemu_ioapic_pins = 24, first_pci_gsi = 16;

[[nodiscard]] constexpr unsigned xen_gsi(unsigned device, unsigned pin) {
    return ((4 * device + device / 8 + pin) & 31) + first_pci_gsi;
}
[[nodiscard]] constexpr unsigned piix3_link(unsigned device, unsigned pin) {
    return (device + 3 + pin) & 3;
}

/// Devices that assert each PIIX3 link: interrupt lines as the devices hold them, unless their command
/// register disables interrupts.
[[nodiscard]] std::array<std::uint32_t, 4> asserted_per_link(std::span<const PciDevice> devices);

/// Turns Xen's 48 pins into QEMU's 24: ioapic.redirection, ioapic.level_asserted, wires.pirq, pic[].elcr,
/// .lines and .irr. Findings: intx-collision, intx-pins, intx-masked; adapted for every entry that moved.
/// `devices`: PCI devices of the device model.
void fold_interrupts(Machine& machine, std::span<const PciDevice> devices, AuditReport& audit);

/// The way back, to Xen's 48 pins: ioapic.redirection, ioapic.level_asserted, wires.pci, wires.isa.
///   guests of hvmloader   an entry that fold_interrupts() moved to the pin of a link returns to the device's
///                         own pin from 16 on
///   guests of SeaBIOS     stay on the links, which Xen has too; pins from 16 on, without a wire in QEMU,
///   have
///                         one on Xen and are masked
/// `devices`: PCI devices of the source.
void unfold_interrupts(Machine& machine, std::span<const PciDevice> devices, AuditReport& audit);

}  // namespace vmferry
