// `vmferry serve`: a TCP listener; each connection is a session with a thread and a loop of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/session.hpp"
#include "proxy/session_to_xen.hpp"

namespace vmferry {

struct ListenerOptions {
    std::string address = "127.0.0.1";  ///< numeric, IPv4 or IPv6
    std::uint16_t port = 0;             ///< 0: any
    std::size_t max_sessions = 64;      ///< at once; further connections are closed without a word
    /// The listener is open on this port.
    std::function<void(std::uint16_t port)> listening = {};
    /// `peer` "192.0.2.1:50000". Run in the sessions' threads.
    std::function<void(const std::string& peer)> connected = {};
    std::function<void(const std::string& peer, const SessionReport&)> over = {};
};

/// For xl (`xl migrate -s '' NAME 'socat - TCP:HOST:PORT'`).
struct ServeOptions : ListenerOptions {
    ServeOptions() { port = 4445; }
    /// For every session. Its callbacks run in the sessions' threads, several at once.
    SessionOptions session;
};
/// For QEMU (`migrate tcp:HOST:PORT`).
struct ServeQemuOptions : ListenerOptions {
    ServeQemuOptions() { port = 4446; }
    /// For every session, as above. A QMP socket is one QEMU's: with `source_qmp` there is one session at a
    /// time.
    SessionToXenOptions session;
};

/// Until the loop's alarm: then all sessions are asked to end, and awaited. Errors: the address cannot be
/// listened on.
Result<void> serve(Loop& loop, const ServeOptions& options);
Result<void> serve_qemu(Loop& loop, const ServeQemuOptions& options);

}  // namespace vmferry
