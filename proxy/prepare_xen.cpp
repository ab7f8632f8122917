#include "proxy/prepare_xen.hpp"

#include <nlohmann/json.hpp>

#include "proxy/qmp_call.hpp"
#include "proxy/source_facts.hpp"
#include "proxy/xen_template.hpp"

namespace vmferry {

Result<std::optional<SourceFacts>> ask_source(Loop& loop, const std::string& socket, const TimeLimits& limits,
                                              SourceMayRun may_run) {
    if (socket.empty()) return std::nullopt;
    QmpClient qmp(loop.uv(), "source QEMU");
    if (auto greeting = qmp_connect(loop, qmp, socket, limits.qmp_answers); !greeting) {
        greeting.error().hint = "a QMP socket serves one client at a time: give vmferry one of its own";
        return std::unexpected(std::move(greeting).error());
    }
    VMFERRY_ASSIGN(const nlohmann::json status,
                   qmp_call(loop, qmp, "query-status", nullptr, limits.qmp_answers));
    if (may_run == SourceMayRun::no && status.value("running", false))
        return std::unexpected(Error{ErrorKind::refused,
                                     "source QEMU",
                                     "asking " + socket,
                                     {},
                                     0,
                                     "it runs the guest that is to run in Xen",
                                     "one that has ended, or stands still",
                                     "`stop` or `quit` in its monitor"});
    VMFERRY_ASSIGN(auto facts, read_source_facts(loop, qmp, limits));
    return facts;
}

Result<XenDestination> prepare_xen(const std::optional<SourceFacts>& facts, const QemuSource& source,
                                   const XenDestinationOptions& options, const std::string& template_file,
                                   AuditReport& audit) {
    if (template_file.empty()) {
        Error error;
        error.kind = ErrorKind::usage;
        error.format = "--xen-template";
        error.found = "nothing says what the destination's Xen is like";
        error.expected = "a file that `vmferry template --xen` made of what `xl save` wrote there";
        return std::unexpected(std::move(error));
    }
    XenDestination destination;
    VMFERRY_ASSIGN(destination.xen, read_xen_template(template_file));
    VMFERRY_ASSIGN(destination.plan, make_xen_plan(facts, source, destination.xen, options, audit));
    if (audit.refused()) return std::unexpected(audit.error());
    return destination;
}

}  // namespace vmferry
