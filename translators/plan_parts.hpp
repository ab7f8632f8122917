// The parts that make_plan() is made of. Each fills its members of the plan and writes its findings.
#pragma once

#include "parsers/wire/error.hpp"
#include "translators/audit.hpp"
#include "translators/destination.hpp"
#include "translators/domain_config.hpp"
#include "translators/plan.hpp"

namespace vmferry {

/// Everything a plan is derived from.
struct PlanInput {
    const DomainConfig& config;
    const DestinationOptions& options;
    const DestinationFacts& facts;
};

[[nodiscard]] std::unexpected<Error> plan_usage_error(std::string option, std::string found,
                                                      std::string expected);

/// The whole domain: its type, firmware, device model, and what Xen offers beyond a PC.
void audit_domain(const DomainConfig& config, AuditReport& audit);
/// RAM as Xen lays it out, and how QEMU is told to lay it out so.
void plan_memory(const PlanInput& in, Plan& plan, AuditReport& audit);
/// Display adapter, USB, cards, drives, serial ports and the firmware area's device, with their PCI slots.
[[nodiscard]] Result<void> plan_devices(const PlanInput& in, Plan& plan, AuditReport& audit);

}  // namespace vmferry
