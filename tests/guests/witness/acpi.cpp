// RSDP -> RSDT -> FADT, MADT, HPET (ACPI 6.5 chapter 5). The 32-bit RSDT will do: every BIOS in question has
// one.
#include "acpi.hpp"

#include "machine.hpp"

Acpi acpi;

namespace {

bool is(uint64_t table, const char (&name)[5]) {
    for (int i = 0; i < 4; ++i)
        if (load<char>(table + i) != name[i]) return false;
    return true;
}

uint64_t find_rsdp() {
    for (uint64_t at = 0xE0000; at < 0x100000; at += 16) {
        if (load<uint64_t>(at) != 0x2052545020445352) continue;  // "RSD PTR "
        uint8_t sum = 0;
        for (int i = 0; i < 20; ++i) sum += load<uint8_t>(at + i);
        if (sum == 0) return at;
    }
    return 0;
}

void read_madt(uint64_t table) {
    const uint64_t end = table + load<uint32_t>(table + 4);
    for (uint64_t at = table + 44; at + 2 <= end && load<uint8_t>(at + 1); at += load<uint8_t>(at + 1)) {
        const auto type = load<uint8_t>(at);
        if (type == 0 && load<uint32_t>(at + 4) & 1 && acpi.lapics < sizeof acpi.lapic_ids)
            acpi.lapic_ids[acpi.lapics++] = load<uint8_t>(at + 3);
        if (type == 1 && !acpi.io_apic) acpi.io_apic = load<uint32_t>(at + 4);
        if (type == 2 && load<uint8_t>(at + 3) == 0) acpi.irq0_pin = load<uint32_t>(at + 4);
    }
}

}  // namespace

bool acpi_read() {
    const uint64_t rsdp = find_rsdp();
    if (!rsdp) return false;
    const uint64_t rsdt = load<uint32_t>(rsdp + 16);
    const uint32_t size = load<uint32_t>(rsdt + 4);
    for (uint32_t i = 36; i + 4 <= size; i += 4) {
        const uint64_t table = load<uint32_t>(rsdt + i);
        if (is(table, "FACP")) {
            acpi.pm1_event = load<uint32_t>(table + 56);
            acpi.pm1_control = load<uint32_t>(table + 64);
            acpi.pm_timer = load<uint32_t>(table + 76);
            acpi.gpe0 = load<uint32_t>(table + 80);
            acpi.gpe0_size = load<uint8_t>(table + 92);
        } else if (is(table, "APIC")) {
            read_madt(table);
        } else if (is(table, "HPET")) {
            acpi.hpet = load<uint64_t>(table + 44);
        }
    }
    return acpi.pm_timer != 0;
}
