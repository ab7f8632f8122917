// `vmferry replay FILE`: plays a recording to a destination as xl would, hands over, stays until QEMU ends.
// `vmferry replay FILE --to xl --xl-command …`: plays one to a Xen host as QEMU would, and hands over.
#include "proxy/replay.hpp"

#include <chrono>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proxy/stop_signals.hpp"
#include "proxy/template_cache.hpp"
#include "tools/vmferry/command.hpp"
#include "tools/vmferry/destination_arguments.hpp"
#include "tools/vmferry/destination_keys.hpp"
#include "tools/vmferry/progress.hpp"
#include "tools/vmferry/recorded_format.hpp"
#include "tools/vmferry/report.hpp"
#include "tools/vmferry/session_output.hpp"
#include "tools/vmferry/xen_destination_arguments.hpp"
#include "tools/vmferry/xen_host.hpp"

namespace vmferry::cli {

namespace {

struct Options {
    std::string file;
    bool json = false, detach = false, dry_run = false;
    double run_for = 0;
    std::size_t read_size = SessionOptions{}.read_size;
    DestinationArguments destination;
    XenDestinationArguments xen;
};

ReplayProgress shown_by(Progress& progress) {
    return [&progress](const SessionProgress& now, std::uint64_t position, std::uint64_t size) {
        progress.update({now.counters.bytes_in, size, position, now.counters.passes});
    };
}

void print(const SessionReport& report) {
    print_session(report, stdout);
    std::fflush(stdout);
}

Result<ReplayReport> to_qemu(const Options& given, Progress& progress) {
    VMFERRY_TRY(given.xen.check_absent());
    VMFERRY_ASSIGN(auto destination, given.destination.options());
    VMFERRY_ASSIGN(auto file, InputFile::open(given.file));
    VMFERRY_TRY(check_xen_stream(file, given.file));
    Loop loop;
    const StopSignals signals(loop);
    ReplayOptions options;
    options.detach = given.detach;
    if (given.run_for > 0)
        options.run_for = std::chrono::duration_cast<std::chrono::milliseconds>(
            std::chrono::duration<double>(given.run_for));
    options.session.state_directory = given.destination.state_directory();
    options.session.cache_directory = default_cache_directory();
    options.session.read_size = given.read_size;
    options.session.dry_run = given.dry_run;
    options.session.choose = [&](const DomainConfig& config) -> Result<DestinationOptions> {
        VMFERRY_TRY(fill_placeholders(destination, config.name, config.uuid));
        return destination;
    };
    options.progress = shown_by(progress);
    options.handed_over = [&](const SessionReport& report) {
        progress.finish();
        if (!given.json) print(report);
    };
    return replay(loop, std::move(file), std::move(options));
}

Result<ReplayReport> to_xl(const Options& given, Progress& progress) {
    for (const auto& [name, present] : {std::pair{"--for", given.run_for > 0}, {"--detach", given.detach}})
        if (present)
            return std::unexpected(usage_error(name, "a destination that is a Xen host",
                                               "a QEMU, which would run as vmferry's child"));
    VMFERRY_ASSIGN(const auto settings, given.xen.settings());
    ReplayToXenOptions options;
    VMFERRY_ASSIGN(options.session.choose, choose_xen_host(settings));
    VMFERRY_ASSIGN(auto file, InputFile::open(given.file));
    VMFERRY_TRY(check_qemu_stream(file, given.file));
    options.session.source_qmp = settings.source_qmp;
    options.session.state_directory = settings.state_directory;
    options.session.read_size = given.read_size;
    options.session.dry_run = given.dry_run;
    options.progress = shown_by(progress);
    Loop loop;
    const StopSignals signals(loop);
    auto report = replay_to_xen(loop, std::move(file), std::move(options));
    progress.finish();
    if (report && !given.json) print(report->session);
    return report;
}

ExitCode run(const Options& given) {
    Progress progress("replay", !given.json);
    const auto result = (given.xen.chosen() ? to_xl : to_qemu)(given, progress);
    progress.finish();
    if (!result) {
        if (given.json) {
            auto all = document("replay");
            set_error(all, result.error());
            print_json(all, true);
        }
        return fail(result.error());
    }
    if (given.json) {
        auto all = session_document("replay", result->session);
        all["source"] = replay_outcome_name(result->source);
        if (!given.xen.chosen()) all["qemu_ended"] = result->qemu_ended;
        print_json(all, true);
    }
    return result->session.error ? fail(*result->session.error) : ExitCode::done;
}

}  // namespace

void add_replay(CLI::App& app, Invocation& invocation) {
    auto* command = app.add_subcommand(
        "replay",
        "Play a recorded Xen stream to a destination QEMU as xl would, and let the guest go on there; or a "
        "recorded QEMU stream to a Xen host as QEMU would (--to xl)");
    auto options = std::make_shared<Options>();
    command
        ->add_option("FILE", options->file,
                     "what `xl migrate`, `xl save` or QEMU's migrate wrote, plain or zstd")
        ->required();
    auto* run_for =
        command->add_option("--for", options->run_for, "let the guest run that long, then end QEMU")
            ->type_name("SECONDS")
            ->check(CLI::PositiveNumber);
    command->add_flag("--detach", options->detach, "return after the handover; QEMU stays")
        ->excludes(run_for);
    command->add_flag("--dry-run", options->dry_run, "carry and load everything, then end the destination");
    command->add_option("--read-size", options->read_size, "most bytes read from the source at once")
        ->type_name("BYTES")
        ->check(CLI::Range(std::size_t{1}, std::size_t{64} << 20));
    command->add_flag("--json", options->json, "print JSON when all is over");
    options->destination.add_to(*command, invocation);
    options->xen.add_either_to(*command, options->destination);
    command->callback([options, &invocation] { invocation.action = [options] { return run(*options); }; });
}

}  // namespace vmferry::cli
