// The audit's findings as text.
#pragma once

#include <cstdio>

#include "translators/audit.hpp"

namespace vmferry::cli {

/// Everything, by verdict: carried, adapted, allowed, refused (with the remedy).
void print_findings(const AuditReport& audit, std::FILE* to);
/// Only what an operator should read even if all is well: adapted and allowed.
void print_notable(const AuditReport& audit, std::FILE* to);

}  // namespace vmferry::cli
