// `vmferry inspect FILE`: every record or section of a stream, with offset, length and decoded fields. Reads
// as far as the file makes sense, then says what is wrong with it.
#include "tools/vmferry/inspect.hpp"

#include <algorithm>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/vmferry/command.hpp"
#include "tools/vmferry/report.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

Result<void> inspect(InputWindow& input, Listing& listing, Json& summary) {
    const auto format = input.file().format();
    switch (format) {
        case StreamFormat::xen_xl:
            return inspect_xen(input, xen::StreamReader::Start::xl_header, listing, summary);
        case StreamFormat::xen_libxl:
            return inspect_xen(input, xen::StreamReader::Start::libxl_header, listing, summary);
        case StreamFormat::xen_libxc:
            return inspect_xen(input, xen::StreamReader::Start::libxc_header, listing, summary);
        case StreamFormat::qemu:
            return inspect_qemu(input, listing, summary);
        case StreamFormat::unknown:
            break;
    }
    VMFERRY_TRY(input.fill(8));
    std::string found;
    for (const auto byte : input.unread().first(std::min<std::size_t>(input.unread().size(), 8)))
        found += fmt::format("{}{:02x}", found.empty() ? "" : " ", std::to_integer<unsigned>(byte));
    return stream_error("input", "file", "magic", 0, found.empty() ? "an empty file" : found,
                        "what `xl migrate`, `xl save` or QEMU's `migrate` writes, plain or zstd");
}

ExitCode run(const std::string& file, bool json) {
    auto summary = document("inspect");
    summary["file"] = file;
    summary["format"] = nullptr;
    Listing listing(json);
    const auto result = [&]() -> Result<void> {
        VMFERRY_ASSIGN(auto input, InputWindow::open(file));
        const auto format = input.file().format();
        if (format != StreamFormat::unknown) {
            summary["format"] = format == StreamFormat::qemu ? "qemu" : "xen";
            summary["stream"] = stream_format_name(format);
        }
        return inspect(input, listing, summary);
    }();
    summary["entries"] = listing.entries();
    if (json) {
        if (!result) set_error(summary, result.error());
        print_json(summary, false);
    } else if (listing.entries() > 0) {
        listing.totals(summary);
    }
    return result ? ExitCode::done : fail(result.error());
}

}  // namespace

void add_inspect(CLI::App& app, Invocation& invocation) {
    struct Options {
        std::string file;
        bool json = false;
    };
    auto* command = app.add_subcommand(
        "inspect",
        "List every record or section of a Xen or QEMU stream, with offset, length and decoded fields");
    auto options = std::make_shared<Options>();
    command->add_option("FILE", options->file, "the stream, plain or zstd; - for standard input")->required();
    command->add_flag("--json", options->json, "one JSON object per line; the last one sums up");
    command->callback([options, &invocation] {
        invocation.action = [options] { return run(options->file, options->json); };
    });
}

}  // namespace vmferry::cli
