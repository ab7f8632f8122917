// From what a QEMU stream says at its head to a Xen domain that can be created: facts, template, plan.
//
//     source's QMP ─ read_source_facts ─┐
//     machine, RAM blocks ──────────────┼─ make_xen_plan ─► XenDestination
//     template file ─ read_xen_template ┘
#pragma once

#include <optional>
#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/convert.hpp"
#include "proxy/loop.hpp"
#include "proxy/time_limits.hpp"
#include "translators/audit.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry {

enum class SourceMayRun { no, yes };
/// Asks the QEMU behind a QMP socket and leaves it again; nothing if `socket` is empty. Error of kind refused
/// if it runs and must not.
[[nodiscard]] Result<std::optional<SourceFacts>> ask_source(Loop& loop, const std::string& socket,
                                                            const TimeLimits& limits,
                                                            SourceMayRun may_run = SourceMayRun::yes);

/// Findings go into `audit`; the error is of kind refused if they forbid to go on, usage without a template.
[[nodiscard]] Result<XenDestination> prepare_xen(const std::optional<SourceFacts>& facts,
                                                 const QemuSource& source,
                                                 const XenDestinationOptions& options,
                                                 const std::string& template_file, AuditReport& audit);

}  // namespace vmferry
