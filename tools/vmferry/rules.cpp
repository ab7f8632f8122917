// `vmferry rules`: every rule of the audit, with what it means and what makes a guest portable.
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/vmferry/command.hpp"
#include "tools/vmferry/report.hpp"
#include "translators/audit.hpp"

namespace vmferry::cli {

namespace {

std::string_view kind_of(const Rule& rule) {
    return rule.kind == RuleKind::risk ? "risk" : "impossible";
}
std::string_view stage_of(const Rule& rule) {
    return rule.stage == RuleStage::configuration ? "configuration" : "records";
}

ExitCode run(bool json) {
    if (json) {
        auto all = document("rules");
        for (const auto& rule : all_rules())
            all["rules"].push_back({{"rule", rule.name},
                                    {"kind", kind_of(rule)},
                                    {"stage", stage_of(rule)},
                                    {"meaning", rule.meaning},
                                    {"remedy", rule.remedy}});
        print_json(all, true);
        return ExitCode::done;
    }
    for (const auto& rule : all_rules())
        fmt::print("{}  ({}; known from the {})\n    {}\n    {}\n", rule.name, kind_of(rule), stage_of(rule),
                   rule.meaning, rule.remedy);
    return ExitCode::done;
}

}  // namespace

void add_rules(CLI::App& app, Invocation& invocation) {
    auto* command =
        app.add_subcommand("rules", "List the rules of the audit; a risk may be accepted with --allow");
    auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "print JSON");
    command->callback([json, &invocation] { invocation.action = [json] { return run(*json); }; });
}

}  // namespace vmferry::cli
