// The neutral machine as the save records of a Xen domain: the inverse of read_machine().
#pragma once

#include <vector>

#include "parsers/xen/hvm_context.hpp"
#include "parsers/xen/records.hpp"
#include "translators/audit.hpp"
#include "translators/machine.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry::xen {

/// HVM_CONTEXT in the order in which Xen writes it. A vCPU that waits for SIPI has no CPU record. CPU_XSAVE
/// is there if the guest has enabled XSAVE. The form of a record that differs from release to release (LAPIC)
/// is that of the template. Error: an XSAVE component that the plan's CPUID policy does not place.
[[nodiscard]] Result<HvmContext> write_machine(const Machine& machine, const XenPlan& plan,
                                               const XenTemplate& xen);

/// HVM_PARAMS: where Xen's special pages lie, as in the template. Error (kind environment): the template's
/// lie elsewhere than they do in all released versions.
[[nodiscard]] Result<std::vector<HvmParam>> write_params(const XenTemplate& xen, Firmware firmware);

/// X86_TSC_INFO.
[[nodiscard]] TscInfo write_tsc_info(const Machine& machine, const XenPlan& plan);

}  // namespace vmferry::xen
