// Signs that a guest lives on Xen's paravirtual interfaces.
#pragma once

#include "translators/audit.hpp"
#include "translators/machine.hpp"
#include "translators/xen_source.hpp"

namespace vmferry {

/// What the stream can show (the event channel callback itself is never sent):
///   · drives or NICs that the configuration emulates and the device model no longer has: unplugged by PV
///   drivers; · a vCPU stopped right behind the hypercall instruction of SCHEDOP_shutdown in a hypercall page
///   (entry 29 of 32
///     bytes each, `mov $29, %eax` and `vmcall`), with RAX = 0 and interrupts off: a guest that takes part in
///     its own suspension, which it does only with PV drivers.
/// Linux 6.14 and later has no hypercall page; such a guest shows the first sign only.
/// Findings: pv-drivers.
void check_pv_drivers(const Machine& machine, const XenSource& source, AuditReport& audit);

}  // namespace vmferry
