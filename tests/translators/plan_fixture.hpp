// A Linux guest on Xen 4.17 (captures/xen-4.17-linux-2vcpu-e1000-ide) as the plan's inputs, to be varied.
#pragma once

#include <string>

#include "parsers/xen/policy.hpp"
#include "translators/audit.hpp"
#include "translators/destination.hpp"
#include "translators/domain_config.hpp"
#include "translators/make_plan.hpp"

namespace vmferry::test {

/// libxl's JSON of that guest.
[[nodiscard]] std::string guest_json();
/// The same, with the first occurrence of `from` replaced. `from` must occur.
[[nodiscard]] std::string guest_json(const std::string& from, const std::string& to);
/// Its CPUID policy, without the leaves that are all zero.
[[nodiscard]] xen::CpuidPolicy guest_policy();

/// What one plan is made from; the members are the guest's and may be changed.
struct PlanCase {
    DomainConfig config;
    xen::CpuidPolicy policy = guest_policy();
    unsigned xen_major = 4, xen_minor = 17;
    DestinationOptions options;
    DestinationFacts facts;
    AuditReport audit;

    PlanCase();
    [[nodiscard]] Result<Plan> make();
    /// Precondition of the test: the plan is made and not refused.
    [[nodiscard]] Plan good();
    [[nodiscard]] bool refused(std::string_view rule) const;
};

/// The value after the first `option` in the arguments, or "".
[[nodiscard]] std::string argument(const std::vector<std::string>& arguments, const std::string& option,
                                   std::size_t which = 0);

}  // namespace vmferry::test
