// A guest's name in the form that every host program takes.
#pragma once

#include <string>
#include <string_view>

namespace vmferry {

/// Letters, digits, '.', '_' and '-' stay, everything else becomes '_'; neither '-' nor '.' comes first.
[[nodiscard]] std::string plain_name(std::string_view name);

}  // namespace vmferry
