// QEMU's table: where each field of the neutral machine stands in the sections that we synthesize.
// Layouts: the destination's own description; meanings: the vmstate of QEMU 7.2–10.0.
#pragma once

#include "translators/machine.hpp"
#include "translators/qemu/row.hpp"

namespace vmferry::qemu {

/// Everything of section "cpu" that is one field to one field, the segments and the FPU; then the claims.
[[nodiscard]] const Table<Vcpu>& cpu_table();
[[nodiscard]] const Table<Vcpu>& cpu_common_table();
[[nodiscard]] const Table<Lapic>& apic_table();
[[nodiscard]] const Table<IoApic>& ioapic_table();
[[nodiscard]] const Table<Pic>& pic_table();
[[nodiscard]] const Table<Pit>& pit_table();
[[nodiscard]] const Table<Pit>& speaker_table();
[[nodiscard]] const Table<Rtc>& rtc_table();
[[nodiscard]] const Table<Hpet>& hpet_table();
[[nodiscard]] const Table<Machine>& timer_table();
[[nodiscard]] const Table<InterruptWires>& piix3_table();
[[nodiscard]] const Table<InterruptWires>& pci_bus_table();
[[nodiscard]] const Table<PowerManagement>& piix4_pm_table();
[[nodiscard]] const Table<Machine>& host_bridge_table();

}  // namespace vmferry::qemu
