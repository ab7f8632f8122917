#include "translators/interrupts.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <string>

namespace vmferry {
namespace {

constexpr std::uint8_t not_routed = 0x80;

/// ISA interrupts that a PCI link can be routed to (PIIX3 PIRQRC; 0–2, 8 and 13 are reserved), those first
/// that no common device has.
constexpr unsigned candidates[] = {11, 10, 5, 7, 3, 6, 4, 15, 14, 12, 9};

/// Devices on one link whose redirection entry is in use.
struct LinkUse {
    unsigned gsi = 0;
    std::string titles;
};

bool in_use(std::uint64_t entry) {
    return !(entry & redirection::masked);
}
/// Linux writes zero to an entry that it gives up, and only masks one that it means to come back to.
bool masked_for_now(std::uint64_t entry) {
    return (entry & redirection::masked) != 0 && (entry & 0xFF) != 0;
}

std::string pin_title(const PciDevice& device) {
    return fmt::format("{} INT{}#", device.title(), static_cast<char>('A' + device.pin().value_or(0)));
}

void append_title(std::string& list, std::string_view title) {
    if (!list.empty()) list += ", ";
    list += title;
}

/// Which links carry an interrupt through the I/O APIC's upper pins.
std::map<unsigned, LinkUse> links_in_use(const IoApic& ioapic, std::span<const PciDevice> devices,
                                         AuditReport& audit) {
    std::map<unsigned, LinkUse> links;
    for (const auto& device : devices) {
        const auto pin = device.pin();
        if (!pin) continue;
        const auto gsi = xen_gsi(device.device, *pin);
        const auto entry = gsi < ioapic.redirection.size() ? ioapic.redirection[gsi] : redirection::reset;
        if (masked_for_now(entry))
            audit.violated("intx-masked",
                           fmt::format("{}: I/O APIC pin {} holds {:#x}", pin_title(device), gsi, entry));
        if (!in_use(entry)) continue;
        auto& link = links[piix3_link(device.device, *pin)];
        if (link.gsi != 0 && link.gsi != gsi) {
            audit.violated("intx-collision",
                           fmt::format("{} (pin {}) and {} (pin {}) share PIRQ{}", link.titles, link.gsi,
                                       pin_title(device), gsi,
                                       static_cast<char>('A' + piix3_link(device.device, *pin))));
            continue;
        }
        link.gsi = gsi;
        append_title(link.titles, pin_title(device));
    }
    return links;
}

bool free_for_folding(const Machine& machine, unsigned pin) {
    const auto entry = machine.ioapic.redirection[pin];
    const auto& pic = machine.pic[pin / 8];
    const auto bit = 1u << (pin % 8);
    const bool pic_masked = (pic.imr & bit) != 0 || (pin >= 8 && (machine.pic[0].imr & 4) != 0);
    return !in_use(entry) && !masked_for_now(entry) && !(machine.wires.isa >> pin & 1) && pic_masked;
}

}  // namespace

std::array<std::uint32_t, 4> asserted_per_link(std::span<const PciDevice> devices) {
    std::array<std::uint32_t, 4> count{};
    for (const auto& device : devices)
        for (unsigned pin = 0; pin < 4; ++pin)
            if (device.asserted[pin] && !device.interrupts_disabled())
                ++count[piix3_link(device.device, pin)];
    return count;
}

void fold_interrupts(Machine& machine, std::span<const PciDevice> devices, AuditReport& audit) {
    const auto source = machine.ioapic.redirection;
    const auto links = links_in_use(machine.ioapic, devices, audit);
    const auto old_routes = machine.wires.pirq;

    // Pins from 16 on are not wired to anything on QEMU's side; the guest finds in them what it wrote.
    machine.ioapic.redirection.assign(qemu_ioapic_pins, redirection::reset);
    std::copy_n(source.begin(), std::min<std::size_t>(source.size(), qemu_ioapic_pins),
                machine.ioapic.redirection.begin());

    std::uint32_t taken = 0;
    for (const auto& [link, use] : links) {
        const auto* pin = std::ranges::find_if(candidates, [&](unsigned candidate) {
            return !(taken >> candidate & 1) && free_for_folding(machine, candidate);
        });
        if (pin == std::end(candidates)) {
            audit.violated("intx-pins", fmt::format("{} (pin {})", use.titles, use.gsi));
            continue;
        }
        taken |= 1u << *pin;
        machine.wires.pirq[link] = static_cast<std::uint8_t>(*pin);
        // The 8259 must see a level too, as the PIIX3 manual asks of every IRQ that a PIRQ is routed to.
        machine.pic[*pin / 8].elcr |= static_cast<std::uint8_t>(1u << (*pin % 8));
        audit.adapted("interrupt routing",
                      fmt::format("{}: I/O APIC pin {} becomes pin {} through PIRQ{}", use.titles, use.gsi,
                                  *pin, static_cast<char>('A' + link)));
    }
    for (const auto& [link, use] : links)
        if (const auto pin = machine.wires.pirq[link]; pin < first_pci_gsi && (taken >> pin & 1))
            machine.ioapic.redirection[pin] = source[use.gsi];
    // A link without such an interrupt keeps its route, for guests that use the 8259s, unless its pin was
    // taken.
    for (unsigned link = 0; link < 4; ++link)
        if (!links.contains(link) && old_routes[link] < first_pci_gsi && (taken >> old_routes[link] & 1))
            machine.wires.pirq[link] = not_routed;

    // Levels on the pins: ISA wires, and the links where they are routed to now.
    auto levels = static_cast<std::uint32_t>(machine.wires.isa & 0xFFFF);
    const auto asserted = asserted_per_link(devices);
    for (unsigned link = 0; link < 4; ++link)
        if (asserted[link] != 0 && machine.wires.pirq[link] < first_pci_gsi)
            levels |= 1u << machine.wires.pirq[link];
    for (unsigned chip = 0; chip < 2; ++chip) {
        auto& pic = machine.pic[chip];
        pic.lines = static_cast<std::uint8_t>(levels >> (8 * chip));
        // Level-triggered requests follow the line (8259A, level mode); edge-triggered ones stay latched.
        pic.irr = static_cast<std::uint8_t>((pic.irr & ~pic.elcr) | (pic.lines & pic.elcr));
    }
    // The slave's output is the master's input 2, which Xen's ELCR marks as level.
    if (machine.pic[1].output) machine.pic[0].irr |= 4;
    machine.ioapic.level_asserted = 0;
    for (unsigned irq = 0; irq < first_pci_gsi; ++irq) {
        const unsigned pin = irq == 0 ? 2 : irq;  // the timer is wired to pin 2
        if (irq == 2 || !(levels >> irq & 1)) continue;
        if (machine.ioapic.redirection[pin] & redirection::level) machine.ioapic.level_asserted |= 1u << pin;
    }
}

}  // namespace vmferry
