// What a subcommand says: errors as one line on stderr, and the common members of every JSON document.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "parsers/wire/error.hpp"
#include "tools/vmferry/exit_code.hpp"
#include "translators/audit.hpp"

namespace vmferry::cli {

inline constexpr std::string_view json_schema = "vmferry/1";

/// "stream", "refused", "usage", "environment", "in doubt".
[[nodiscard]] std::string_view kind_name(ErrorKind kind);

/// {kind, format, record, field, offset, found, expected, hint, text}
[[nodiscard]] nlohmann::ordered_json to_json(const Error& error);
/// [{verdict, rule, text, kind, remedy}]: kind and remedy only where `rule` is the name of a rule.
[[nodiscard]] nlohmann::ordered_json to_json(const AuditReport& audit);

/// {schema, command, session, state, rules, error}: session null where there is none, state "done", rules
/// empty and error null until the caller sets them.
[[nodiscard]] nlohmann::ordered_json document(std::string_view command);
/// Sets error and state ("refused", "in doubt" or "failed").
void set_error(nlohmann::ordered_json& document, const Error& error);
/// One line, or indented over several. Text that is not UTF-8 is written with replacement characters.
void print_json(const nlohmann::ordered_json& document, bool indented, std::FILE* to = stdout);

/// Prints «vmferry: …» on stderr and returns the exit code that belongs to the error.
ExitCode fail(const Error& error);

/// Error of kind usage about one option or key.
[[nodiscard]] Error usage_error(std::string option, std::string found, std::string expected = {});

}  // namespace vmferry::cli
