// The local APIC's timer: Xen counts at 100 MHz, QEMU and KVM at 1 GHz, and a guest that has measured one of
// them goes on with what it has measured.
//
//                    on Xen                               on QEMU
//     hvmloader's    as it measured                       10 × too fast: larger divider, or count × 10
//     SeaBIOS's      10 × too slow: smaller divider       as it measured
//
//     TDCR (SDM vol. 3, 10.5.4)   0, 1, 3 divider · 8–11 the guest's own divider, 12 set: it was changed here
//
// Where another divider has to be shown in TDCR, the guest's own one is kept in reserved bits, which both
// VMMs load as they are and drop when the guest writes the register: so the way back finds it, or finds that
// the guest has chosen another since.
#pragma once

#include <string>

#include "translators/audit.hpp"
#include "translators/machine.hpp"
#include "translators/plan.hpp"

namespace vmferry {

inline constexpr std::uint64_t qemu_lapic_clock_hz = 1'000'000'000, xen_lapic_clock_hz = 100'000'000;

/// Makes a timer of Xen run on QEMU as nearly as it can at the rate that the guest measured.
///   one-shot      the next expiry stays as it is. Later ones of hvmloader's guests: the largest divider that
///                 is not slower than the guest's count (128 ns instead of 160 ns for the usual divider 16),
///                 so that they come early and the guest, seeing that nothing is due yet, arms again. Under
///                 TCG the divider that counts is apart from TDCR, and the guest keeps seeing its own; KVM
///                 takes it from TDCR.
///   periodic      a count of the same period: exact until the guest programs the timer anew.
///   TSC-deadline  counts the TSC: nothing to do.
/// Both last until the guest writes TDCR. Returns what was done, for the report; empty if nothing.
[[nodiscard]] std::string adapt_lapic_timer(Lapic& lapic, Firmware firmware, Accel accel);

/// The way back. Xen starts the count of its record anew: what is left until the expiry (one-shot; due or
/// overdue: 1, at once) or the whole period (periodic). For SeaBIOS's guests the largest divider that is not
/// slower than their count, shown in TDCR too, as Xen has no other.
/// Finding lapic-divider: the guest's count is shorter than Xen's clock; its timers come late.
[[nodiscard]] std::string adapt_lapic_timer_to_xen(Lapic& lapic, unsigned number, Firmware firmware,
                                                   Accel source, AuditReport& audit);

/// TDCR for a divider: bits 0, 1 and 3 hold log2(divider) − 1 modulo 8.
[[nodiscard]] std::uint32_t divide_configuration(std::uint32_t divider);
/// Divider of a TDCR value: 1, 2, … 128.
[[nodiscard]] std::uint32_t divider_of(std::uint32_t divide_configuration);
/// The divider that the guest itself has chosen.
[[nodiscard]] std::uint32_t own_divider(std::uint32_t divide_configuration);

}  // namespace vmferry
