// What plan, audit and convert do with a recorded QEMU stream on its way to Xen: read its head, or carry all.
#pragma once

#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/convert.hpp"
#include "tools/vmferry/xen_destination_keys.hpp"
#include "translators/audit.hpp"

namespace vmferry::cli {

/// The plan for the guest of this stream. The source is asked over QMP if the settings name its socket.
[[nodiscard]] Result<XenPlan> plan_recorded_to_xen(const std::string& path,
                                                   const XenDestinationSettings& settings,
                                                   AuditReport& audit);

struct CarriedToXen {
    CrossingCounters counters;
    XenPlan plan;
};
/// The whole conversion into `sink`. The findings are in `audit` also after an error. `label`: of the
/// progress line; empty: none is shown.
[[nodiscard]] Result<CarriedToXen> carry_recorded_to_xen(const std::string& path,
                                                         const XenDestinationSettings& settings,
                                                         const BatchSink& sink, const std::string& label,
                                                         AuditReport& audit);

}  // namespace vmferry::cli
