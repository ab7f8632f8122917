// The full report: `report N begin`, lines of `key value`, `report N end`. Values are hexadecimal, only rates
// are decimal, in Hz by the PM timer.
#include "report.hpp"

#include <initializer_list>

#include "acpi.hpp"
#include "console.hpp"
#include "machine.hpp"
#include "processor.hpp"

namespace {

void rate(const char* name, uint64_t count, uint64_t pm) {
    if (!pm) return;
    print("rate.%s %u.%3u\n", name, count * PM_HZ / pm, count * PM_HZ % pm * 1000 / pm);
}

void rates_report(const Rates& r) {
    if (!r.known) {
        print("rate.rtc none\n");
        return;
    }
    rate("tsc", r.tsc, r.pm);
    rate("lapic", r.lapic, r.pm);
    rate("pit", r.pit, r.pit_pm);
    rate("rtc", r.seconds, r.pm);
    rate("tick", r.ticks, r.pm);
    if (hpet_present() && load<uint32_t>(acpi.hpet + 0x10) & 1) rate("hpet", r.hpet, r.pm);
}

void cpuid_report() {
    for (const uint32_t base : {0u, 0x40000000u, 0x80000000u}) {
        const uint32_t last = cpuid(base).a;
        if (base == 0x40000000 && !(cpuid(1).c >> 31)) continue;
        if (last < base || last > base + 0x200) continue;
        for (uint32_t leaf = base; leaf <= last; ++leaf) {
            // Those with subleaves: SDM 2A, CPUID; 4 and B end themselves, 7, D and the others are short.
            const bool has_subs = leaf == 4 || leaf == 7 || leaf == 0xB || leaf == 0xD || leaf == 0x8000001D;
            for (uint32_t sub = 0; sub < (has_subs ? 8u : 1u); ++sub) {
                const Cpuid r = cpuid(leaf, sub);
                if (!(r.a | r.b | r.c | r.d) || (leaf == 0xB && sub && !r.b)) continue;
                const uint32_t values[] = {r.a, r.b, r.c, r.d};
                for (unsigned i = 0; i < 4; ++i)
                    if (values[i])
                        print("cpuid.%x.%x.%s %x\n", leaf, sub,
                              i == 0   ? "eax"
                              : i == 1 ? "ebx"
                              : i == 2 ? "ecx"
                                       : "edx",
                              values[i]);
            }
        }
    }
}

void lapic_report() {
    constexpr struct {
        const char* name;
        uint16_t offset;
    } REGISTERS[] = {
        {"id", 0x20},           {"version", 0x30},       {"tpr", 0x80},        {"logical", 0xD0},
        {"format", 0xE0},       {"spurious", 0xF0},      {"error", 0x280},     {"lvt_timer", 0x320},
        {"lvt_thermal", 0x330}, {"lvt_counters", 0x340}, {"lvt_lint0", 0x350}, {"lvt_lint1", 0x360},
        {"lvt_error", 0x370},   {"icr_low", 0x300},      {"icr_high", 0x310},  {"initial", 0x380},
        {"current", 0x390},     {"divider", 0x3E0}};
    for (const auto& r : REGISTERS) print("lapic.%s %x\n", r.name, load<uint32_t>(LAPIC + r.offset));
    for (unsigned i = 0; i < 8; ++i) {
        print("lapic.isr.%u %x\n", i, load<uint32_t>(LAPIC + 0x100 + 16 * i));
        print("lapic.irr.%u %x\n", i, load<uint32_t>(LAPIC + 0x200 + 16 * i));
        print("lapic.tmr.%u %x\n", i, load<uint32_t>(LAPIC + 0x180 + 16 * i));
    }
}

void io_apic_report() {
    print("ioapic.id %x\nioapic.version %x\n", io_apic_read(0), io_apic_read(1));
    for (unsigned pin = 0; pin < io_apic_pins(); ++pin) {
        print("ioapic.redirection.%2x.low %x\n", pin, io_apic_read(0x10 + 2 * pin));
        print("ioapic.redirection.%2x.high %x\n", pin, io_apic_read(0x11 + 2 * pin));
    }
}

void hpet_report() {
    print("hpet.present %x\n", hpet_present());
    if (!hpet_present()) return;
    print("hpet.capabilities %x\n", load<uint64_t>(acpi.hpet));
    print("hpet.config %x\n", load<uint64_t>(acpi.hpet + 0x10));
    print("hpet.status %x\n", load<uint64_t>(acpi.hpet + 0x20));
    print("hpet.counter %x\n", load<uint64_t>(acpi.hpet + 0xF0));
    const unsigned timers = (load<uint32_t>(acpi.hpet) >> 8 & 0x1F) + 1;
    for (unsigned i = 0; i < timers; ++i) {
        print("hpet.%u.config %x\n", i, load<uint64_t>(acpi.hpet + 0x100 + 0x20 * i));
        print("hpet.%u.comparator %x\n", i, load<uint64_t>(acpi.hpet + 0x108 + 0x20 * i));
    }
}

}  // namespace

void report(uint32_t number, const Rates& rates) {
    print("report %u begin\n", number);
    rates_report(rates);
    for (unsigned i = 0; i < cpu_count; ++i) control_report(cpus[i]);
    cpuid_report();
    lapic_report();
    io_apic_report();
    hpet_report();
    devices_report();
    print("report %u end\n", number);
}
