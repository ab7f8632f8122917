#include "proxy/qmp_call.hpp"

#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

namespace vmferry {
namespace {

using nlohmann::json;
using Slot = std::shared_ptr<std::optional<Result<json>>>;

/// The client has its own limit and always answers; this one only bounds a client that does not.
Result<json> await(Loop& loop, const Slot& slot, std::string awaited, std::chrono::milliseconds limit) {
    VMFERRY_TRY(loop.wait({"QMP", std::move(awaited), limit + std::chrono::seconds(1)},
                          [&slot] { return slot->has_value(); }));
    return std::move(**slot);
}

QmpClient::Reply into(const Slot& slot) {
    // The slot is shared: an alarm may end the wait while the command is still under way.
    return [slot](Result<json> answer) { slot->emplace(std::move(answer)); };
}

}  // namespace

Result<json> qmp_call(Loop& loop, QmpClient& qmp, std::string_view command, const json& arguments,
                      std::chrono::milliseconds limit) {
    const auto slot = std::make_shared<std::optional<Result<json>>>();
    qmp.execute(command, arguments, limit, into(slot));
    return await(loop, slot, std::string(command), limit);
}

Result<json> qmp_connect(Loop& loop, QmpClient& qmp, const std::string& path,
                         std::chrono::milliseconds limit) {
    const auto slot = std::make_shared<std::optional<Result<json>>>();
    qmp.connect(path, limit, into(slot));
    return await(loop, slot, "the greeting", limit);
}

}  // namespace vmferry
