#include "tools/vmferry/destination_file.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <system_error>
#include <vector>

#include <toml++/toml.h>

#include "tools/vmferry/destination_keys.hpp"

namespace vmferry::cli {

namespace fs = std::filesystem;

namespace {

std::unexpected<Error> usage(const std::string& where, std::string found, std::string expected) {
    return std::unexpected(Error{ErrorKind::usage, where, {}, {}, 0, std::move(found), std::move(expected)});
}

/// One TOML file on its way into the options; remembers the path for error messages.
class FileReader {
  public:
    FileReader(const std::string& path, DestinationOptions& options) : path_(path), options_(options) {}

    Result<void> read(const toml::table& root) {
        const std::map<std::string_view, std::function<Result<void>(const toml::node&, std::string_view)>>
            keys{
                {"qemu", text_into(options_.qemu)},
                {"display", text_into(options_.display)},
                {"qmp", text_into(options_.qmp)},
                {"name", text_into(options_.name)},
                {"template", text_into(options_.template_file)},
                {"state_directory", text_into(options_.state_directory)},
                {"spill_directory", text_into(options_.spill_directory)},
                {"spill_bytes", [this](const auto& node, auto key) { return spill_bytes(node, key); }},
                {"accel", [this](const auto& node, auto key) { return accel(node, key); }},
                {"serial", [this](const auto& node, auto key) { return words(node, key, options_.serial); }},
                {"extra", [this](const auto& node, auto key) { return words(node, key, options_.extra); }},
                {"allow", [this](const auto& node, auto key) { return allow(node, key); }},
                {"disk", [this](const auto& node, auto key) { return pairs(node, key, set_disk); }},
                {"nic", [this](const auto& node, auto key) { return pairs(node, key, set_nic); }},
                {"set", [this](const auto& node, auto key) { return pairs(node, key, set_setting); }},
                {"timeout", [this](const auto& node, auto key) { return pairs(node, key, set_timeout); }},
            };
        for (const auto& [key, node] : root) {
            const auto known = keys.find(key.str());
            if (known == keys.end()) {
                std::string all;
                for (const auto& [name, unused] : keys) all += (all.empty() ? "" : ", ") + std::string(name);
                return usage(where(node, {}), fmt::format("unknown key '{}'", key.str()), "one of: " + all);
            }
            VMFERRY_TRY(known->second(node, key.str()));
        }
        return {};
    }

  private:
    [[nodiscard]] std::string where(const toml::node& node, std::string_view key) const {
        return fmt::format("{}:{}{}{}", path_, node.source().begin.line, key.empty() ? "" : ": ", key);
    }

    /// A string, or a number where a number stands for itself ([timeout], [set]).
    Result<std::string> text(const toml::node& node, std::string_view key) const {
        if (const auto* string = node.as_string()) return string->get();
        if (const auto* integer = node.as_integer()) return std::to_string(integer->get());
        return usage(where(node, key), "a value of another type", "a string");
    }

    std::function<Result<void>(const toml::node&, std::string_view)> text_into(std::string& target) {
        return [this, &target](const toml::node& node, std::string_view key) -> Result<void> {
            VMFERRY_ASSIGN(target, text(node, key));
            return {};
        };
    }

    Result<void> accel(const toml::node& node, std::string_view key) {
        VMFERRY_ASSIGN(const auto value, text(node, key));
        return set_accel(where(node, key), value, options_);
    }

    Result<void> spill_bytes(const toml::node& node, std::string_view key) {
        const auto* integer = node.as_integer();
        if (integer == nullptr || integer->get() < 0)
            return usage(where(node, key), "another type", "a number of bytes");
        options_.spill_bytes = static_cast<std::uint64_t>(integer->get());
        return {};
    }

    /// A string or an array of strings.
    Result<void> words(const toml::node& node, std::string_view key, std::vector<std::string>& target) {
        std::vector<std::string> read;
        if (const auto* array = node.as_array()) {
            for (const auto& element : *array) {
                VMFERRY_ASSIGN(read.emplace_back(), text(element, key));
            }
        } else {
            VMFERRY_ASSIGN(read.emplace_back(), text(node, key));
        }
        target = std::move(read);
        return {};
    }

    Result<void> allow(const toml::node& node, std::string_view key) {
        std::vector<std::string> rules;
        VMFERRY_TRY(words(node, key, rules));
        for (const auto& rule : rules) VMFERRY_TRY(allow_rule(where(node, key), rule, options_));
        return {};
    }

    using Setter = Result<void> (*)(std::string_view, std::string_view, std::string_view,
                                    DestinationOptions&);
    Result<void> pairs(const toml::node& node, std::string_view key, Setter set) {
        const auto* table = node.as_table();
        if (table == nullptr)
            return usage(where(node, key), "a single value", fmt::format("a table [{}]", key));
        for (const auto& [name, value] : *table) {
            const auto place = fmt::format("{}.{}", key, name.str());
            VMFERRY_ASSIGN(const auto written, text(value, place));
            VMFERRY_TRY(set(where(value, place), name.str(), written, options_));
        }
        return {};
    }

    const std::string& path_;
    DestinationOptions& options_;
};

/// As part of a path: one component, not hidden, not an option.
bool is_file_name(std::string_view name) {
    return !name.empty() && name.size() <= 128 && name[0] != '.' && name[0] != '-' &&
           name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

}  // namespace

Result<void> read_destination_file(const std::string& path, DestinationOptions& options) {
    toml::table root;
    try {
        root = toml::parse_file(path);
    } catch (const toml::parse_error& error) {
        const auto line = error.source().begin.line;
        return usage(line > 0 ? fmt::format("{}:{}", path, line) : path, std::string(error.description()),
                     {});
    }
    return FileReader(path, options).read(root);
}

Result<void> read_common_settings(const std::string& directory, DestinationOptions& options) {
    std::error_code unused;
    const auto common = fs::path(directory) / "destination.toml";
    return fs::exists(common, unused) ? read_destination_file(common.string(), options) : Result<void>{};
}

Result<DestinationOptions> read_configuration_directory(const std::string& directory,
                                                        const std::string& name) {
    DestinationOptions options;
    VMFERRY_TRY(read_common_settings(directory, options));
    if (!is_file_name(name))
        return std::unexpected(Error{ErrorKind::refused,
                                     "destination",
                                     {},
                                     {},
                                     0,
                                     "the guest's name cannot be a file's name",
                                     "a name without '/'"});
    const auto own = fs::path(directory) / "guests" / (name + ".toml");
    std::error_code unused;
    if (!fs::exists(own, unused))
        return std::unexpected(Error{ErrorKind::refused,
                                     "destination",
                                     {},
                                     {},
                                     0,
                                     fmt::format("no guest of the name '{}' is expected here", name),
                                     own.string(),
                                     "make this file, it may be empty"});
    VMFERRY_TRY(read_destination_file(own.string(), options));
    return options;
}

Result<void> check_configuration_directory(const std::string& directory) {
    DestinationOptions common;
    VMFERRY_TRY(read_common_settings(directory, common));
    std::error_code error;
    fs::directory_iterator files(fs::path(directory) / "guests", error);
    for (; !error && files != fs::directory_iterator(); files.increment(error)) {
        if (files->path().extension() != ".toml") continue;
        auto options = common;
        VMFERRY_TRY(read_destination_file(files->path().string(), options));
    }
    if (error)
        return std::unexpected(Error{ErrorKind::usage,
                                     directory + "/guests",
                                     {},
                                     {},
                                     0,
                                     error.message(),
                                     "a directory with a file NAME.toml for each guest that may arrive"});
    return {};
}

}  // namespace vmferry::cli
