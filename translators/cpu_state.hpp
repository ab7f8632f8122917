// Whether the processors' state fits the processor that the destination shows.
#pragma once

#include "parsers/xen/policy.hpp"
#include "translators/audit.hpp"
#include "translators/machine.hpp"
#include "translators/plan.hpp"

namespace vmferry {

/// CR4, EFER and XCR0 against the features of the CPUID policy (which the plan has found in the destination's
/// CPU), and against what TCG and QEMU's stream cannot do at all. Findings: cpu-state, nested-virtualization.
/// Without a policy only the latter are checked.
void check_cpu_state(const Vcpu& vcpu, unsigned number, const xen::CpuidPolicy& policy, Accel accel,
                     AuditReport& audit);

/// XSAVE state for a vCPU that has none in the stream. CR4.OSXSAVE clear: XCR0 = 1, as after reset. Set: the
/// guest has written XCR0, and nobody says what (rule xsave-without-record); then all that the policy offers.
void complete_extended_state(Vcpu& vcpu, unsigned number, const xen::CpuidPolicy& policy, Accel accel,
                             AuditReport& audit);

}  // namespace vmferry
