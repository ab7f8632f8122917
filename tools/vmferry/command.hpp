// The frame of the command line: each subcommand adds itself to the parser and leaves an action behind.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/vmferry/exit_code.hpp"

namespace CLI {
class App;
}

namespace vmferry::cli {

/// One run of the command.
struct Invocation {
    std::vector<std::string> after_dashes;  ///< the arguments behind the first "--", unread
    bool has_dashes = false;
    std::function<ExitCode()> action;  ///< set by the subcommand that was chosen
};

void add_inspect(CLI::App& app, Invocation& invocation);
void add_audit(CLI::App& app, Invocation& invocation);
void add_plan(CLI::App& app, Invocation& invocation);
void add_template(CLI::App& app, Invocation& invocation);
void add_convert(CLI::App& app, Invocation& invocation);
void add_replay(CLI::App& app, Invocation& invocation);
void add_serve(CLI::App& app, Invocation& invocation);
void add_migrate_receive(CLI::App& app, Invocation& invocation);
void add_table(CLI::App& app, Invocation& invocation);
void add_sessions(CLI::App& app, Invocation& invocation);
void add_resolve(CLI::App& app, Invocation& invocation);
void add_rules(CLI::App& app, Invocation& invocation);

}  // namespace vmferry::cli
