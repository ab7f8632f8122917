// Who holds the other end of a connection, with real connections of this process and of another one.
#include "proxy/peer_process.hpp"

#include <array>
#include <csignal>
#include <fstream>
#include <string>

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "proxy/tcp.hpp"
#include "tests/error_text.hpp"

using namespace vmferry;
using vmferry::test::error_text;

namespace {

struct Connection {
    explicit Connection(const std::string& address) {
        auto listening = listen_tcp(address, 0);
        REQUIRE_MESSAGE(listening.has_value(), error_text(listening));
        SocketAddress at;
        REQUIRE(getsockname(listening->get(), at.get(), &at.size) == 0);
        theirs = Descriptor(socket(at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(connect(theirs.get(), at.get(), at.size) == 0);
        ours = Descriptor(accept4(listening->get(), nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(ours.valid());
    }
    Descriptor ours, theirs;
};

bool host_has_ipv6() {
    std::ifstream addresses("/proc/net/if_inet6");
    for (std::string line; std::getline(addresses, line);)
        if (line.starts_with("00000000000000000000000000000001 ")) return true;
    return false;
}

TEST_CASE("the process at the other end of a connection") {
    std::string address;
    SUBCASE("IPv4") {
        address = "127.0.0.1";
    }
    SUBCASE("IPv6") {
        address = "::1";
    }
    if (address == "::1" && !host_has_ipv6()) {
        MESSAGE("not tested: this host has no IPv6");
        return;
    }
    Connection one(address);
    CHECK(peer_process(one.ours.get(), getpid()) == getpid());
    CHECK(peer_process(one.ours.get(), -1) == getpid());
    CHECK(peer_process(one.theirs.get(), 1) == getpid());

    // Another process holds it, and this one does not any more.
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        for (;;) pause();
    CHECK(peer_process(one.ours.get(), child) == child);
    one.theirs.reset();
    CHECK(peer_process(one.ours.get(), getpid()) == child);
    kill(child, SIGKILL);
    CHECK(waitpid(child, nullptr, 0) == child);
    CHECK(!peer_process(one.ours.get(), child));
}

TEST_CASE("what is no connection has nobody at its other end") {
    std::array<int, 2> ends{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    const Descriptor first(ends[0]), second(ends[1]);
    CHECK(!peer_process(first.get(), getpid()));
    CHECK(!peer_process(-1, getpid()));
}

}  // namespace
