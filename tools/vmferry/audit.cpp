// `vmferry audit FILE`: can the guest of a recorded stream be carried? Carries it into nothing and reports.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/vmferry/command.hpp"
#include "tools/vmferry/destination_arguments.hpp"
#include "tools/vmferry/findings.hpp"
#include "tools/vmferry/recorded_qemu.hpp"
#include "tools/vmferry/recorded_stream.hpp"
#include "tools/vmferry/report.hpp"
#include "tools/vmferry/xen_destination_arguments.hpp"

namespace vmferry::cli {

namespace {

struct Options {
    std::string file;
    bool json = false;
    DestinationArguments destination;
    XenDestinationArguments xen;
};

ExitCode run(const Options& given) {
    auto report = document("audit");
    AuditReport audit;
    const auto nowhere = [](const OutputBatch&) -> Result<void> { return {}; };
    const std::string label = given.json ? "" : "audit";
    const auto result = [&]() -> Result<void> {
        if (given.xen.chosen()) {
            VMFERRY_ASSIGN(const auto settings, given.xen.settings());
            audit = AuditReport(settings.options.allow);
            VMFERRY_TRY(carry_recorded_to_xen(given.file, settings, nowhere, label, audit));
            return {};
        }
        VMFERRY_TRY(given.xen.check_absent());
        VMFERRY_ASSIGN(const auto options, given.destination.options());
        audit = AuditReport(options.allow);
        VMFERRY_TRY(carry_recorded(given.file, options, nowhere, label, audit));
        return {};
    }();
    if (given.json) {
        report["rules"] = to_json(audit);
        if (!result) set_error(report, result.error());
        print_json(report, true);
    } else {
        print_findings(audit, stdout);
        if (result) fmt::print("portable: the guest can be carried to this destination\n");
    }
    if (result) return ExitCode::done;
    // The report has just said what is refused, at length.
    if (result.error().kind == ErrorKind::refused && audit.refused() && !given.json) {
        fmt::print("not portable to this destination\n");
        return ExitCode::refused;
    }
    return fail(result.error());
}

}  // namespace

void add_audit(CLI::App& app, Invocation& invocation) {
    auto* command = app.add_subcommand("audit",
                                       "Report whether the guest of a recorded stream can be carried to a "
                                       "destination, and what would change");
    auto options = std::make_shared<Options>();
    command
        ->add_option("FILE", options->file,
                     "what `xl migrate`, `xl save` or QEMU's migrate wrote, plain or zstd")
        ->required();
    command->add_flag("--json", options->json, "print JSON");
    options->destination.add_to(*command, invocation);
    options->xen.add_to(*command, options->destination);
    command->callback([options, &invocation] { invocation.action = [options] { return run(*options); }; });
}

}  // namespace vmferry::cli
