// `vmferry table`: every row of the translation, with its place on both sides and its law.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/vmferry/command.hpp"
#include "tools/vmferry/report.hpp"
#include "translators/table_listing.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

ExitCode run(bool json) {
    const auto lines = list_tables();
    if (json) {
        auto all = document("table");
        all["rows"] = Json::array();
        for (const auto& line : lines)
            all["rows"].push_back({{"field", line.field},
                                   {"xen", line.xen},
                                   {"qemu", line.qemu},
                                   {"law", law_name(line.law)},
                                   {"conversion", line.conversion},
                                   {"absent", line.absent}});
        print_json(all, true);
        return ExitCode::done;
    }
    fmt::print("{:<34} {:<34} {:<40} {:<11} {}\n", "FIELD", "XEN", "QEMU", "LAW", "CONVERSION");
    for (const auto& line : lines) {
        std::string text = line.conversion;
        if (!line.absent.empty()) text += (text.empty() ? "when absent: " : "; when absent: ") + line.absent;
        fmt::print("{:<34} {:<34} {:<40} {:<11} {}\n", line.field, line.xen.empty() ? "-" : line.xen,
                   line.qemu.empty() ? "-" : line.qemu, law_name(line.law), text);
    }
    return ExitCode::done;
}

}  // namespace

void add_table(CLI::App& app, Invocation& invocation) {
    auto* command = app.add_subcommand("table", "Print every row of the translation between Xen and QEMU");
    auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "print JSON");
    command->callback([json, &invocation] { invocation.action = [json] { return run(*json); }; });
}

}  // namespace vmferry::cli
