// What the BIOS's ACPI tables say of the machine; read once, at boot.
#pragma once
#include <cstdint>

struct Acpi {
    uint16_t pm_timer, pm1_event, pm1_control, gpe0;
    uint32_t gpe0_size;
    uint64_t io_apic, hpet;  // 0: none
    uint32_t irq0_pin;
    uint8_t lapic_ids[64];
    unsigned lapics;
};

extern Acpi acpi;
bool acpi_read();
