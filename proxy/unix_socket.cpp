#include "proxy/unix_socket.hpp"

#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>

namespace vmferry {
namespace {

using Call = int (*)(int, const sockaddr*, socklen_t);

Result<Descriptor> open_unix(const std::string& path, const char* doing, Call call) {
    const auto failure = [&](std::string found) {
        return environment_error("unix socket", fmt::format("{} {}", doing, path), std::move(found));
    };
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return failure(fmt::format("the path has {} bytes, a socket's may have {}", path.size(),
                                   sizeof address.sun_path - 1));
    std::memcpy(address.sun_path, path.data(), path.size());
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket.valid() ||
        call(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return failure(errno_text(errno));
    return socket;
}

}  // namespace

Result<Descriptor> listen_unix(const std::string& path) {
    VMFERRY_ASSIGN(auto socket, open_unix(path, "listening at", ::bind));
    if (::listen(socket.get(), 1) != 0)
        return environment_error("unix socket", "listening at " + path, errno_text(errno));
    return socket;
}

Result<Descriptor> connect_unix(const std::string& path) {
    return open_unix(path, "connecting to", ::connect);
}

}  // namespace vmferry
