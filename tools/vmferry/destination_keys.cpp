#include "tools/vmferry/destination_keys.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>

#include "translators/audit.hpp"

namespace vmferry::cli {

namespace {

constexpr unsigned max_nics = 64;
constexpr unsigned max_timeout_s = 24 * 60 * 60;

std::unexpected<Error> usage(std::string_view where, std::string found, std::string expected) {
    return std::unexpected(
        Error{ErrorKind::usage, std::string(where), {}, {}, 0, std::move(found), std::move(expected)});
}

std::optional<unsigned> number(std::string_view text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::string double_commas(std::string_view text) {
    std::string doubled;
    for (const char c : text) doubled.append(c == ',' ? 2 : 1, c);
    return doubled;
}

bool is_safe(std::string_view text) {
    // What neither a path nor a comma-separated option list of QEMU gives a meaning to.
    constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";
    return !text.empty() && text.size() <= 128 && text[0] != '.' && text[0] != '-' &&
           text.find_first_not_of(allowed) == std::string_view::npos;
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
}

}  // namespace

std::string take_element(std::string_view& rest) {
    std::string element;
    while (!rest.empty()) {
        const char c = rest.front();
        rest.remove_prefix(1);
        if (c == ',') {
            if (!rest.starts_with(',')) break;
            rest.remove_prefix(1);
        }
        element += c;
    }
    return element;
}

Result<void> set_accel(std::string_view where, std::string_view value, DestinationOptions& options) {
    if (value == "tcg")
        options.accel = Accel::tcg;
    else if (value == "kvm")
        options.accel = Accel::kvm;
    else
        return usage(where, fmt::format("'{}'", value), "tcg or kvm");
    return {};
}

Result<void> set_disk(std::string_view where, std::string_view vdev, std::string_view value,
                      DestinationOptions& options) {
    if (vdev.empty()) return usage(where, "no drive name", "a drive as in xl.cfg: hda … hdd");
    MappedDisk disk;
    disk.path = take_element(value);
    if (disk.path.empty()) return usage(where, "an empty path", "PATH[,format=FORMAT]");
    while (!value.empty()) {
        const auto option = take_element(value);
        if (option.starts_with("format="))
            disk.format = option.substr(7);
        else if (option.find('=') == std::string::npos || option.starts_with("file=") ||
                 option.starts_with("if="))
            return usage(where, fmt::format("'{}'", option), "format=FORMAT, or a further option of -drive");
        else
            disk.drive_options += (disk.drive_options.empty() ? "" : ",") + double_commas(option);
    }
    options.disks.insert_or_assign(std::string(vdev), std::move(disk));
    return {};
}

Result<void> set_nic(std::string_view where, std::string_view devid, std::string_view value,
                     DestinationOptions& options) {
    const auto index = number(devid);
    if (!index || *index >= max_nics)
        return usage(where, fmt::format("'{}'", devid), "the card's number, 0 for the first");
    if (value.empty()) return usage(where, "no network", "what QEMU's -netdev takes, without id=");
    options.nics.insert_or_assign(*index, std::string(value));
    return {};
}

Result<void> set_setting(std::string_view where, std::string_view key, std::string_view value,
                         DestinationOptions& options) {
    const auto& settings = known_settings();
    if (std::ranges::none_of(settings, [&](const Setting& setting) { return setting.key == key; })) {
        std::string known;
        for (const auto& setting : settings) known += (known.empty() ? "" : ", ") + std::string(setting.key);
        return usage(where, fmt::format("'{}'", key), "one of: " + known);
    }
    options.set.insert_or_assign(std::string(key), std::string(value));
    return {};
}

Result<void> allow_rule(std::string_view where, std::string_view rule,
                        std::set<std::string, std::less<>>& allow) {
    const auto* known = find_rule(rule);
    if (known == nullptr)
        return usage(where, fmt::format("'{}'", rule), "a rule's name, see `vmferry rules`");
    if (known->kind == RuleKind::impossible)
        return usage(where, fmt::format("'{}' is impossible to carry, not a risk", rule),
                     std::string(known->remedy));
    allow.emplace(rule);
    return {};
}

Result<void> set_timeout(std::string_view where, std::string_view key, std::string_view seconds,
                         DestinationOptions& options) {
    const auto value = number(seconds);
    if (!value || *value == 0 || *value > max_timeout_s)
        return usage(where, fmt::format("'{}'", seconds), fmt::format("seconds, 1 to {}", max_timeout_s));
    const auto duration = DestinationOptions::Seconds(*value);
    if (key == "start")
        options.start_timeout = duration;
    else if (key == "twin")
        options.twin_timeout = duration;
    else if (key == "peer")
        options.peer_timeout = duration;
    else if (key == "load")
        options.load_timeout = duration;
    else if (key == "permission")
        options.permission_timeout = duration;
    else
        return usage(where, fmt::format("'{}'", key), "start, twin, peer, load or permission");
    return {};
}

Result<std::pair<std::string_view, std::string_view>> split_pair(std::string_view where,
                                                                 std::string_view pair) {
    const auto equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0)
        return usage(where, fmt::format("'{}'", pair), "KEY=VALUE");
    return std::pair{pair.substr(0, equals), pair.substr(equals + 1)};
}

Result<void> fill_placeholders(std::span<std::string* const> texts, std::string_view name,
                               std::string_view uuid) {
    for (auto* text : texts)
        for (const auto& [what, by] : {std::pair{std::string_view("{name}"), name}, {"{uuid}", uuid}}) {
            if (text->find(what) == std::string::npos) continue;
            if (!is_safe(by))
                return std::unexpected(Error{ErrorKind::refused,
                                             "destination",
                                             {},
                                             {},
                                             0,
                                             fmt::format("the guest's {} cannot stand in '{}'",
                                                         what.substr(1, what.size() - 2), *text),
                                             "letters, digits and . _ + - only"});
            replace_all(*text, what, by);
        }
    return {};
}

Result<void> fill_placeholders(DestinationOptions& options, std::string_view name, std::string_view uuid) {
    std::vector<std::string*> texts{&options.qemu, &options.display, &options.qmp, &options.name,
                                    &options.template_file};
    for (auto& [vdev, disk] : options.disks) {
        texts.push_back(&disk.path);
        texts.push_back(&disk.drive_options);
    }
    for (auto& [index, nic] : options.nics) texts.push_back(&nic);
    for (auto& [key, value] : options.set) texts.push_back(&value);
    for (auto& serial : options.serial) texts.push_back(&serial);
    for (auto& word : options.extra) texts.push_back(&word);
    return fill_placeholders(texts, name, uuid);
}

}  // namespace vmferry::cli
