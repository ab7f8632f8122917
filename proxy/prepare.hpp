// From what a stream says at its head to a destination that is ready to be started: plan, template, CPU.
//
//     config, CPU policy ─ probe QEMU ─ make_plan ─ twin (or template file) ─ check_cpu ─► Prepared
#pragma once

#include <string>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"
#include "proxy/time_limits.hpp"
#include "translators/audit.hpp"
#include "translators/destination.hpp"
#include "translators/plan.hpp"
#include "translators/xen_source.hpp"

namespace vmferry {

struct Prepared {
    Plan plan;
    qemu::Snapshot twin;
    /// False with a template file, which is only a stream: the destination's own CPU must be asked.
    bool cpu_checked = false;
};

/// The operator's time-outs in the places where they count; the other limits stay as in `base`.
[[nodiscard]] TimeLimits time_limits(const DestinationOptions& options, TimeLimits base = {});

/// The plan alone. Findings go into `audit`; the error is of kind refused if they forbid to go on.
[[nodiscard]] Result<Plan> prepare_plan(Loop& loop, const XenSource& source,
                                        const DestinationOptions& options, AuditReport& audit);

/// Plan, template and the comparison of the CPUs. `cache_directory` empty: every template is made anew.
[[nodiscard]] Result<Prepared> prepare_destination(Loop& loop, const XenSource& source,
                                                   const DestinationOptions& options,
                                                   const std::string& cache_directory, AuditReport& audit);

/// Compares the CPU that a QEMU shows with what the guest saw. Error: kind refused if it is not enough.
Result<void> audit_cpu(const XenSource& source, Accel accel, CpuFacts facts, AuditReport& audit);

}  // namespace vmferry
