// The local APIC's timer: Xen's counts at 100 MHz, QEMU's and KVM's at 1 GHz.
#pragma once

#include <string>

#include "translators/audit.hpp"
#include "translators/machine.hpp"
#include "translators/plan.hpp"

namespace vmferry {

inline constexpr std::uint64_t qemu_lapic_clock_hz = 1'000'000'000;

/// Makes the timer run as nearly as it can at the rate that the guest measured.
///   one-shot      the next expiry stays as it is. Later ones: the largest divider that is not slower than
///                 the guest's count
///                 (128 ns instead of 160 ns for the usual divider 16), so that they come early and the
///                 guest, seeing that nothing is due yet, arms again. Under TCG the divider that counts is
///                 apart from TDCR, and the guest keeps seeing its own; KVM takes it from TDCR.
///   periodic      the initial count times ten: exact until the guest programs the timer anew.
///   TSC-deadline  counts the TSC: nothing to do.
/// Both last until the guest writes TDCR. Returns what was done, for the report; empty if nothing.
[[nodiscard]] std::string adapt_lapic_timer(Lapic& lapic, Accel accel);

inline constexpr std::uint64_t xen_lapic_clock_hz = 100'000'000;

/// The way back: a timer of 1 GHz on Xen, which starts the count of its record anew.
///   one-shot      the count is what is left until the expiry; due, or overdue: 1, at once
///   periodic      the count is the whole period
/// `firmware` says what the guest measured. One of SeaBIOS, 1 GHz: the largest divider that is not slower
/// than its count, in TDCR too, as Xen has no other; later expiries come early (the usual 16 ns: every
/// 10 ns) and the guest arms again. One of hvmloader has measured Xen's own clock and keeps its TDCR.
/// Finding lapic-divider: the guest's count is shorter than Xen's clock; its timers come late.
[[nodiscard]] std::string adapt_lapic_timer_to_xen(Lapic& lapic, unsigned number, Firmware firmware,
                                                   Accel source, AuditReport& audit);

/// Divider of a TDCR value: 1, 2, … 128.
[[nodiscard]] std::uint32_t divider_of(std::uint32_t divide_configuration);

/// TDCR for a divider (SDM vol. 3, 10.5.4): bits 0, 1 and 3 hold log2(divider) − 1 modulo 8.
[[nodiscard]] std::uint32_t divide_configuration(std::uint32_t divider);

}  // namespace vmferry
