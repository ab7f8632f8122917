#include "tools/vmferry/xen_destination_arguments.hpp"

#include <CLI/CLI.hpp>

#include "tools/vmferry/destination_keys.hpp"
#include "tools/vmferry/report.hpp"

namespace vmferry::cli {

void XenDestinationArguments::add_choice(CLI::App& app) {
    app.add_option("--to", to_, "what the destination is: qemu, or xl (a Xen host) [qemu]")
        ->check(CLI::IsMember({"qemu", "xl"}))
        ->type_name("qemu|xl")
        ->group("Destination");
}

void XenDestinationArguments::add_to(CLI::App& app, const DestinationArguments& shared) {
    add_choice(app);
    add_common(app, shared);
}

void XenDestinationArguments::add_either_to(CLI::App& app, const DestinationArguments& shared) {
    add_choice(app);
    add_live_to(app, shared);
}

void XenDestinationArguments::add_live_to(CLI::App& app, const DestinationArguments& shared) {
    app.add_option("--xl-command", xl_command_,
                   "what speaks `xl migrate-receive`: a command for sh, or tcp:HOST:PORT")
        ->type_name("COMMAND")
        ->group("Destination: Xen");
    add_common(app, shared);
}

void XenDestinationArguments::add_common(CLI::App& app, const DestinationArguments& shared) {
    shared_ = &shared;
    const auto add = [&app](const char* name, std::string& target, const char* help, const char* value) {
        app.add_option(name, target, help)->type_name(value)->group("Destination: Xen");
    };
    add("--xen-template", xen_template_, "what `vmferry template --xen` wrote of that host", "FILE");
    add("--source-qmp", source_qmp_, "QMP socket of the QEMU that the guest runs in", "SOCKET");
    add("--domain-config", domain_config_,
        "the domain's configuration, instead of a derived one: in JSON, as `vmferry plan --to xl` prints it, "
        "or of an xl.cfg `xl create -n FILE` on the Xen host",
        "FILE");
}

Result<void> XenDestinationArguments::check_absent() const {
    for (const auto& [name, value] : {std::pair{"--xen-template", &xen_template_},
                                      {"--source-qmp", &source_qmp_},
                                      {"--domain-config", &domain_config_},
                                      {"--xl-command", &xl_command_}})
        if (!value->empty())
            return std::unexpected(
                usage_error(name, "a destination that is a QEMU", "one that is a Xen host"));
    return {};
}

Result<XenDestinationSettings> XenDestinationArguments::settings() const {
    VMFERRY_TRY(shared_->check_no_qemu());
    const auto& given = shared_->texts();
    XenDestinationSettings settings;
    auto& options = settings.options;
    if (!given.config.empty()) VMFERRY_TRY(read_xen_destination_file(given.config, settings));
    const auto take = [](const std::string& text, std::string& target) {
        if (!text.empty()) target = text;
    };
    take(given.name, options.name);
    take(given.state_directory, settings.state_directory);
    take(xen_template_, settings.xen_template);
    take(source_qmp_, settings.source_qmp);
    take(xl_command_, settings.xl_command);
    take(domain_config_, options.domain_config);
    if (!given.serial.empty()) options.serial = given.serial;
    for (const auto& rule : given.allow) VMFERRY_TRY(allow_rule("--allow", rule, options.allow));
    const auto pairs = [&options](const char* name, const std::vector<std::string>& all,
                                  auto set) -> Result<void> {
        for (const auto& pair : all) {
            VMFERRY_ASSIGN(const auto cut, split_pair(name, pair));
            VMFERRY_TRY(set(name, cut.first, cut.second, options));
        }
        return {};
    };
    VMFERRY_TRY(pairs("--disk", given.disks, set_xen_disk));
    VMFERRY_TRY(pairs("--nic", given.nics, set_xen_nic));
    VMFERRY_TRY(pairs("--set", given.set, set_xen_setting));
    VMFERRY_TRY(load_domain_config(options));
    return settings;
}

}  // namespace vmferry::cli
