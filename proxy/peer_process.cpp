#include "proxy/peer_process.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace vmferry {
namespace {

namespace fs = std::filesystem;

struct End {
    std::array<std::uint8_t, 16> address{};  ///< IPv4 as ::ffff:a.b.c.d
    std::uint16_t port = 0;
    bool operator==(const End&) const = default;
};

std::array<std::uint8_t, 16> mapped(const void* ipv4) {
    std::array<std::uint8_t, 16> all{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    std::memcpy(&all[12], ipv4, 4);
    return all;
}

std::optional<End> end_of(const sockaddr_storage& storage) {
    End end;
    if (storage.ss_family == AF_INET) {
        sockaddr_in ipv4{};
        std::memcpy(&ipv4, &storage, sizeof ipv4);
        end.address = mapped(&ipv4.sin_addr);
        end.port = ntohs(ipv4.sin_port);
    } else if (storage.ss_family == AF_INET6) {
        sockaddr_in6 ipv6{};
        std::memcpy(&ipv6, &storage, sizeof ipv6);
        std::memcpy(end.address.data(), &ipv6.sin6_addr, end.address.size());
        end.port = ntohs(ipv6.sin6_port);
    } else {
        return std::nullopt;
    }
    return end;
}

/// "0100007F:115E": 32-bit words of the address as this machine reads them from memory, and the port.
std::optional<End> end_of(const std::string& text) {
    const auto colon = text.find(':');
    if (colon != 8 && colon != 32) return std::nullopt;
    End end;
    std::array<std::uint32_t, 4> words{};
    for (std::size_t i = 0; i < colon / 8; ++i)
        std::from_chars(text.data() + 8 * i, text.data() + 8 * (i + 1), words[i], 16);
    if (colon == 8)
        end.address = mapped(words.data());
    else
        std::memcpy(end.address.data(), words.data(), end.address.size());
    std::from_chars(text.data() + colon + 1, text.data() + text.size(), end.port, 16);
    return end;
}

/// Of the connection from `local` to `remote`, as its link in /proc/PID/fd names it; empty: there is none
/// here.
std::string socket_link(const End& local, const End& remote) {
    for (const char* file : {"/proc/net/tcp", "/proc/net/tcp6"}) {
        std::ifstream table(file);
        for (std::string line; std::getline(table, line);) {
            std::istringstream fields(line);
            std::string number, from, to, state, queues, timer, retransmits, user, timeout, inode;
            fields >> number >> from >> to >> state >> queues >> timer >> retransmits >> user >> timeout >>
                inode;
            // A connection that its process has closed has no inode any more.
            if (fields && inode != "0" && end_of(from) == local && end_of(to) == remote)
                return fmt::format("socket:[{}]", inode);
        }
    }
    return {};
}

bool holds(const fs::path& process, const std::string& link) {
    std::error_code error;
    for (fs::directory_iterator entry(process / "fd", error), last; !error && entry != last;
         entry.increment(error)) {
        std::error_code unreadable;
        if (fs::read_symlink(entry->path(), unreadable).string() == link) return true;
    }
    return false;
}

}  // namespace

std::optional<pid_t> peer_process(int socket, pid_t likely) {
    sockaddr_storage ours{}, theirs{};
    socklen_t size = sizeof ours;
    if (getsockname(socket, reinterpret_cast<sockaddr*>(&ours), &size) != 0) return std::nullopt;
    size = sizeof theirs;
    if (getpeername(socket, reinterpret_cast<sockaddr*>(&theirs), &size) != 0) return std::nullopt;
    const auto local = end_of(theirs), remote = end_of(ours);
    if (!local || !remote) return std::nullopt;
    const auto link = socket_link(*local, *remote);
    if (link.empty()) return std::nullopt;
    const fs::path all = "/proc";
    if (likely > 0 && holds(all / std::to_string(likely), link)) return likely;
    std::error_code error;
    for (fs::directory_iterator entry(all, error), last; !error && entry != last; entry.increment(error)) {
        const auto name = entry->path().filename().string();
        pid_t pid = 0;
        const auto [end, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
        if (wrong == std::errc() && end == name.data() + name.size() && holds(entry->path(), link))
            return pid;
    }
    return std::nullopt;
}

}  // namespace vmferry
