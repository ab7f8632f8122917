// The command line of `xl` as far as a migration's sending side uses it:
//
//     xl [-t] [-T] [-v]… [-f] migrate-receive [-e] [-d] [-p]
//
// `xl migrate DOM HOST` runs this on HOST through ssh (xl(1), tools/xl/xl_migrate.c: "exec ssh HOST xl …").
#pragma once

#include <span>
#include <string>

#include "parsers/wire/error.hpp"

namespace vmferry::cli {

struct ReceiveOptions {
    bool no_monitor = false;  ///< -e: no process stays behind to watch the domain (vmferry never leaves one)
    bool print_config = false;  ///< -d: print the received configuration on stderr
    bool paused = false;        ///< -p: leave the guest paused after the migration
};

/// `arguments` without argv[0]. Errors: refused for what changes the protocol or blocks it (-r, --colo and
/// its companions, -F), usage for another subcommand or an unknown option.
[[nodiscard]] Result<ReceiveOptions> read_xl_arguments(std::span<const std::string> arguments);
/// The part behind the word "migrate-receive".
[[nodiscard]] Result<ReceiveOptions> read_receive_options(std::span<const std::string> arguments);

}  // namespace vmferry::cli
