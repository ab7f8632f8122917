// TCP sockets: listening at an address, connecting to HOST:PORT.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <sys/socket.h>

#include "parsers/wire/error.hpp"
#include "proxy/descriptor.hpp"
#include "proxy/loop.hpp"

namespace vmferry {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }

    [[nodiscard]] std::string text();  ///< "192.0.2.1:50000", "[2001:db8::1]:50000"
    [[nodiscard]] std::uint16_t port();
};

/// `address` is numeric; `port` 0: any.
[[nodiscard]] Result<Descriptor> listen_tcp(const std::string& address, std::uint16_t port);
/// `peer`: "HOST:PORT" or "[IPV6]:PORT". The host's addresses are tried until one answers.
[[nodiscard]] Result<Descriptor> connect_tcp(Loop& loop, const std::string& peer,
                                             std::chrono::milliseconds limit);
/// No delay for small messages; a peer that vanished without a word is noticed.
void set_tcp_options(const Descriptor& socket);

}  // namespace vmferry
