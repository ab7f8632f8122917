#include "tests/proxy/source_machine.hpp"

#include <csignal>

#include <doctest/doctest.h>
#include <poll.h>

#include "proxy/qmp_call.hpp"
#include "proxy/tcp.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/session_fixture.hpp"

namespace vmferry::test {

using namespace std::chrono_literals;
using nlohmann::json;

SourceMachine::SourceMachine(std::vector<std::string> words) {
    std::vector<std::string> all{"-M",
                                 "pc,hpet=off,smm=off",  // or SeaBIOS may just be in SMM
                                 "-nodefaults",
                                 "-m",
                                 "65544k",  // 64 MiB would be refused: tcg-missed-writes
                                 "-display",
                                 "none",
                                 "-accel",
                                 "tcg",
                                 "-name",
                                 "web1",
                                 "-uuid",
                                 "3db11e84-0000-4000-8000-000000000001"};
    for (const auto& socket : {qmp, directory.file("own")}) {
        all.emplace_back("-qmp");
        all.push_back("unix:" + socket + ",server=on,wait=off");
    }
    all.insert(all.end(), words.begin(), words.end());
    auto started = QemuProcess::start(loop, {.component = "source",
                                             .binary = "qemu-system-x86_64",
                                             .arguments = std::move(all),
                                             .log = directory.file("log")});
    REQUIRE_MESSAGE(started.has_value(), error_text(started));
    process = std::move(*started);
    REQUIRE(becomes("running"));
}

SourceMachine::~SourceMachine() {
    kill(pid(), SIGCONT);
}

json SourceMachine::command(const std::string& name, const json& arguments) {
    QmpClient client(loop.uv(), "source");
    if (!qmp_connect(loop, client, directory.file("own"), 10s)) return nullptr;
    auto answer = qmp_call(loop, client, name, arguments, 10s);
    return answer ? std::move(*answer) : json(nullptr);
}

void SourceMachine::migrate(std::uint16_t port, bool return_path) {
    // It refuses another migration until it has seen that the connection of the last one is gone.
    for (int i = 0; i < 1000 && (migration() == "active" || migration() == "device"); ++i) usleep(20'000);
    const json capabilities = {{{"capability", "return-path"}, {"state", return_path}}};
    CHECK(!command("migrate-set-capabilities", {{"capabilities", capabilities}}).is_null());
    CHECK(!command("migrate", {{"uri", "tcp:127.0.0.1:" + std::to_string(port)}}).is_null());
}

std::string SourceMachine::state() {
    const auto answer = command("query-status");
    return answer.is_null() ? std::string() : answer.value("status", "");
}

std::string SourceMachine::migration() {
    const auto answer = command("query-migrate");
    return answer.is_null() ? std::string() : answer.value("status", "");
}

bool SourceMachine::becomes(const std::string& wanted_state) {
    for (int i = 0; i < 1000; ++i) {
        if (state() == wanted_state) return true;
        usleep(20'000);
    }
    return false;
}

void SourceMachine::end() const {
    SessionFixture::end_process(pid());
}

TestListener::TestListener() {
    auto listening = listen_tcp("127.0.0.1", 0);
    REQUIRE_MESSAGE(listening.has_value(), error_text(listening));
    socket = std::move(*listening);
    SocketAddress bound;
    REQUIRE(getsockname(socket.get(), bound.get(), &bound.size) == 0);
    port = bound.port();
}

Descriptor TestListener::accepted() const {
    pollfd waiting{socket.get(), POLLIN, 0};
    CHECK(poll(&waiting, 1, 30'000) == 1);
    return Descriptor(accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

Descriptor TestListener::accepted_if_any() const {
    while (!stopped) {
        pollfd waiting{socket.get(), POLLIN, 0};
        if (poll(&waiting, 1, 50) == 1)
            return Descriptor(accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
    return {};
}

}  // namespace vmferry::test
