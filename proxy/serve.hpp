// `vmferry serve`: a TCP listener; each connection is a session with a thread and a loop of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/session.hpp"

namespace vmferry {

struct ServeOptions {
    std::string address = "127.0.0.1";  ///< numeric, IPv4 or IPv6
    std::uint16_t port = 4445;          ///< 0: any
    std::size_t max_sessions = 64;      ///< at once; further connections are closed without a banner
    /// For every session. Its callbacks run in the sessions' threads, several at once.
    SessionOptions session;
    /// The listener is open on this port.
    std::function<void(std::uint16_t port)> listening = {};
    /// `peer` "192.0.2.1:50000". Run in the sessions' threads.
    std::function<void(const std::string& peer)> connected = {};
    std::function<void(const std::string& peer, const SessionReport&)> over = {};
};

/// Until the loop's alarm: then all sessions are asked to end, and awaited. Errors: the address cannot be
/// listened on.
Result<void> serve(Loop& loop, const ServeOptions& options);

}  // namespace vmferry
