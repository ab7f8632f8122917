#include "tools/vmferry/report.hpp"

#include <nlohmann/json.hpp>

#include "tools/vmferry/printable.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

std::string_view verdict_name(Verdict verdict) {
    switch (verdict) {
        case Verdict::carried:
            return "carried";
        case Verdict::adapted:
            return "adapted";
        case Verdict::allowed:
            return "allowed";
        case Verdict::refused:
            return "refused";
    }
    return "refused";
}

std::string_view state_of(ErrorKind kind) {
    if (kind == ErrorKind::refused) return "refused";
    return kind == ErrorKind::in_doubt ? "in doubt" : "failed";
}

}  // namespace

std::string_view kind_name(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::stream:
            return "stream";
        case ErrorKind::refused:
            return "refused";
        case ErrorKind::usage:
            return "usage";
        case ErrorKind::environment:
            return "environment";
        case ErrorKind::in_doubt:
            return "in doubt";
    }
    return "environment";
}

Json to_json(const Error& error) {
    return {{"kind", kind_name(error.kind)}, {"format", error.format}, {"record", error.record},
            {"field", error.field},          {"offset", error.offset}, {"found", error.found},
            {"expected", error.expected},    {"hint", error.hint},     {"text", error.text()}};
}

Json to_json(const AuditReport& audit) {
    auto findings = Json::array();
    for (const auto& finding : audit.findings()) {
        Json entry{
            {"verdict", verdict_name(finding.verdict)}, {"rule", finding.rule}, {"text", finding.text}};
        if (const auto* rule = find_rule(finding.rule)) {
            entry["kind"] = rule->kind == RuleKind::risk ? "risk" : "impossible";
            entry["remedy"] = rule->remedy;
        }
        findings.push_back(std::move(entry));
    }
    return findings;
}

Json document(std::string_view command) {
    return {{"schema", json_schema}, {"command", command},     {"session", nullptr},
            {"state", "done"},       {"rules", Json::array()}, {"error", nullptr}};
}

void set_error(Json& document, const Error& error) {
    document["state"] = state_of(error.kind);
    document["error"] = to_json(error);
}

void print_json(const Json& document, bool indented, std::FILE* to) {
    const auto text = document.dump(indented ? 2 : -1, ' ', false, Json::error_handler_t::replace);
    std::fwrite(text.data(), 1, text.size(), to);
    std::fputc('\n', to);
}

ExitCode fail(const Error& error) {
    std::fflush(stdout);
    fmt::print(stderr, "vmferry: {}\n", printable(error.text(), true));
    return exit_code(error.kind);
}

Error usage_error(std::string option, std::string found, std::string expected) {
    return {ErrorKind::usage, std::move(option), {}, {}, 0, std::move(found), std::move(expected)};
}

}  // namespace vmferry::cli
