// `vmferry template -o OUT -- QEMU ARGS…`: the migration stream of a QEMU that has never run, for --template.
// `vmferry template --xen FILE -o OUT`: a recorded Xen stream without its pages, for --xen-template.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "parsers/qemu/snapshot.hpp"
#include "proxy/loop.hpp"
#include "proxy/twin.hpp"
#include "proxy/xen_template.hpp"
#include "tools/vmferry/command.hpp"
#include "tools/vmferry/progress.hpp"
#include "tools/vmferry/report.hpp"
#include "tools/vmferry/twin_words.hpp"

namespace vmferry::cli {

namespace {

struct Options {
    std::string out;
    std::string xen;  ///< recorded Xen stream; empty: a QEMU is run
    bool json = false;
};

struct Written {
    qemu::Snapshot snapshot;
    std::size_t bytes = 0;
};

Result<Written> write_template(const std::string& out, const std::vector<std::string>& words) {
    if (words.empty())
        return std::unexpected(
            usage_error("template", "no command line", "-- QEMU ARGUMENTS… of the destination"));
    Loop loop;
    VMFERRY_ASSIGN(auto arguments, twin_words(loop, words));
    VMFERRY_ASSIGN(const auto twin, capture_twin(loop, {words.front(), std::move(arguments)}, {}));
    Written written;
    written.bytes = twin.stream.size();
    VMFERRY_ASSIGN(written.snapshot, qemu::read_snapshot(twin.stream));  // what cannot be read is no template

    VMFERRY_TRY(write_stream_file(out, twin.stream));
    return written;
}

ExitCode run_xen(const Options& given) {
    auto report = document("template");
    const auto result = [&]() -> Result<StrippedStream> {
        VMFERRY_ASSIGN(auto stripped, strip_pages(given.xen));
        VMFERRY_TRY(write_stream_file(given.out, stripped.bytes));
        return stripped;
    }();
    if (given.json) {
        if (result) {
            report["xen"] = fmt::format("{}.{}", result->contents.xen_major, result->contents.xen_minor);
            report["sections"] = result->contents.device_model.sections.size();
            report["bytes"] = result->bytes.size();
        } else {
            set_error(report, result.error());
        }
        print_json(report, true);
    } else if (result) {
        fmt::print("{}: Xen {}.{}, {} CPUID leaves, {} sections of its device model, {}\n", given.out,
                   result->contents.xen_major, result->contents.xen_minor, result->contents.cpuid.size(),
                   result->contents.device_model.sections.size(), size_text(result->bytes.size()));
    }
    return result ? ExitCode::done : fail(result.error());
}

ExitCode run(const Options& given, const std::vector<std::string>& words) {
    if (!given.xen.empty()) {
        if (words.empty()) return run_xen(given);
        return fail(usage_error("template", "--xen and a QEMU", "one of them"));
    }
    auto report = document("template");
    const auto result = write_template(given.out, words);
    if (given.json) {
        if (result) {
            report["machine"] = result->snapshot.machine;
            report["sections"] = result->snapshot.tree.sections.size();
            report["bytes"] = result->bytes;
        } else {
            set_error(report, result.error());
        }
        print_json(report, true);
    } else if (result) {
        fmt::print("{}: {}, {} sections, {} RAM blocks, {}\n", given.out, result->snapshot.machine,
                   result->snapshot.tree.sections.size(), result->snapshot.blocks.size(),
                   size_text(result->bytes));
    }
    return result ? ExitCode::done : fail(result.error());
}

}  // namespace

void add_template(CLI::App& app, Invocation& invocation) {
    auto* command = app.add_subcommand("template",
                                       "Write the template of a destination: the stream of a QEMU twin that "
                                       "has never run, for --template, or what "
                                       "a Xen host saved, for --xen-template");
    auto options = std::make_shared<Options>();
    command->add_option("-o,--output", options->out, "file to write")->required();
    command
        ->add_option(
            "--xen", options->xen,
            "what `xl save` wrote on the destination for a paused domain with the wanted configuration; "
            "its pages are left out")
        ->type_name("FILE");
    command->add_flag("--json", options->json, "print JSON");
    command->footer(
        "Behind \"--\" stand the QEMU binary and its arguments. The twin gets the same machine; its disks "
        "are empty "
        "ones of the same size, its networks, serial ports and monitors lead nowhere.");
    command->callback([options, &invocation] {
        invocation.action = [options, &invocation] { return run(*options, invocation.after_dashes); };
    });
}

}  // namespace vmferry::cli
