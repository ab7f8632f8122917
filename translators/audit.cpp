#include "translators/audit.hpp"

#include <algorithm>

#include "translators/audit_configuration_rules.hpp"
#include "translators/audit_record_rules.hpp"

namespace vmferry {

std::span<const Rule> all_rules() {
    static const std::vector<Rule> rules = [] {
        std::vector<Rule> all;
        const auto configuration = configuration_rules();
        const auto records = record_rules();
        all.insert(all.end(), configuration.begin(), configuration.end());
        all.insert(all.end(), records.begin(), records.end());
        return all;
    }();
    return rules;
}

const Rule* find_rule(std::string_view name) {
    const auto rules = all_rules();
    const auto found = std::ranges::find(rules, name, &Rule::name);
    return found == rules.end() ? nullptr : &*found;
}

void AuditReport::carried(std::string subject, std::string text) {
    findings_.push_back({Verdict::carried, std::move(subject), std::move(text)});
}

void AuditReport::adapted(std::string subject, std::string text) {
    findings_.push_back({Verdict::adapted, std::move(subject), std::move(text)});
}

void AuditReport::violated(std::string_view rule, std::string text) {
    const auto* known = find_rule(rule);
    // A name that is not in the table could not be allowed, explained or documented: it refuses.
    const bool acceptable = known != nullptr && known->kind == RuleKind::risk;
    const auto verdict = acceptable && allowed_.contains(rule) ? Verdict::allowed : Verdict::refused;
    findings_.push_back({verdict, std::string(rule), std::move(text)});
}

bool AuditReport::refused() const {
    return std::ranges::any_of(findings_, [](const Finding& f) { return f.verdict == Verdict::refused; });
}

Error AuditReport::error() const {
    std::vector<const Finding*> refusals;
    for (const auto& finding : findings_)
        if (finding.verdict == Verdict::refused) refusals.push_back(&finding);

    Error error;
    error.kind = ErrorKind::refused;
    error.format = "audit";
    error.found =
        refusals.size() == 1
            ? "the guest cannot be carried as it is, because of one thing"
            : fmt::format("the guest cannot be carried as it is, because of {} things", refusals.size());
    for (const auto* refusal : refusals) {
        if (!error.record.empty()) error.record += ", ";
        error.record += refusal->rule;
        error.found += fmt::format("\n  {}: {}", refusal->rule, refusal->text);
        const auto* rule = find_rule(refusal->rule);
        if (rule == nullptr) continue;
        error.found += fmt::format("\n    remedy: {}", rule->remedy);
        if (rule->kind == RuleKind::risk)
            error.found += fmt::format("\n    or accept the risk with --allow {}", rule->name);
    }
    return error;
}

}  // namespace vmferry
