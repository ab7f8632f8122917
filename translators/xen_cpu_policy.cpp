// What CPU the guest finds on Xen: the template's CPUID and MSR policy.
#include "translators/xen_plan_parts.hpp"

namespace vmferry {

void plan_cpu_policy(const XenPlanInput& in, XenPlan& plan, AuditReport& audit) {
    plan.cpuid = in.xen.cpuid;
    plan.msrs = in.xen.msrs;
    if (plan.cpuid.empty()) audit.violated("cpu-policy", "there is no CPUID policy in the template");
}

}  // namespace vmferry
