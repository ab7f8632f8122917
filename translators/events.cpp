#include "translators/events.hpp"

#include <bit>

namespace vmferry {
namespace {

using Bits = std::array<std::uint32_t, 8>;

constexpr std::uint32_t lvt_masked = 1u << 16, ext_int = 7;

bool test(const Bits& bits, unsigned vector) {
    return (bits[vector / 32] >> (vector % 32) & 1) != 0;
}
void set(Bits& bits, unsigned vector) {
    bits[vector / 32] |= std::uint32_t{1} << (vector % 32);
}
void clear(Bits& bits, unsigned vector) {
    bits[vector / 32] &= ~(std::uint32_t{1} << (vector % 32));
}

/// Takes back an acknowledgement of the 8259s: the request is pending again. false: the vector is not theirs.
bool unacknowledge(std::array<Pic, 2>& pic, unsigned vector) {
    for (std::size_t chip = 0; chip < 2; ++chip) {
        auto& own = pic[chip];
        const auto base = own.vector_base & 0xF8u;
        if (vector < base || vector >= base + 8) continue;
        const auto bit = static_cast<std::uint8_t>(1u << (vector - base));
        if (!(own.isr & bit) && !own.auto_eoi) continue;
        own.isr = static_cast<std::uint8_t>(own.isr & ~bit);
        own.irr |= bit;
        own.output = true;
        if (chip == 1) {
            pic[0].isr &= static_cast<std::uint8_t>(~4u);
            pic[0].irr |= 4;
            pic[0].output = true;
        }
        return true;
    }
    return false;
}

bool is_fault(unsigned vector) {
    // SDM vol. 3, table 6-1. #DB may be a trap; #DF and #MC are aborts.
    constexpr std::uint32_t faults = 1u << 0 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 10 | 1u << 11 | 1u << 12 |
                                     1u << 13 | 1u << 14 | 1u << 16 | 1u << 17 | 1u << 19;
    return vector < 32 && (faults >> vector & 1) != 0;
}

bool addressed(const Lapic& lapic, std::uint64_t entry) {
    const auto destination = static_cast<unsigned>(entry >> 56);
    if (!(entry & redirection::logical)) return destination == 0xFF || destination == lapic.id;
    if (lapic.x2apic()) return (lapic.ldr >> 16) == 0 && (lapic.ldr & destination) != 0;
    const auto own = lapic.ldr >> 24;
    if (lapic.dfr >> 28 == 0xF) return (own & destination) != 0;
    return (own >> 4 == destination >> 4 || destination >> 4 == 0xF) && (own & destination & 0xF) != 0;
}

}  // namespace

int highest_vector(const Bits& bits) {
    for (int word = 7; word >= 0; --word)
        if (const auto value = bits[static_cast<std::size_t>(word)]; value != 0)
            return word * 32 + 31 - std::countl_zero(value);
    return -1;
}

void settle_event(Vcpu& vcpu, unsigned number, std::array<Pic, 2>& pic, Accel accel, AuditReport& audit) {
    using Type = PendingEvent::Type;
    auto& event = vcpu.event;
    if (!event.valid) return;
    const auto subject = fmt::format("pending event of vCPU {}", number);
    switch (event.type) {
        case Type::external:
            if (accel == Accel::kvm) {
                audit.carried(subject, fmt::format("interrupt vector {:#x} is injected again", event.vector));
                return;
            }
            if (test(vcpu.lapic.isr, event.vector)) {
                clear(vcpu.lapic.isr, event.vector);
                set(vcpu.lapic.irr, event.vector);
            } else if (!unacknowledge(pic, event.vector)) {
                audit.violated("pending-event",
                               fmt::format("vCPU {}: interrupt vector {:#x} comes from no controller", number,
                                           event.vector));
                break;
            }
            audit.adapted(subject, fmt::format("interrupt vector {:#x} is requested again", event.vector));
            break;
        case Type::nmi:
            audit.carried(subject, "non-maskable interrupt");
            return;
        case Type::exception:
            if (is_fault(event.vector)) {
                audit.adapted(subject,
                              fmt::format("fault {} is raised again by its instruction", event.vector));
                break;
            }
            if (accel == Accel::kvm && !event.has_error_code) {
                audit.carried(subject, fmt::format("exception {} is injected again", event.vector));
                return;
            }
            [[fallthrough]];
        default:
            audit.violated("pending-event", fmt::format("vCPU {}: type {}, vector {:#x}", number,
                                                        static_cast<unsigned>(event.type), event.vector));
    }
    event = {};
}

void deliver_level_interrupts(Machine& machine) {
    for (std::size_t pin = 0; pin < machine.ioapic.redirection.size(); ++pin) {
        auto& entry = machine.ioapic.redirection[pin];
        const bool waiting = (machine.ioapic.level_asserted >> pin & 1) != 0 &&
                             (entry & redirection::level) && !(entry & redirection::masked) &&
                             !(entry & redirection::remote_irr);
        const auto delivery_mode = entry >> 8 & 7;
        if (!waiting || delivery_mode > 1) continue;  // fixed and lowest priority only
        const auto vector = static_cast<unsigned>(entry & 0xFF);
        for (auto& vcpu : machine.vcpus) {
            if (!vcpu.online || !addressed(vcpu.lapic, entry)) continue;
            set(vcpu.lapic.irr, vector);
            set(vcpu.lapic.tmr, vector);
            entry |= redirection::remote_irr;
            if (delivery_mode == 1) break;  // any one of the addressed will do
        }
    }
}

bool pic_output(const Pic& chip, bool master) {
    constexpr unsigned inputs = 8, cascade = 4;
    if (chip.init_step != 0) return false;
    // Place in the order of priority, `inputs` for none.
    const auto first = [&chip](unsigned bits) {
        unsigned place = 0;
        while (place < inputs && !(bits >> ((place + chip.lowest_plus_one) & 7) & 1)) ++place;
        return place;
    };
    unsigned in_service = chip.isr;
    if (chip.special_mask) in_service &= ~static_cast<unsigned>(chip.imr);
    // The slave may ask again while one of its requests is in service.
    if (chip.special_fully_nested && master) in_service &= ~cascade;
    return first(chip.irr & ~static_cast<unsigned>(chip.imr)) < first(in_service);
}

std::string open_lint0(Machine& machine) {
    const auto pin0 = machine.ioapic.redirection[0];
    if ((pin0 & redirection::masked) || (pin0 >> 8 & 7) != ext_int) return {};
    for (unsigned number = 0; number < machine.vcpus.size(); ++number) {
        auto& lapic = machine.vcpus[number].lapic;
        // As Xen decides it (vlapic_accept_pic_intr()), which looks at no destination mode.
        if (lapic.id != pin0 >> 56 || !lapic.globally_enabled() || !lapic.software_enabled()) continue;
        if (!(lapic.lvt[3] & lvt_masked)) return {};
        lapic.lvt[3] = ext_int << 8;
        return fmt::format("vCPU {}: the 8259s come through LINT0, on Xen through pin 0 of the I/O APIC",
                           number);
    }
    return {};
}

void close_lint0(Machine& machine) {
    const auto pin0 = machine.ioapic.redirection[0];
    if (machine.firmware != Firmware::hvmloader || (pin0 & redirection::masked) || (pin0 >> 8 & 7) != ext_int)
        return;
    for (auto& vcpu : machine.vcpus)
        if (vcpu.lapic.id == pin0 >> 56 && vcpu.lapic.lvt[3] == ext_int << 8) vcpu.lapic.lvt[3] |= lvt_masked;
}

std::uint32_t interrupt_request(const Vcpu& vcpu, const Pic& master) {
    constexpr std::uint32_t hard = 2, nmi = 0x200;
    if (!vcpu.online) return 0;
    std::uint32_t request = 0;
    const auto& lapic = vcpu.lapic;
    const auto priority_class = [](int vector) { return vector < 0 ? 0 : vector >> 4; };
    const int requested = highest_vector(lapic.irr), in_service = highest_vector(lapic.isr);
    const auto threshold = std::max(static_cast<int>(lapic.tpr >> 4 & 0xF), priority_class(in_service));
    if (lapic.globally_enabled() && lapic.software_enabled() && requested >= 0 && requested >> 4 > threshold)
        request |= hard;
    if (master.output && (!lapic.globally_enabled() || !(lapic.lvt[3] & lvt_masked))) request |= hard;
    if (vcpu.event.valid && vcpu.event.type == PendingEvent::Type::nmi) request |= nmi;
    return request;
}

}  // namespace vmferry
