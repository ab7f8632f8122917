#include "tools/vmferry/destination_file.hpp"

#include <filesystem>
#include <system_error>

#include "tools/vmferry/destination_keys.hpp"
#include "tools/vmferry/toml_reader.hpp"

namespace vmferry::cli {

namespace fs = std::filesystem;

namespace {

/// As part of a path: one component, not hidden, not an option.
bool is_file_name(std::string_view name) {
    return !name.empty() && name.size() <= 128 && name[0] != '.' && name[0] != '-' &&
           name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

}  // namespace

Result<void> read_destination_file(const std::string& path, DestinationOptions& options) {
    const TomlReader reader(path);
    const auto into = [&options](auto set) {
        return [set, &options](std::string_view where, auto... values) {
            return set(where, values..., options);
        };
    };
    return reader.read({
        {"qemu", reader.text_into(options.qemu)},
        {"display", reader.text_into(options.display)},
        {"qmp", reader.text_into(options.qmp)},
        {"name", reader.text_into(options.name)},
        {"template", reader.text_into(options.template_file)},
        {"state_directory", reader.text_into(options.state_directory)},
        {"spill_directory", reader.text_into(options.spill_directory)},
        {"spill_bytes", reader.bytes_into(options.spill_bytes)},
        {"accel", reader.text(into(set_accel))},
        {"serial", reader.words_into(options.serial)},
        {"extra", reader.words_into(options.extra)},
        {"allow", reader.words([&options](std::string_view where, std::string_view rule) {
             return allow_rule(where, rule, options.allow);
         })},
        {"disk", reader.pairs(into(set_disk))},
        {"nic", reader.pairs(into(set_nic))},
        {"set", reader.pairs(into(set_setting))},
        {"timeout", reader.pairs(into(set_timeout))},
    });
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
