#include "tools/vmferry/findings.hpp"

#include <string_view>

#include <fmt/format.h>

#include "tools/vmferry/printable.hpp"

namespace vmferry::cli {

namespace {

/// Values from the stream may stand in the text.
void print(const AuditReport& audit, Verdict verdict, std::string_view word, std::FILE* to) {
    for (const auto& finding : audit.findings()) {
        if (finding.verdict != verdict) continue;
        fmt::print(to, "{:<8} {}: {}\n", word, finding.rule, printable(finding.text));
        if (verdict != Verdict::refused) continue;
        if (const auto* rule = find_rule(finding.rule)) {
            fmt::print(to, "{:<8} -> {}\n", "", rule->remedy);
            if (rule->kind == RuleKind::risk)
                fmt::print(to, "{:<8} -> or accept the risk: --allow {}\n", "", rule->name);
        }
    }
}

}  // namespace

void print_findings(const AuditReport& audit, std::FILE* to) {
    print(audit, Verdict::carried, "carried", to);
    print_notable(audit, to);
    print(audit, Verdict::refused, "REFUSED", to);
}

void print_notable(const AuditReport& audit, std::FILE* to) {
    print(audit, Verdict::adapted, "adapted", to);
    print(audit, Verdict::allowed, "allowed", to);
}

}  // namespace vmferry::cli
