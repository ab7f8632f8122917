// One QMP command as a step of straight-line code.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"
#include "proxy/qmp.hpp"

namespace vmferry {

/// Turns the loop until the answer is there.
[[nodiscard]] Result<nlohmann::json> qmp_call(Loop& loop, QmpClient& qmp, std::string_view command,
                                              const nlohmann::json& arguments,
                                              std::chrono::milliseconds limit);
/// Connects and leaves negotiation mode; the greeting's "QMP" object.
[[nodiscard]] Result<nlohmann::json> qmp_connect(Loop& loop, QmpClient& qmp, const std::string& path,
                                                 std::chrono::milliseconds limit);

}  // namespace vmferry
