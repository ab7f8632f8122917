// A session into a QEMU that somebody else has started: it is compared, loaded and run, and never ended.
#include <csignal>

#include <doctest/doctest.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/resolve.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

struct Fixture : SessionFixture {
    /// Starts what vmferry itself would start, with these words besides, and says that it shall be adopted.
    Fixture() {
        options.dry_run = true;
        words = run(whole).command;
        options.dry_run = false;
        destination.qmp = directory.file("theirs");
        REQUIRE(words.size() > 2);
        words.back() = "unix:" + destination.qmp + ",server=on,wait=off";
    }
    void start(const std::vector<std::string>& more = {}) {
        std::vector<std::string> arguments(words.begin() + 1, words.end());
        arguments.insert(arguments.end(), more.begin(), more.end());
        auto started = QemuProcess::start(loop, {"theirs", words.front(), arguments, directory.file("log")});
        REQUIRE(started);
        theirs = std::move(*started);
    }
    std::vector<std::string> words;
    std::unique_ptr<QemuProcess> theirs;
};

TEST_CASE_FIXTURE(Fixture, "an adopted QEMU takes the guest over") {
    start();
    const auto report = run(whole);
    REQUIRE_MESSAGE(!report.error, error_text(report.error));
    CHECK(report.state == SessionState::reported);
    CHECK(report.adopted);
    CHECK(report.qemu_pid == theirs->pid());
    CHECK(report.qmp_socket == destination.qmp);
    session.reset();
    CHECK(qemu_state(destination.qmp) == "running");
    const auto listed = sessions();
    REQUIRE(listed.size() == 1);
    CHECK(listed[0].adopted);
    CHECK(listed[0].qemu_alive);
}

TEST_CASE_FIXTURE(Fixture, "an adopted QEMU that is another machine is refused, and stays as it was") {
    start({"-m", "64M"});
    const auto error = failure(whole);
    CHECK(error.kind == ErrorKind::environment);
    CHECK(error.found.find("pc.ram") != std::string::npos);
    CHECK(qemu_state(destination.qmp) == "inmigrate");
}

TEST_CASE_FIXTURE(Fixture, "a dry run leaves it loaded and paused, and says so") {
    start();
    options.dry_run = true;
    const auto report = run(whole);
    REQUIRE_MESSAGE(!report.error, error_text(report.error));
    REQUIRE(report.notes.size() == 1);
    CHECK(report.notes[0].find("it must not run") != std::string::npos);
    CHECK(qemu_state(destination.qmp) == "paused");
}

TEST_CASE_FIXTURE(Fixture, "an adopted QEMU that dies among the pages") {
    start();
    at(SessionState::copying, [&] { end_process(theirs->pid()); });
    const auto report = run(whole);
    CHECK(acted == 1);
    CHECK(xen::banner == source->heard);
    REQUIRE(report.error);
    CHECK(report.error->kind == ErrorKind::environment);
    CHECK(report.error->format == "QEMU");
    CHECK(sessions().empty());
}

TEST_CASE_FIXTURE(Fixture, "other bytes than the permission: it cannot be destroyed, so it is in doubt") {
    start();
    const auto report = run([](ScriptedSource& peer) {
        peer.ready = peer.stream() && peer.expect(xen::ready);
        peer.send("domain is mine");
        peer.read_report();
    });
    CHECK(source->report == 0xFF);
    CHECK(!source->given_back);
    REQUIRE(report.error);
    CHECK(report.error->kind == ErrorKind::in_doubt);
    CHECK(report.error->found.find("it was adopted") != std::string::npos);
    session.reset();
    CHECK(qemu_state(destination.qmp) == "paused");
    const auto theirs_to_end = resolve_session(loop, state, report.id, Resolution::destroy, {});
    REQUIRE(!theirs_to_end);
    CHECK(theirs_to_end.error().expected == "its owner to end it; then repeat this");
    end_process(theirs->pid());
    CHECK(resolve_session(loop, state, report.id, Resolution::destroy, {}).has_value());
    CHECK(sessions().empty());
}

}  // namespace
