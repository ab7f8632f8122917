// What cannot be carried, and what would make it portable: named rules, collected in one report.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/wire/error.hpp"

namespace vmferry {

enum class RuleKind { risk, impossible };         ///< a risk may be accepted with --allow NAME
enum class RuleStage { configuration, records };  ///< when it can be known

struct Rule {
    std::string_view name;  ///< "hpet-tick", stable, kebab-case
    RuleKind kind;
    RuleStage stage;
    std::string_view meaning;  ///< one sentence
    std::string_view remedy;   ///< which setting on which side makes the guest portable
};

/// All rules there are (for docs, --help and checking --allow).
[[nodiscard]] std::span<const Rule> all_rules();
[[nodiscard]] const Rule* find_rule(std::string_view name);

enum class Verdict { carried, adapted, allowed, refused };

struct Finding {
    Verdict verdict = Verdict::carried;
    std::string rule;  ///< name of the rule for allowed/refused; subject for carried/adapted
    std::string text;  ///< what was found, with the values
};

class AuditReport {
  public:
    AuditReport() = default;
    explicit AuditReport(std::set<std::string, std::less<>> allowed) : allowed_(std::move(allowed)) {}

    void carried(std::string subject, std::string text);
    void adapted(std::string subject, std::string text);
    /// The rule applies: refused, or allowed if it is a risk that the operator accepted.
    /// Precondition: `rule` is in all_rules().
    void violated(std::string_view rule, std::string text);

    [[nodiscard]] bool refused() const;
    [[nodiscard]] const std::vector<Finding>& findings() const { return findings_; }
    /// Error of kind refused that names every refused rule (`record`), its finding, its remedy and, where one
    /// may accept it, the option for it (`found`, several lines). Precondition: refused().
    [[nodiscard]] Error error() const;

  private:
    std::set<std::string, std::less<>> allowed_;
    std::vector<Finding> findings_;
};

}  // namespace vmferry
