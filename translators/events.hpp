// Events and interrupts that were pending at the instant, and how each accelerator takes them.
#pragma once

#include <cstdint>
#include <string>

#include "translators/audit.hpp"
#include "translators/machine.hpp"
#include "translators/plan.hpp"

namespace vmferry {

/// Makes every pending event something that the accelerator delivers.
///   external interrupt  KVM injects the vector again. TCG knows no half-delivered interrupt: the
///   acknowledgement is
///                       taken back in the LAPIC (in service → requested) or the 8259s.
///   NMI                 both have a flag for it.
///   exception           a fault's instruction has not been executed (SDM vol. 3, 6.5), so it faults again by
///   itself;
///                       a trap is injected by KVM, and lost under TCG (rule pending-event).
void settle_event(Vcpu& vcpu, unsigned number, std::array<Pic, 2>& pic, Accel accel, AuditReport& audit);

/// Level-triggered pins that are asserted and unmasked, but not yet delivered (remote IRR clear): a line that
/// does not change is looked at by nobody after a load. Delivers them: remote IRR, and IRR and TMR of the
/// destinations.
void deliver_level_interrupts(Machine& machine);

/// The 8259s' way to a processor. Xen's also leads through pin 0 of the I/O APIC, in ExtINT mode, which is
/// how hvmloader leaves it, with LINT0 masked; in QEMU no signal comes to that pin, so that LINT0 of the same
/// processor is opened. Returns what was done, for the report; empty if nothing.
[[nodiscard]] std::string open_lint0(Machine& machine);
/// The way back: LINT0 is masked again where pin 0 is open. For Xen one of them is enough.
void close_lint0(Machine& machine);

/// QEMU's interrupt_request for TCG: bit 1 (HARD) when the LAPIC or, through LINT0, the 8259s hold an
/// interrupt for the processor; bit 9 (NMI). TCG looks at nothing else when it starts.
[[nodiscard]] std::uint32_t interrupt_request(const Vcpu& vcpu, const Pic& master);

/// INT of an 8259A: an unmasked request beats what is in service (8259A data sheet, priority, special fully
/// nested and special mask modes).
[[nodiscard]] bool pic_output(const Pic& chip, bool master);

/// Highest vector of a 256-bit register of the LAPIC, −1 for none.
[[nodiscard]] int highest_vector(const std::array<std::uint32_t, 8>& bits);

}  // namespace vmferry
