#include "tools/vmferry/xen_host.hpp"

#include "proxy/xen_template.hpp"
#include "tools/vmferry/report.hpp"

namespace vmferry::cli {

Result<decltype(SessionToXenOptions::choose)> choose_xen_host(XenDestinationSettings settings) {
    if (settings.xl_command.empty())
        return std::unexpected(usage_error("--xl-command", "nothing says where the Xen host is",
                                           "a command that speaks `xl migrate-receive`, or tcp:HOST:PORT"));
    if (settings.xen_template.empty())
        return std::unexpected(usage_error("--xen-template", "nothing says what the Xen host is like",
                                           "what `vmferry template --xen` wrote of it"));
    VMFERRY_ASSIGN(auto xen, read_xen_template(settings.xen_template));
    return [settings = std::move(settings), xen = std::move(xen)](const std::optional<SourceFacts>& facts,
                                                                  const QemuSource&) -> Result<XenHost> {
        XenHost host{
            settings.xl_command, settings.options, xen, {settings.spill_bytes, settings.spill_directory}};
        const auto name = !host.options.name.empty() ? host.options.name
                          : facts                    ? facts->name
                                                     : std::string();
        VMFERRY_TRY(fill_placeholders(host.options, name, facts ? facts->uuid : std::string()));
        return host;
    };
}

}  // namespace vmferry::cli
