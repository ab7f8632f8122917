#include "tools/vmferry/twin_words.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "proxy/qemu_facts.hpp"
#include "tools/vmferry/report.hpp"

namespace vmferry::cli {

namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// A comma list of QEMU's options; ",," stands for a comma. `implied`: the key of a first word without '='.
Pairs split(std::string_view list, std::string_view implied) {
    Pairs pairs;
    while (!list.empty()) {
        std::string word;
        while (!list.empty()) {
            const char c = list.front();
            list.remove_prefix(1);
            if (c == ',') {
                if (!list.starts_with(',')) break;
                list.remove_prefix(1);
            }
            word += c;
        }
        const auto equals = word.find('=');
        if (equals == std::string::npos)
            pairs.emplace_back(pairs.empty() ? std::string(implied) : word, pairs.empty() ? word : "on");
        else
            pairs.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    }
    return pairs;
}

std::string escaped(std::string_view value) {
    std::string out;
    for (const char c : value) out.append(c == ',' ? 2 : 1, c);
    return out;
}

std::string value_of(const Pairs& pairs, std::string_view key) {
    const auto found = std::ranges::find(pairs, key, &Pairs::value_type::first);
    return found == pairs.end() ? std::string() : found->second;
}

/// What the guest sees of a drive is kept; what names the image or how it is accessed is not.
std::string null_drive(const Pairs& drive, std::uint64_t bytes) {
    constexpr std::array<std::string_view, 8> seen{"if",   "id",    "index",    "bus",
                                                   "unit", "media", "readonly", "werror"};
    auto text = fmt::format("driver=null-co,size={},read-zeroes=on", bytes);
    for (const auto& [key, value] : drive)
        if (std::ranges::find(seen, key) != seen.end()) text += fmt::format(",{}={}", key, escaped(value));
    return text;
}

constexpr std::array<std::string_view, 4> dropped_flags{"-S", "-daemonize", "-s", "-nographic"};
constexpr std::array<std::string_view, 11> dropped_options{"-incoming", "-qmp",     "-qmp-pretty", "-monitor",
                                                           "-mon",      "-pidfile", "-gdb",        "-D",
                                                           "-spice",    "-display", "-vnc"};
constexpr std::array<std::string_view, 12> images{"-hda",   "-hdb",    "-hdc",      "-hdd",
                                                  "-cdrom", "-fda",    "-fdb",      "-mtdblock",
                                                  "-sd",    "-pflash", "-blockdev", "-nic"};

bool is_one_of(std::string_view word, std::span<const std::string_view> words) {
    return std::ranges::find(words, word) != words.end();
}

}  // namespace

Result<std::vector<std::string>> twin_words(Loop& loop, const std::vector<std::string>& words) {
    std::vector<std::string> out;
    std::map<std::size_t, Pairs> drives;  // by position of their value in `out`
    DestinationOptions asked;
    asked.qemu = words.front();
    unsigned hubs = 0;
    for (std::size_t at = 1; at < words.size(); ++at) {
        auto option = words[at];
        if (option.starts_with("--")) option.erase(0, 1);  // QEMU takes both
        if (is_one_of(option, dropped_flags)) continue;
        if (is_one_of(option, images))
            return std::unexpected(usage_error("template", option,
                                               "-drive and -netdev with -device: what they "
                                               "lead to can be replaced for the twin"));
        const bool has_value = at + 1 < words.size();
        if (is_one_of(option, dropped_options)) {
            ++at;
        } else if (option == "-drive" && has_value) {
            auto drive = split(words[++at], "file");
            if (const auto file = value_of(drive, "file"); !file.empty()) {
                const auto format = value_of(drive, "format");
                asked.disks[std::to_string(out.size() + 1)] = {file, format.empty() ? "raw" : format, {}};
            }
            out.emplace_back("-drive");
            drives.emplace(out.size(), std::move(drive));
            out.emplace_back();
        } else if (option == "-netdev" && has_value) {
            const auto id = value_of(split(words[++at], "type"), "id");
            out.insert(out.end(), {"-netdev", fmt::format("hubport,hubid={},id={}", hubs++, escaped(id))});
        } else if (option == "-chardev" && has_value) {
            const auto id = value_of(split(words[++at], "backend"), "id");
            out.insert(out.end(), {"-chardev", "null,id=" + escaped(id)});
        } else if ((option == "-serial" || option == "-parallel") && has_value) {
            // "none" means that there is no port, which the guest sees; "chardev:" leads to a replaced one.
            const auto& value = words[++at];
            out.insert(out.end(),
                       {option, value == "none" || value.starts_with("chardev:") ? value : "null"});
        } else {
            out.push_back(words[at]);
        }
    }
    if (!asked.disks.empty()) {
        VMFERRY_ASSIGN(const auto facts, probe_destination(loop, asked, {}));
        for (const auto& [name, bytes] : facts.image_bytes) {
            const auto at = std::stoul(name);
            out.at(at) = null_drive(drives.at(at), bytes);
        }
    }
    for (const auto& [at, drive] : drives)
        if (out.at(at).empty()) out.at(at) = null_drive(drive, 0);
    out.insert(out.end(), {"-display", "none"});
    return out;
}

}  // namespace vmferry::cli
