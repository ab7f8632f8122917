// QEMU's interrupt routing on Xen's board; the other direction is interrupts.cpp.
#include <algorithm>

#include "translators/interrupts.hpp"

namespace vmferry {
namespace {

constexpr unsigned xen_ioapic_pins = 48;
constexpr std::uint8_t not_routed = 0x80;

/// Entries that went to the pin of a link return to the devices' own pins, and the links are free again.
void return_entries(Machine& machine, std::span<const PciDevice> devices, AuditReport& audit) {
    auto& entries = machine.ioapic.redirection;
    std::uint32_t returned = 0;
    for (const auto& device : devices) {
        const auto pin = device.pin();
        if (!pin) continue;
        const auto route = machine.wires.pirq[piix3_link(device.device, *pin)];
        if (route >= first_pci_gsi) continue;
        // hvmloader's guests have level-triggered entries below 16 for the SCI alone, which is no link's.
        const auto entry = entries[route];
        constexpr unsigned sci = 9;
        if (route == sci || !(entry & redirection::level) || !(entry & 0xFF)) continue;
        const auto gsi = xen_gsi(device.device, *pin);
        entries[gsi] = entry;
        returned |= 1u << route;
        audit.adapted("interrupt routing",
                      fmt::format("{}: I/O APIC pin {} becomes pin {}", device.title(), route, gsi));
    }
    for (unsigned pin = 0; pin < first_pci_gsi; ++pin)
        if (returned >> pin & 1) entries[pin] = redirection::reset;
    for (auto& route : machine.wires.pirq)
        if (route < first_pci_gsi && (returned >> route & 1)) route = not_routed;
}

/// Levels of the I/O APIC's pins on Xen's board: ISA wires, links where they are routed to, and the devices'
/// own pins.
std::uint64_t asserted_pins(const Machine& machine, std::span<const PciDevice> devices) {
    std::uint64_t pins = 0;
    for (unsigned irq = 0; irq < first_pci_gsi; ++irq)
        if (irq != 2 && (machine.wires.isa >> irq & 1)) pins |= std::uint64_t{1} << (irq == 0 ? 2 : irq);
    for (const auto& device : devices)
        for (unsigned pin = 0; pin < 4; ++pin) {
            if (!device.asserted[pin] || device.interrupts_disabled()) continue;
            pins |= std::uint64_t{1} << xen_gsi(device.device, pin);
            const auto route = machine.wires.pirq[piix3_link(device.device, pin)];
            if (route < first_pci_gsi) pins |= std::uint64_t{1} << route;
        }
    return pins;
}

}  // namespace

void unfold_interrupts(Machine& machine, std::span<const PciDevice> devices, AuditReport& audit) {
    auto& entries = machine.ioapic.redirection;
    entries.resize(xen_ioapic_pins, redirection::reset);
    if (machine.firmware == Firmware::hvmloader) {
        return_entries(machine, devices, audit);
    } else {
        for (unsigned pin = first_pci_gsi; pin < qemu_ioapic_pins; ++pin)
            if (!(entries[pin] & redirection::masked)) {
                audit.adapted("interrupt routing",
                              fmt::format("I/O APIC pin {} has no wire in QEMU and is masked", pin));
                entries[pin] |= redirection::masked;
            }
    }

    machine.wires.pci = {};
    std::uint32_t links = 0;
    for (const auto& device : devices)
        for (unsigned pin = 0; pin < 4; ++pin)
            if (device.asserted[pin] && !device.interrupts_disabled()) {
                machine.wires.pci[device.device / 16] |= std::uint64_t{1} << (device.device % 16 * 4 + pin);
                const auto route = machine.wires.pirq[piix3_link(device.device, pin)];
                if (route < first_pci_gsi) links |= 1u << route;
            }
    // The 8259s' inputs are ISA wires and links together. Xen adds the links itself; IRQ 0 and 8 are of its
    // own timers, 2 is the cascade.
    constexpr std::uint32_t own = 1u << 0 | 1u << 2 | 1u << 8;
    const auto inputs = std::uint32_t{machine.pic[1].lines} << 8 | machine.pic[0].lines;
    machine.wires.isa = inputs & ~links & ~own;

    // Whether a pin is level-triggered is the entry's to say; the levels themselves Xen counts from the
    // wires.
    machine.ioapic.level_asserted = asserted_pins(machine, devices);
    // Xen holds the cascade's input as level-triggered, always.
    machine.pic[0].elcr |= 4;
}

}  // namespace vmferry
