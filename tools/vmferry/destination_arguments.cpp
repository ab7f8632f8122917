#include "tools/vmferry/destination_arguments.hpp"

#include <cstdlib>
#include <filesystem>

#include <CLI/CLI.hpp>

#include "tools/vmferry/destination_file.hpp"
#include "tools/vmferry/destination_keys.hpp"
#include "tools/vmferry/session_output.hpp"

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
    add_list("--disk", disks_, "image of a drive; PATH 'none': a CD-ROM drive without medium",
             "VDEV=PATH[,format=F]");
    add_list("--nic", nics_, "network of a card, as QEMU's -netdev takes it", "N=NETDEV-ARGS");
    add_list("--serial", serial_, "where a serial port goes, in order, as QEMU's -serial takes it",
             "CHARDEV");
    add_text("--display", display_, "as QEMU's -display takes it [none]", "DISPLAY");
    add_text("--qmp", qmp_, "adopt the waiting QEMU that has this QMP socket, instead of starting one",
             "SOCKET");
    add_text("--name", name_, "name of the guest, instead of the one that its configuration gives", "NAME");
    std::string settings = "setting of the plan:";
    for (const auto& setting : known_settings())
        settings += fmt::format(" {} ({})", setting.key, setting.meaning);
    add_list("--set", set_, settings.c_str(), "KEY=VALUE");
    add_list("--allow", allow_, "accept the risk that a rule of the audit names (`vmferry rules`)", "RULE");
    add_text("--template", template_, "a file that `vmferry template` wrote, instead of starting a twin",
             "FILE");
    add_text("--config", config_,
             "the same settings in a TOML file; serve and migrate-receive: or a directory", "FILE|DIR");
    add_text("--state-dir", state_directory_, "journals and cached templates [/var/lib/vmferry]", "DIR");
    add_list("--timeout", timeouts_, "a time limit in seconds: start, twin, peer, load, permission",
             "NAME=SECONDS");
    app.footer("What follows \"--\" is passed to the destination's QEMU as it is.");
}

bool DestinationArguments::any_given() const {
    return !qemu_.empty() || !accel_.empty() || !display_.empty() || !qmp_.empty() || !name_.empty() ||
           !template_.empty() || !disks_.empty() || !nics_.empty() || !serial_.empty() || !set_.empty() ||
           !allow_.empty() || has_dashes();
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
    take(name_, options.name);
    take(template_, options.template_file);
    take(state_directory_, options.state_directory);
    if (!serial_.empty()) options.serial = serial_;
    if (has_dashes()) options.extra = invocation_->after_dashes;
    if (!accel_.empty()) VMFERRY_TRY(set_accel("--accel", accel_, options));
    for (const auto& rule : allow_) VMFERRY_TRY(allow_rule("--allow", rule, options));

    const auto pairs = [&options](const char* name, const std::vector<std::string>& given,
                                  auto set) -> Result<void> {
        for (const auto& pair : given) {
            VMFERRY_ASSIGN(const auto cut, split_pair(name, pair));
            VMFERRY_TRY(set(name, cut.first, cut.second, options));
        }
        return {};
    };
    VMFERRY_TRY(pairs("--disk", disks_, set_disk));
    VMFERRY_TRY(pairs("--nic", nics_, set_nic));
    VMFERRY_TRY(pairs("--set", set_, set_setting));
    VMFERRY_TRY(pairs("--timeout", timeouts_, set_timeout));
    return {};
}

Result<DestinationOptions> DestinationArguments::options() const {
    DestinationOptions options;
    if (!config_.empty()) VMFERRY_TRY(read_destination_file(config_, options));
    VMFERRY_TRY(apply(options));
    return options;
}

std::string DestinationArguments::directory() const {
    if (config_.empty()) return any_given() ? std::string() : std::string(default_configuration);
    std::error_code unused;
    return std::filesystem::is_directory(config_, unused) ? config_ : std::string();
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
    } else if (!config_.empty()) {
        VMFERRY_TRY(read_destination_file(config_, options));
    }
    VMFERRY_TRY(apply(options));
    VMFERRY_TRY(fill_placeholders(options, name, uuid));
    return options;
}

std::string DestinationArguments::state_directory() const {
    if (!state_directory_.empty()) return state_directory_;
    DestinationOptions options;
    options.state_directory.clear();
    const auto where = directory();
    // What is wrong with a file is reported where its settings are needed.
    if (!where.empty())
        (void)read_common_settings(where, options);
    else if (!config_.empty())
        (void)read_destination_file(config_, options);
    return options.state_directory.empty() ? default_state_directory() : options.state_directory;
}

}  // namespace vmferry::cli
