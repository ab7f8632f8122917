// `vmferry plan FILE`: the destination's QEMU command line, derived from what stands at the stream's head.
// `vmferry plan --to xl FILE`: the Xen domain's configuration, from the head and from what the source says of
// itself.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proxy/loop.hpp"
#include "proxy/prepare.hpp"
#include "tools/vmferry/command.hpp"
#include "tools/vmferry/destination_arguments.hpp"
#include "tools/vmferry/findings.hpp"
#include "tools/vmferry/recorded_qemu.hpp"
#include "tools/vmferry/recorded_stream.hpp"
#include "tools/vmferry/report.hpp"
#include "tools/vmferry/xen_destination_arguments.hpp"
#include "translators/shell_quote.hpp"

namespace vmferry::cli {

namespace {

struct Options {
    std::string file;
    bool json = false;
    DestinationArguments destination;
    XenDestinationArguments xen;
};

ExitCode run_xen(const Options& given) {
    auto report = document("plan");
    AuditReport audit;
    const auto result = [&]() -> Result<XenPlan> {
        VMFERRY_ASSIGN(const auto settings, given.xen.settings());
        audit = AuditReport(settings.options.allow);
        return plan_recorded_to_xen(given.file, settings, audit);
    }();
    if (given.json) {
        report["rules"] = to_json(audit);
        if (result) {
            report["name"] = result->name;
            report["uuid"] = result->uuid;
            report["xen"] = fmt::format("{}.{}", result->xen_major, result->xen_minor);
            report["vcpus"] = result->vcpus;
            report["ram_bytes"] = result->ram_bytes;
            report["tsc_khz"] = result->tsc_khz;
            report["domain_config"] = nlohmann::ordered_json::parse(result->config);
        } else {
            set_error(report, result.error());
        }
        print_json(report, true);
    } else if (result) {
        fmt::print("{}\n", result->config);
        print_notable(audit, stderr);
    }
    return result ? ExitCode::done : fail(result.error());
}

ExitCode run(const Options& given) {
    auto report = document("plan");
    AuditReport audit;
    const auto result = [&]() -> Result<Plan> {
        VMFERRY_TRY(given.xen.check_absent());
        VMFERRY_ASSIGN(const auto options, given.destination.options());
        audit = AuditReport(options.allow);
        Plan plan;
        VMFERRY_TRY(with_head(given.file, [&](const XenSource& source) -> Result<void> {
            Loop loop;
            VMFERRY_ASSIGN(plan, prepare_plan(loop, source, options, audit));
            return {};
        }));
        return plan;
    }();
    std::vector<std::string> words;
    if (result) {
        words = result->arguments;
        words.insert(words.begin(), result->qemu);
        words.insert(words.end(), {"-S", "-incoming", "defer"});
    }
    if (given.json) {
        report["rules"] = to_json(audit);
        if (result) {
            report["machine"] = result->machine;
            report["command_line"] = words;
        } else {
            set_error(report, result.error());
        }
        print_json(report, true);
    } else if (result) {
        fmt::print("{}\n", shell_quote(words));
        print_notable(audit, stderr);
    }
    return result ? ExitCode::done : fail(result.error());
}

}  // namespace

void add_plan(CLI::App& app, Invocation& invocation) {
    auto* command =
        app.add_subcommand("plan",
                           "Print the QEMU command line that can take the guest of a Xen stream, or the "
                           "Xen domain's configuration for the guest of a QEMU stream");
    auto options = std::make_shared<Options>();
    command
        ->add_option("FILE", options->file,
                     "what `xl migrate`, `xl save` or QEMU's migrate wrote, plain or zstd")
        ->required();
    command->add_flag("--json", options->json, "print JSON");
    options->destination.add_to(*command, invocation);
    options->xen.add_to(*command, options->destination);
    command->callback([options, &invocation] {
        invocation.action = [options] { return options->xen.chosen() ? run_xen(*options) : run(*options); };
    });
}

}  // namespace vmferry::cli
