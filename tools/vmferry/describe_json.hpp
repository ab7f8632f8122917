// The described fields of a Xen record as a JSON object, in their order.
#pragma once

#include <span>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "parsers/xen/describe.hpp"

namespace vmferry::cli {

/// `for_people`: values as text (0x…), reserved fields left out. Otherwise numbers stay numbers and every
/// field is there.
[[nodiscard]] nlohmann::ordered_json to_json(std::span<const xen::Field> fields, bool for_people);

/// `name`, or "name#2", "name#3", … if the object has it already.
[[nodiscard]] std::string free_name(const nlohmann::ordered_json& object, const std::string& name);

}  // namespace vmferry::cli
