// `vmferry template -o OUT -- QEMU ARGS…`: the migration stream of a QEMU that has never run, for --template.
#include <cerrno>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "parsers/qemu/snapshot.hpp"
#include "proxy/loop.hpp"
#include "proxy/twin.hpp"
#include "tools/vmferry/command.hpp"
#include "tools/vmferry/progress.hpp"
#include "tools/vmferry/report.hpp"
#include "tools/vmferry/twin_words.hpp"

namespace vmferry::cli {

namespace {

struct Options {
    std::string out;
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

    std::ofstream file(out, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(twin.stream.data()),
               static_cast<std::streamsize>(twin.stream.size()));
    file.close();
    if (!file) return environment_error(out, "writing", std::generic_category().message(errno));
    return written;
}

ExitCode run(const Options& given, const std::vector<std::string>& words) {
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
    auto* command = app.add_subcommand(
        "template",
        "Write the template of a destination: the stream of a twin that has never run, for --template");
    auto options = std::make_shared<Options>();
    command->add_option("-o,--output", options->out, "file to write")->required();
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
