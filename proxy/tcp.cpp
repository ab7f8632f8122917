#include "proxy/tcp.hpp"

#include <array>
#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>

namespace vmferry {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Result<AddressList> look_up(const std::string& host, const std::string& port, int flags,
                            const std::string& doing) {
    addrinfo hints{};
    hints.ai_flags = flags | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0)
        return environment_error("TCP", doing, gai_strerror(error));
    return AddressList(found, freeaddrinfo);
}

/// The errno of the attempt; 0: `socket` is connected.
Result<int> connect_to(Loop& loop, const addrinfo& address, const Wait& wait, Descriptor& socket) {
    socket = Descriptor(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.valid()) return errno;
    if (connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0) return 0;
    if (errno != EINPROGRESS) return errno;
    bool decided = false;
    const OwnedHandle<uv_poll_t> poll(new uv_poll_t);
    uv_poll_init(loop.uv(), poll.get(), socket.get());
    poll->data = &decided;
    uv_poll_start(poll.get(), UV_WRITABLE, [](uv_poll_t* handle, int, int) {
        if (handle->data != nullptr) *static_cast<bool*>(handle->data) = true;
    });
    VMFERRY_TRY(loop.wait(wait, [&decided] { return decided; }));
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    return error;
}

}  // namespace

std::string SocketAddress::text() {
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> service{};
    getnameinfo(get(), size, host.data(), host.size(), service.data(), service.size(),
                NI_NUMERICHOST | NI_NUMERICSERV);
    const bool v6 = storage.ss_family == AF_INET6;
    return fmt::format("{}{}{}:{}", v6 ? "[" : "", host.data(), v6 ? "]" : "", service.data());
}

std::uint16_t SocketAddress::port() {
    std::array<char, NI_MAXSERV> service{};
    getnameinfo(get(), size, nullptr, 0, service.data(), service.size(), NI_NUMERICSERV);
    return static_cast<std::uint16_t>(std::strtoul(service.data(), nullptr, 10));
}

Result<Descriptor> listen_tcp(const std::string& address, std::uint16_t port) {
    const auto failure = [&](const std::string& found) {
        return environment_error("listener", fmt::format("listening on {} port {}", address, port), found);
    };
    const auto found = look_up(address, std::to_string(port), AI_NUMERICHOST | AI_PASSIVE, "");
    if (!found) return failure(found.error().found);
    const addrinfo& first = **found;
    Descriptor socket(::socket(first.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    if (!socket.valid() || setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(socket.get(), first.ai_addr, first.ai_addrlen) != 0 || listen(socket.get(), 64) != 0)
        return failure(errno_text(errno));
    return socket;
}

Result<Descriptor> connect_tcp(Loop& loop, const std::string& peer, std::chrono::milliseconds limit) {
    const auto doing = "connecting to " + peer;
    const auto colon = peer.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == peer.size())
        return std::unexpected(
            Error{ErrorKind::usage, "TCP", doing, {}, 0, "no HOST:PORT", "HOST:PORT or [IPV6]:PORT"});
    auto host = peer.substr(0, colon);
    if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    VMFERRY_ASSIGN(const auto addresses, look_up(host, peer.substr(colon + 1), 0, doing));
    int error = 0;
    for (const auto* address = addresses.get(); address != nullptr; address = address->ai_next) {
        Descriptor socket;
        VMFERRY_ASSIGN(error, connect_to(loop, *address, {peer, "its answer to connect", limit}, socket));
        if (error == 0) {
            set_tcp_options(socket);
            return socket;
        }
    }
    return environment_error("TCP", doing, errno_text(error));
}

void set_tcp_options(const Descriptor& socket) {
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

}  // namespace vmferry
