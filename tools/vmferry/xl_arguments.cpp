#include "tools/vmferry/xl_arguments.hpp"

#include <string_view>

#include <fmt/format.h>

namespace vmferry::cli {

namespace {

std::unexpected<Error> usage(std::string found, std::string expected) {
    return std::unexpected(Error{ErrorKind::usage, "xl", {}, {}, 0, std::move(found), std::move(expected)});
}

std::unexpected<Error> refused(std::string_view option, std::string why) {
    return std::unexpected(
        Error{ErrorKind::refused, "xl migrate-receive", std::string(option), {}, 0, std::move(why), {}});
}

constexpr std::string_view no_checkpoints =
    "checkpointed streams (Remus, COLO) never end: they cannot be carried";

}  // namespace

Result<ReceiveOptions> read_receive_options(std::span<const std::string> arguments) {
    ReceiveOptions options;
    for (const std::string_view argument : arguments) {
        if (argument.starts_with("--colo") || argument == "--userspace-colo-proxy")
            return refused(argument, std::string(no_checkpoints));
        if (argument.size() < 2 || argument[0] != '-' || argument[1] == '-')
            return usage(fmt::format("'{}' after migrate-receive", argument), "-e, -d or -p");
        for (const char letter : argument.substr(1)) {  // getopt's clusters: -ed
            switch (letter) {
                case 'e':
                    options.no_monitor = true;
                    break;
                case 'd':
                    options.print_config = true;
                    break;
                case 'p':
                    options.paused = true;
                    break;
                case 'r':
                    return refused("-r", std::string(no_checkpoints));
                case 'F':
                    return refused(
                        "-F", "a receiver in the foreground never reports \"ready\": the sender would hang");
                default:
                    return usage(fmt::format("option -{} after migrate-receive", letter), "-e, -d or -p");
            }
        }
    }
    return options;
}

Result<ReceiveOptions> read_xl_arguments(std::span<const std::string> arguments) {
    std::size_t at = 0;
    for (; at < arguments.size() && arguments[at].size() > 1 && arguments[at][0] == '-'; ++at) {
        const auto letters = std::string_view(arguments[at]).substr(1);
        if (const auto unknown = letters.find_first_not_of("vftT"); unknown != std::string_view::npos)
            return usage(fmt::format("option -{}", letters.substr(unknown, 1)), "xl's -v, -t, -T or -f");
        // These only change how xl talks, or (-f) whether it shares the host with another toolstack.
    }
    if (at == arguments.size()) return usage("no subcommand", "migrate-receive");
    if (arguments[at] != "migrate-receive")
        return usage(fmt::format("subcommand '{}'", arguments[at]),
                     "migrate-receive, the only one that vmferry answers under the name xl");
    return read_receive_options(arguments.subspan(at + 1));
}

}  // namespace vmferry::cli
