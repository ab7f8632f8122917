#include "tools/vmferry/destination_arguments.hpp"

#include <cstdlib>
#include <filesystem>

#include <CLI/CLI.hpp>

#include "tools/vmferry/destination_file.hpp"
#include "tools/vmferry/destination_keys.hpp"
#include "tools/vmferry/report.hpp"
#include "tools/vmferry/session_output.hpp"
#include "tools/vmferry/xen_destination_keys.hpp"

namespace vmferry::cli {

void DestinationArguments::add_to(CLI::App& app, const Invocation& invocation) {
    invocation_ = &invocation;
    // One value for each time an option is given, as often as needed; without the last call an option would
    // swallow a positional that follows.
    const auto add_list = [&app](const char* name, std::vector<std::string>& target, const char* help,
                                 const char* value) {
        app.add_option(name, target, help)->type_name(value)->group("Destination")->allow_extra_args(false);
    };
    const auto add_text = [&app](const char* name, std::string& target, const char* help, const char* value) {
        app.add_option(name, target, help)->type_name(value)->group("Destination");
    };
    add_text("--qemu", qemu_, "QEMU's binary [qemu-system-x86_64]", "BINARY");
    add_text("--accel", accel_, "accelerator [kvm where it works, else tcg]", "tcg|kvm");
    add_list(
        "--disk", given_.disks,
        "image of a drive; PATH 'none': a CD-ROM drive without medium; to Xen also ,backend=phy or qdisk",
        "VDEV=PATH[,format=F]");
    add_list("--nic", given_.nics,
             "network of a card, as QEMU's -netdev takes it; to Xen BRIDGE[,script=PATH]", "N=NETDEV-ARGS");
    add_list("--serial", given_.serial,
             "where a serial port goes, in order, as QEMU's -serial or serial in xl.cfg takes it", "CHARDEV");
    add_text("--display", display_, "as QEMU's -display takes it [none]", "DISPLAY");
    add_text("--qmp", qmp_, "adopt the waiting QEMU that has this QMP socket, instead of starting one",
             "SOCKET");
    add_text("--name", given_.name, "name of the guest, instead of the one that its configuration gives",
             "NAME");
    std::string settings = "setting of the plan:";
    for (const auto& setting : known_settings())
        settings += fmt::format(" {} ({})", setting.key, setting.meaning);
    settings += "; to Xen:";
    for (const auto& setting : known_xen_settings())
        settings += fmt::format(" {} ({})", setting.key, setting.meaning);
    add_list("--set", given_.set, settings.c_str(), "KEY=VALUE");
    add_list("--allow", given_.allow, "accept the risk that a rule of the audit names (`vmferry rules`)",
             "RULE");
    add_text("--template", template_, "a file that `vmferry template` wrote, instead of starting a twin",
             "FILE");
    add_text("--config", given_.config,
             "the same settings in a TOML file; serve and migrate-receive: or a directory", "FILE|DIR");
    add_text("--state-dir", given_.state_directory, "journals and cached templates [/var/lib/vmferry]",
             "DIR");
    add_list("--timeout", given_.timeouts, "a time limit in seconds: start, twin, peer, load, permission",
             "NAME=SECONDS");
    app.footer("What follows \"--\" is passed to the destination's QEMU as it is.");
}

bool DestinationArguments::any_given() const {
    return !qemu_.empty() || !accel_.empty() || !display_.empty() || !qmp_.empty() || !given_.name.empty() ||
           !template_.empty() || !given_.disks.empty() || !given_.nics.empty() || !given_.serial.empty() ||
           !given_.set.empty() || !given_.allow.empty() || has_dashes();
}

Result<void> DestinationArguments::check_no_qemu() const {
    for (const auto& [name, value] : {std::pair{"--qemu", &qemu_},
                                      {"--accel", &accel_},
                                      {"--display", &display_},
                                      {"--qmp", &qmp_},
                                      {"--template", &template_}})
        if (!value->empty())
            return std::unexpected(
                usage_error(name, "a destination that is a Xen host", "no option of QEMU"));
    if (!given_.timeouts.empty())
        return std::unexpected(
            usage_error("--timeout", "a destination that is a Xen host", "no time limit of QEMU's"));
    if (has_dashes())
        return std::unexpected(usage_error("--", "a destination that is a Xen host", "no QEMU's words"));
    return {};
}

bool DestinationArguments::has_dashes() const {
    return invocation_ != nullptr && invocation_->has_dashes;
}

Result<void> DestinationArguments::apply(DestinationOptions& options) const {
    const auto take = [](const std::string& given, std::string& target) {
        if (!given.empty()) target = given;
    };
    take(qemu_, options.qemu);
    take(display_, options.display);
    take(qmp_, options.qmp);
    take(given_.name, options.name);
    take(template_, options.template_file);
    take(given_.state_directory, options.state_directory);
    if (!given_.serial.empty()) options.serial = given_.serial;
    if (has_dashes()) options.extra = invocation_->after_dashes;
    if (!accel_.empty()) VMFERRY_TRY(set_accel("--accel", accel_, options));
    for (const auto& rule : given_.allow) VMFERRY_TRY(allow_rule("--allow", rule, options.allow));

    const auto pairs = [&options](const char* name, const std::vector<std::string>& given,
                                  auto set) -> Result<void> {
        for (const auto& pair : given) {
            VMFERRY_ASSIGN(const auto cut, split_pair(name, pair));
            VMFERRY_TRY(set(name, cut.first, cut.second, options));
        }
        return {};
    };
    VMFERRY_TRY(pairs("--disk", given_.disks, set_disk));
    VMFERRY_TRY(pairs("--nic", given_.nics, set_nic));
    VMFERRY_TRY(pairs("--set", given_.set, set_setting));
    VMFERRY_TRY(pairs("--timeout", given_.timeouts, set_timeout));
    return {};
}

Result<DestinationOptions> DestinationArguments::options() const {
    DestinationOptions options;
    if (!given_.config.empty()) VMFERRY_TRY(read_destination_file(given_.config, options));
    VMFERRY_TRY(apply(options));
    return options;
}

std::string DestinationArguments::directory() const {
    if (given_.config.empty()) return any_given() ? std::string() : std::string(default_configuration);
    std::error_code unused;
    return std::filesystem::is_directory(given_.config, unused) ? given_.config : std::string();
}

Result<void> DestinationArguments::check_configuration() const {
    const auto where = directory();
    if (where.empty()) {
        VMFERRY_TRY(options());
        return {};
    }
    std::error_code unused;
    if (!std::filesystem::is_directory(where, unused))
        return std::unexpected(Error{ErrorKind::usage,
                                     where,
                                     {},
                                     {},
                                     0,
                                     "no such directory",
                                     "destination.toml and guests/NAME.toml",
                                     "or say the destination on the command line"});
    return check_configuration_directory(where);
}

Result<DestinationOptions> DestinationArguments::options_for(const std::string& name,
                                                             const std::string& uuid) const {
    const auto where = directory();
    DestinationOptions options;
    if (!where.empty()) {
        VMFERRY_ASSIGN(options, read_configuration_directory(where, name));
    } else if (!given_.config.empty()) {
        VMFERRY_TRY(read_destination_file(given_.config, options));
    }
    VMFERRY_TRY(apply(options));
    VMFERRY_TRY(fill_placeholders(options, name, uuid));
    return options;
}

std::string DestinationArguments::state_directory() const {
    if (!given_.state_directory.empty()) return given_.state_directory;
    DestinationOptions options;
    options.state_directory.clear();
    const auto where = directory();
    // What is wrong with a file is reported where its settings are needed.
    if (!where.empty())
        (void)read_common_settings(where, options);
    else if (!given_.config.empty())
        (void)read_destination_file(given_.config, options);
    return options.state_directory.empty() ? default_state_directory() : options.state_directory;
}

}  // namespace vmferry::cli
