#include "tools/vmferry/xen_destination_keys.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "tools/vmferry/destination_keys.hpp"
#include "tools/vmferry/toml_reader.hpp"
#include "translators/domain_config.hpp"

namespace vmferry::cli {

namespace {

std::unexpected<Error> usage(std::string_view where, std::string found, std::string expected) {
    return std::unexpected(
        Error{ErrorKind::usage, std::string(where), {}, {}, 0, std::move(found), std::move(expected)});
}

constexpr std::string_view disk_form = "PATH[,format=FORMAT][,backend=phy|qdisk]";
constexpr std::string_view nic_form = "BRIDGE[,script=PATH]";

}  // namespace

const std::vector<Setting>& known_xen_settings() {
    static const std::vector<Setting> settings{
        {"tsc_mode",
         "how Xen keeps the guest's TSC: default, always_emulate or native, as tsc_mode in xl.cfg"},
        {"tsc_khz", "rate of the guest's TSC; else what the source says, or the template's"},
        {"accel", "what accelerates the source, tcg or kvm, if there is no --source-qmp to say so"}};
    return settings;
}

Result<void> set_xen_disk(std::string_view where, std::string_view name, std::string_view value,
                          XenDestinationOptions& options) {
    XenDestinationOptions::Disk disk;
    disk.path = take_element(value);
    if (name.empty() || disk.path.empty())
        return usage(where, name.empty() ? "no drive name" : "an empty path", std::string(disk_form));
    while (!value.empty()) {
        const auto option = take_element(value);
        if (option.starts_with("format="))
            disk.format = option.substr(7);
        else if (option.starts_with("backend="))
            disk.backend = option.substr(8);
        else
            return usage(where, fmt::format("'{}'", option), std::string(disk_form));
    }
    options.disks.insert_or_assign(std::string(name), std::move(disk));
    return {};
}

Result<void> set_xen_nic(std::string_view where, std::string_view name, std::string_view value,
                         XenDestinationOptions& options) {
    XenDestinationOptions::Nic nic;
    nic.bridge = take_element(value);
    if (nic.bridge.starts_with("bridge=")) nic.bridge.erase(0, 7);
    if (name.empty() || nic.bridge.empty())
        return usage(where, name.empty() ? "no card" : "no bridge", std::string(nic_form));
    while (!value.empty()) {
        const auto option = take_element(value);
        if (!option.starts_with("script="))
            return usage(where, fmt::format("'{}'", option), std::string(nic_form));
        nic.script = option.substr(7);
    }
    options.nics.insert_or_assign(std::string(name), std::move(nic));
    return {};
}

Result<void> set_xen_setting(std::string_view where, std::string_view key, std::string_view value,
                             XenDestinationOptions& options) {
    if (key == "tsc_mode") {
        if (value == "default" || value == "automatic")
            options.tsc_mode = TscMode::automatic;
        else if (value == "always_emulate")
            options.tsc_mode = TscMode::always_emulate;
        else if (value == "native" || value == "never_emulate")
            options.tsc_mode = TscMode::never_emulate;
        else
            return usage(where, fmt::format("'{}'", value), "default, always_emulate or native");
    } else if (key == "tsc_khz") {
        std::uint32_t khz = 0;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), khz);
        if (error != std::errc{} || end != value.data() + value.size() || khz == 0)
            return usage(where, fmt::format("'{}'", value), "a rate in kHz");
        options.tsc_khz = khz;
    } else if (key == "accel") {
        if (value != "tcg" && value != "kvm") return usage(where, fmt::format("'{}'", value), "tcg or kvm");
        options.accel = value == "kvm" ? Accel::kvm : Accel::tcg;
    } else {
        std::string known;
        for (const auto& setting : known_xen_settings())
            known += (known.empty() ? "" : ", ") + std::string(setting.key);
        return usage(where, fmt::format("'{}'", key), "one of: " + known);
    }
    return {};
}

Result<void> read_xen_destination_file(const std::string& path, XenDestinationSettings& settings) {
    auto& options = settings.options;
    const TomlReader reader(path);
    const auto into = [&options](auto set) {
        return [set, &options](std::string_view where, std::string_view key, std::string_view value) {
            return set(where, key, value, options);
        };
    };
    return reader.read({
        {"xl_command", reader.text_into(settings.xl_command)},
        {"xen_template", reader.text_into(settings.xen_template)},
        {"source_qmp", reader.text_into(settings.source_qmp)},
        {"state_directory", reader.text_into(settings.state_directory)},
        {"spill_directory", reader.text_into(settings.spill_directory)},
        {"spill_bytes", reader.bytes_into(settings.spill_bytes)},
        {"domain_config", reader.text_into(options.domain_config)},
        {"name", reader.text_into(options.name)},
        {"serial", reader.words_into(options.serial)},
        {"allow", reader.words([&options](std::string_view where, std::string_view rule) {
             return allow_rule(where, rule, options.allow);
         })},
        {"disk", reader.pairs(into(set_xen_disk))},
        {"nic", reader.pairs(into(set_xen_nic))},
        {"set", reader.pairs(into(set_xen_setting))},
    });
}

Result<void> load_domain_config(XenDestinationOptions& options) {
    if (options.domain_config.empty()) return {};
    const auto path = std::exchange(options.domain_config, {});
    std::ifstream file(path, std::ios::binary);
    if (!file) return environment_error("domain configuration", "reading " + path, "it cannot be opened");
    std::string text(domain_config_limit::json_bytes + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad()) return environment_error("domain configuration", "reading " + path, "it cannot be read");
    text.resize(static_cast<std::size_t>(file.gcount()));
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string::npos || text[first] != '{')
        return usage(path, text.empty() ? "an empty file" : "no JSON",
                     "the configuration in JSON, as `vmferry plan --to xl` prints it, or of an xl.cfg "
                     "`xl create -n FILE` on the Xen host");
    options.domain_config = std::move(text);
    return {};
}

Result<void> fill_placeholders(XenDestinationOptions& options, std::string_view name, std::string_view uuid) {
    std::vector<std::string*> texts{&options.name};
    for (auto& [key, disk] : options.disks) texts.push_back(&disk.path);
    for (auto& [key, nic] : options.nics) {
        texts.push_back(&nic.bridge);
        texts.push_back(&nic.script);
    }
    for (auto& serial : options.serial) texts.push_back(&serial);
    return fill_placeholders(texts, name, uuid);
}

}  // namespace vmferry::cli
