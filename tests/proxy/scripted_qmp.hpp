// A QMP peer that a test plays: for what no QEMU here says.
#pragma once

#include <string>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include "proxy/descriptor.hpp"
#include "proxy/unix_socket.hpp"

namespace vmferry::test {

/// A peer that says fixed lines, one after each line that it hears, then keeps silent until it is closed.
class ScriptedQmp {
  public:
    ScriptedQmp(const std::string& path, std::vector<std::string> lines) : listener_(*listen_unix(path)) {
        thread_ = std::jthread([this, lines = std::move(lines)] {
            const Descriptor peer(::accept(listener_.get(), nullptr, nullptr));
            std::string heard;
            for (const auto& line : lines) {
                (void)!::write(peer.get(), line.data(), line.size());
                if (!next_line(peer, heard)) return;
            }
            while (next_line(peer, heard)) {
            }
        });
    }

  private:
    static bool next_line(const Descriptor& peer, std::string& heard) {
        char byte = 0;
        heard.clear();
        while (::read(peer.get(), &byte, 1) == 1) {
            if (byte == '\n') return true;
            heard += byte;
        }
        return false;
    }
    Descriptor listener_;
    std::jthread thread_;
};

inline constexpr auto greeting = "{\"QMP\": {\"version\": {}}}\r\n";
inline constexpr auto first_return = "{\"return\": {}, \"id\": 1}\r\n";

}  // namespace vmferry::test
