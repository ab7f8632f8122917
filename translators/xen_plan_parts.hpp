// The parts that make_xen_plan() is made of. Each fills its members of the plan and writes its findings.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "parsers/wire/error.hpp"
#include "translators/audit.hpp"
#include "translators/domain_config.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry {

/// Everything a plan is derived from.
struct XenPlanInput {
    const std::optional<SourceFacts>& facts;
    const QemuSource& source;
    const XenTemplate& xen;
    const XenDestinationOptions& options;
};

[[nodiscard]] std::unexpected<Error> xen_plan_usage_error(std::string option, std::string found,
                                                          std::string expected);

/// RAM of the source's blocks as the guest sees it, video memory, the firmware area. `given`: the operator's
/// configuration, or null. The result is the MMIO hole that the domain needs below 4 GiB, in bytes; 0: Xen's
/// default.
[[nodiscard]] std::uint64_t plan_xen_memory(const XenPlanInput& in, const DomainConfig* given, XenPlan& plan,
                                            AuditReport& audit);

/// The domain's configuration, from the facts (precondition: there are some) and the operator's mapping.
/// Precondition: name, vCPUs and memory of the plan are there.
[[nodiscard]] Result<std::string> derive_domain_config(const XenPlanInput& in, const XenPlan& plan,
                                                       std::uint64_t mmio_hole, AuditReport& audit);

/// CPUID and MSR policy: the template's, narrowed to what the guest saw.
void plan_cpu_policy(const XenPlanInput& in, XenPlan& plan, AuditReport& audit);

}  // namespace vmferry
