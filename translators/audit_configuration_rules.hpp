// The rules that the domain's configuration, its CPUID policy and the operator's mapping decide, before the
// first page.
#pragma once

#include <span>

#include "translators/audit.hpp"

namespace vmferry {

[[nodiscard]] std::span<const Rule> configuration_rules();

}  // namespace vmferry
