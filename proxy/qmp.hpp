// An asynchronous client for QMP (QEMU's docs/interop/qmp-spec) over a unix socket.
//
//     connect → greeting {"QMP": …} → {"execute": "qmp_capabilities"} → ready
//     ready:   {"execute": C, "arguments": A, "id": N} → {"return": R, "id": N} | {"error": E, "id": N}
//              {"event": E, "data": D}  at any time
//     closed:  every command that has no answer yet ends with an error that names it
//
// One JSON object per line. Written so that it can be lifted out: needs libuv, nlohmann-json and the error
// type. All callbacks run in the loop's thread; none runs after the client's destructor. A callback may
// start commands, but may not destroy the client.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>
#include <sys/types.h>
#include <uv.h>

#include "parsers/wire/error.hpp"

namespace vmferry {

class QmpClient {
  public:
    using Milliseconds = std::chrono::milliseconds;
    using Reply = std::function<void(Result<nlohmann::json>)>;
    using EventHandler = std::function<void(std::string_view name, const nlohmann::json& data)>;
    using CloseHandler = std::function<void(const Error&)>;

    static constexpr std::size_t max_line = 32u << 20;  ///< bytes of one answer; longer ones are an error

    /// `name` stands in errors: "QEMU", "twin".
    QmpClient(uv_loop_t* loop, std::string name);
    ~QmpClient();
    QmpClient(const QmpClient&) = delete;
    QmpClient& operator=(const QmpClient&) = delete;

    /// Connects (trying again until the socket is there or `limit` has passed), reads the greeting, leaves
    /// negotiation mode. The reply is the greeting's "QMP" object.
    void connect(const std::string& path, Milliseconds limit, Reply reply);
    /// `arguments` may be null (none). Errors have kind environment and the command's name; `field` is QEMU's
    /// error class if it answered with an error, empty if there was no answer.
    void execute(std::string_view command, const nlohmann::json& arguments, Milliseconds limit, Reply reply);
    void on_event(EventHandler handler);
    /// Called once, when a ready connection ends without close().
    void on_close(CloseHandler handler);

    [[nodiscard]] bool ready() const;
    /// The process that listens at the other end, -1 if that is not known.
    [[nodiscard]] pid_t peer_pid() const;
    /// Ends the connection; commands without answer end with an error.
    void close();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace vmferry
