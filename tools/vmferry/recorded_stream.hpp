// What plan, audit and convert do with a recorded Xen stream: read its head, or carry all of it.
#pragma once

#include <functional>
#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/convert.hpp"
#include "translators/audit.hpp"
#include "translators/destination.hpp"
#include "translators/plan.hpp"
#include "translators/xen_source.hpp"

namespace vmferry::cli {

/// Reads until configuration and CPU policy are known and hands them to `use`, whose result it returns.
Result<void> with_head(const std::string& path, const std::function<Result<void>(const XenSource&)>& use);

struct Carried {
    CrossingCounters counters;
    Plan plan;
};
/// The whole conversion for this destination into `sink`. The findings are in `audit` also after an error.
/// `label`: of the progress line; empty: none is shown.
[[nodiscard]] Result<Carried> carry_recorded(const std::string& path, const DestinationOptions& options,
                                             const BatchSink& sink, const std::string& label,
                                             AuditReport& audit);

}  // namespace vmferry::cli
