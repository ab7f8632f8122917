// vmferry: carries a running virtual machine between Xen and QEMU. Subcommands: one file each in this folder.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "tools/vmferry/command.hpp"
#include "tools/vmferry/receive.hpp"
#include "tools/vmferry/report.hpp"

namespace vmferry::cli {
namespace {

/// CLI11 would spread what follows "--" over positional arguments that are still free; here it belongs to
/// QEMU, untouched.
std::vector<std::string> split_at_dashes(std::span<const std::string> arguments, Invocation& invocation) {
    std::vector<std::string> own;
    for (const auto& argument : arguments) {
        if (invocation.has_dashes)
            invocation.after_dashes.push_back(argument);
        else if (argument == "--")
            invocation.has_dashes = true;
        else
            own.push_back(argument);
    }
    return own;
}

int run(std::span<const std::string> arguments) {
    Invocation invocation;
    auto own = split_at_dashes(arguments, invocation);

    CLI::App app("vmferry carries a running virtual machine between Xen and QEMU, both unmodified.",
                 "vmferry");
    app.require_subcommand(1);
    app.set_version_flag("--version", VMFERRY_VERSION);
    app.footer(
        "Exit codes: 0 done, 1 refused, 2 usage, 3 bad stream, 4 environment, 5 in doubt.\n"
        "Each subcommand has its own --help.");
    add_inspect(app, invocation);
    add_audit(app, invocation);
    add_plan(app, invocation);
    add_template(app, invocation);
    add_convert(app, invocation);
    add_replay(app, invocation);
    add_serve(app, invocation);
    add_migrate_receive(app, invocation);
    add_table(app, invocation);
    add_sessions(app, invocation);
    add_resolve(app, invocation);
    add_rules(app, invocation);

    try {
        app.parse(
            std::vector<std::string>(own.rbegin(), own.rend()));  // CLI11 takes its vector from the back
    } catch (const CLI::Success& request) {                       // --help, --version
        return app.exit(request);
    } catch (const CLI::ParseError& error) {
        fmt::print(stderr, "vmferry: {} (vmferry --help, or the subcommand's --help)\n", error.what());
        return static_cast<int>(ExitCode::usage);
    }
    const auto code = invocation.action();
    if (std::fflush(stdout) != 0 && code == ExitCode::done) {
        return static_cast<int>(
            fail({ErrorKind::environment, "standard output", "writing", {}, 0, "write error", {}}));
    }
    return static_cast<int>(code);
}

}  // namespace
}  // namespace vmferry::cli

int main(int argc, char** argv) {
    using namespace vmferry::cli;
    try {
        const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
        if (argc > 0 && std::filesystem::path(argv[0]).filename() == "xl")
            return static_cast<int>(run_as_xl(words));
        return run(words);
    } catch (
        const std::exception& error) {  // out of memory and the like: nothing in vmferry throws for input
        fmt::print(stderr, "vmferry: {}\n", error.what());
        return static_cast<int>(ExitCode::environment);
    }
}
