// The QMP client: against the real QEMU, and against peers that break the rules.
#include "proxy/qmp.hpp"

#include <thread>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

#include "proxy/qemu_process.hpp"
#include "proxy/qmp_call.hpp"
#include "proxy/temporary_directory.hpp"
#include "proxy/unix_socket.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/scripted_qmp.hpp"

using namespace vmferry;
using vmferry::test::error_text;
using vmferry::test::first_return;
using vmferry::test::greeting;
using vmferry::test::ScriptedQmp;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

struct Fixture {
    Loop loop;
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());
    std::string path = directory.file("qmp");
    QmpClient qmp{loop.uv(), "QEMU"};
};

TEST_CASE_FIXTURE(Fixture, "commands, errors, events and the end of a real QEMU") {
    auto process = QemuProcess::start(
        loop, {"QEMU",
               "qemu-system-x86_64",
               {"-M", "none", "-display", "none", "-S", "-qmp", "unix:" + path + ",server=on,wait=off"},
               directory.file("log")});
    REQUIRE(process);
    const auto version = qmp_connect(loop, qmp, path, 30s);
    REQUIRE_MESSAGE(version.has_value(), error_text(version));
    CHECK(version->at("version").at("qemu").at("major").get<int>() >= 7);

    const auto status = qmp_call(loop, qmp, "query-status", nullptr, 5s);
    REQUIRE(status);
    CHECK(status->at("running") == false);

    const auto bad = qmp_call(loop, qmp, "no-such-command", nullptr, 5s);
    REQUIRE(!bad);
    CHECK(bad.error().kind == ErrorKind::environment);
    CHECK(bad.error().text().find("no-such-command") != std::string::npos);

    std::vector<std::string> events;
    qmp.on_event([&](std::string_view name, const json&) { events.emplace_back(name); });
    std::string closed;
    qmp.on_close([&](const Error& error) { closed = error.text(); });
    CHECK(qmp_call(loop, qmp, "quit", nullptr, 5s));
    CHECK(loop.wait({"QEMU", "its end", 10s}, [&] { return (*process)->exited() && !closed.empty(); }));
    CHECK(events == std::vector<std::string>{"SHUTDOWN"});
    CHECK(!qmp.ready());
    CHECK(qmp_call(loop, qmp, "query-status", nullptr, 5s).error().found == "no connection");
}

TEST_CASE_FIXTURE(Fixture, "no socket, and a peer that never greets, end with the time limit") {
    const auto nothing = qmp_connect(loop, qmp, path, 50ms);
    REQUIRE(!nothing);
    CHECK(nothing.error().found == "no such file or directory within 50 ms");
    QmpClient second(loop.uv(), "QEMU");
    const ScriptedQmp silent(path, {""});
    const auto mute = qmp_connect(loop, second, path, 50ms);
    REQUIRE(!mute);
    CHECK(mute.error().found == "no greeting within 50 ms");
    second.close();
}

TEST_CASE_FIXTURE(Fixture, "a QEMU that waits for another connection before it goes on gets one") {
    std::vector<std::string> lines;
    SUBCASE("before it greets") {
        lines = {"", greeting, first_return};
    }
    SUBCASE("before it answers") {
        lines = {greeting, "", first_return};
    }
    const Descriptor listener(*listen_unix(path));
    const std::jthread peer([&] {
        const Descriptor connection(::accept(listener.get(), nullptr, nullptr));
        for (const auto& line : lines) {
            if (line.empty())
                const Descriptor another(::accept(listener.get(), nullptr, nullptr));
            else
                (void)!::write(connection.get(), line.data(), line.size());
        }
        char byte = 0;
        while (::read(connection.get(), &byte, 1) == 1) {
        }
    });
    const auto connected = qmp_connect(loop, qmp, path, 10s);
    CHECK_MESSAGE(connected.has_value(), error_text(connected));
    qmp.close();
    (void)connect_unix(path);  // the thread ends, whatever it got
}

TEST_CASE_FIXTURE(Fixture, "a path that no unix socket can have is refused") {
    const auto result = qmp_connect(loop, qmp, directory.file(std::string(120, 'x')), 1s);
    REQUIRE(!result);
    CHECK(result.error().found == "the path is too long for a unix socket");
}

TEST_CASE_FIXTURE(Fixture, "a command without answer ends alone; a late answer is ignored") {
    const ScriptedQmp peer(
        path, {greeting, first_return, "", "{\"return\": 1, \"id\": 2}\n{\"return\": 2, \"id\": 3}\n"});
    REQUIRE(qmp_connect(loop, qmp, path, 5s));
    const auto late = qmp_call(loop, qmp, "slow", nullptr, 50ms);
    REQUIRE(!late);
    CHECK(late.error().text() == "QEMU QMP slow: no answer within 50 ms");
    const auto next = qmp_call(loop, qmp, "quick", nullptr, 5s);
    REQUIRE(next);
    CHECK(*next == 2);
    qmp.close();
}

TEST_CASE_FIXTURE(Fixture, "what is not QMP ends the connection with a reason") {
    std::string line;
    std::string found;
    SUBCASE("no greeting") {
        line = "{\"hello\": 1}\n";
        found = "no QMP greeting";
    }
    SUBCASE("no JSON") {
        line = "HTTP/1.1 400 Bad Request\n";
        found = "an answer that is not a JSON object";
    }
    const ScriptedQmp peer(path, {line});
    const auto result = qmp_connect(loop, qmp, path, 5s);
    REQUIRE(!result);
    CHECK(result.error().found == found);
}

}  // namespace
