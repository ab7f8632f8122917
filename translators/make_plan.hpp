// From the domain's configuration, its CPUID policy and the operator's mapping to the destination machine.
//
//     read_domain_config ─┐
//     CPUID policy ───────┼→ make_plan → Plan (and findings) → twin → check_cpu
//     operator, QEMU ─────┘
#pragma once

#include "parsers/wire/error.hpp"
#include "parsers/xen/policy.hpp"
#include "translators/audit.hpp"
#include "translators/destination.hpp"
#include "translators/domain_config.hpp"
#include "translators/plan.hpp"

namespace vmferry {

/// Derives the plan with both command lines. What cannot be carried goes into `audit`, all of it, not only
/// the first thing; the plan is only to be used if !audit.refused(). Errors: usage (a mapping for something
/// that the guest does not have, an unknown setting, a mapped image of unknown size), environment (the QEMU
/// has no suitable machine), stream (a CPUID policy that no CPU has; the offset counts from its first leaf).
/// Of the configuration only numbers and enumerations reach the command lines, and the guest's name reduced
/// to letters, digits, '.', '_' and '-'.
[[nodiscard]] Result<Plan> make_plan(const DomainConfig& config, const xen::CpuidPolicy& policy,
                                     unsigned xen_major, unsigned xen_minor,
                                     const DestinationOptions& options, const DestinationFacts& facts,
                                     AuditReport& audit);

/// QEMU's release that a Xen release is used with as device model.
struct DeviceModelRelease {
    unsigned qemu_major = 0, qemu_minor = 0;
};
[[nodiscard]] DeviceModelRelease device_model_release(unsigned xen_major, unsigned xen_minor);

/// The newest pc-i440fx machine that is not newer than `release`; if all are newer, the oldest. Empty if
/// there is none.
[[nodiscard]] std::string choose_machine(const std::vector<std::string>& machines,
                                         DeviceModelRelease release);

}  // namespace vmferry
