#include "tools/vmferry/receive.hpp"

#include <cstdlib>
#include <memory>
#include <vector>

#include <CLI/CLI.hpp>

#include "proxy/receive.hpp"
#include "proxy/stop_signals.hpp"
#include "proxy/template_cache.hpp"
#include "tools/vmferry/command.hpp"
#include "tools/vmferry/printable.hpp"
#include "tools/vmferry/report.hpp"
#include "tools/vmferry/session_output.hpp"

namespace vmferry::cli {

ExitCode receive(const DestinationArguments& destination, const ReceiveOptions& options, bool dry_run) {
    // Before the banner: a mistake that is found now costs the source nothing.
    if (const auto checked = destination.check_configuration(); !checked) return fail(checked.error());
    Loop loop;
    const StopSignals signals(loop);
    SessionOptions session;
    session.choose = [&](const DomainConfig& config) {
        return destination.options_for(config.name, config.uuid);
    };
    session.state_directory = destination.state_directory();
    session.cache_directory = default_cache_directory();
    session.dry_run = dry_run;
    session.leave_paused = options.paused;
    if (options.print_config)
        session.choose = [choose = session.choose](const DomainConfig& config) {
            fmt::print(stderr, "vmferry: guest {}, uuid {}, {} vCPUs, {} KiB of memory\n",
                       printable(config.name), printable(config.uuid), config.max_vcpus, config.max_memkb);
            return choose(config);
        };
    const auto report = migrate_receive(loop, std::move(session));
    if (!report) return fail(report.error());
    print_session(*report, stderr);
    return report->error ? fail(*report->error) : ExitCode::done;
}

ExitCode run_as_xl(std::span<const std::string> arguments) {
    const auto options = read_xl_arguments(arguments);
    if (!options) return fail(options.error());
    DestinationArguments destination;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): read before any thread is started
    if (const char* config = std::getenv("VMFERRY_CONFIG"); config != nullptr) destination.set_config(config);
    return receive(destination, *options, false);
}

void add_migrate_receive(CLI::App& app, Invocation& invocation) {
    struct Options {
        bool no_monitor = false, print_config = false, paused = false, remus = false, foreground = false,
             colo = false, dry_run = false;
        DestinationArguments destination;
    };
    auto* command = app.add_subcommand(
        "migrate-receive",
        "Take one guest on standard input and output, as xl migrate-receive would (see also: the name xl)");
    auto options = std::make_shared<Options>();
    command->add_flag("-e", options->no_monitor,
                      "no process stays behind to watch the guest (there is never one)");
    command->add_flag("-d", options->print_config, "print what guest arrives on standard error");
    command->add_flag("-p", options->paused, "leave the guest paused");
    command->add_flag("-r", options->remus, "refused: Remus");
    command->add_flag("-F", options->foreground, "refused: a receiver in the foreground");
    command->add_flag("--colo", options->colo, "refused: COLO")->group("");
    command->add_flag("--dry-run", options->dry_run,
                      "carry and load the guest, then give it back: the source goes on");
    options->destination.add_to(*command, invocation);
    command->callback([options, &invocation] {
        std::vector<std::string> refused;
        if (options->remus) refused.emplace_back("-r");
        if (options->foreground) refused.emplace_back("-F");
        if (options->colo) refused.emplace_back("--colo");
        invocation.action = [options, refused] {
            if (const auto checked = read_receive_options(refused); !checked) return fail(checked.error());
            return receive(options->destination,
                           {options->no_monitor, options->print_config, options->paused}, options->dry_run);
        };
    });
}

}  // namespace vmferry::cli
