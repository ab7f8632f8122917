// The local APIC's timer: Xen's counts at 100 MHz, QEMU's and KVM's at 1 GHz.
#pragma once

#include <string>

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

/// TDCR for a divider (SDM vol. 3, 10.5.4): bits 0, 1 and 3 hold log2(divider) − 1 modulo 8.
[[nodiscard]] std::uint32_t divide_configuration(std::uint32_t divider);

}  // namespace vmferry
