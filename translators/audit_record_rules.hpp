// The rules that only the device records can decide.
#pragma once

#include <span>

#include "translators/audit.hpp"

namespace vmferry {

[[nodiscard]] std::span<const Rule> record_rules();

}  // namespace vmferry
