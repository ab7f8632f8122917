// SIGKILL of vmferry: before "ready" nothing stays, after it QEMU does, paused, with the session in doubt.
#include <csignal>

#include <doctest/doctest.h>
#include <sys/wait.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/resolve.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

struct Fixture : SessionFixture {
    /// Drives a session in a process of its own, which kills itself somewhere in it. What is listed then.
    SessionRecord record_of_killed(const ScriptedSource::Script& script) {
        const auto child = in_child([&](Loop& own) { (void)run(own, script); });
        int status = 0;
        REQUIRE(waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));
        const auto listed = sessions();
        REQUIRE(listed.size() == 1);
        CHECK(!listed[0].driven);
        CHECK(!listed[0].permission);
        return listed[0];
    }
    [[nodiscard]] bool ends_soon(long pid) const {
        for (int i = 0; i < 3000 && process_start_time(pid) != 0; ++i) usleep(10'000);
        return process_start_time(pid) == 0;
    }
};

TEST_CASE_FIXTURE(Fixture,
                  "killed before ready: QEMU goes too, and the next session is not kept from its work") {
    auto when = SessionState::copying;
    SUBCASE("among the pages") {}
    SUBCASE("when it has loaded") {
        when = SessionState::loaded;
    }
    at(when, [] { kill(getpid(), SIGKILL); });
    const auto record = record_of_killed(whole);
    CHECK(record.state == session_state_name(when));
    CHECK(ends_soon(record.qemu_pid));
    options.progress = {};
    options.dry_run = true;
    const auto report = run(whole);
    CHECK_MESSAGE(!report.error, error_text(report.error));
    CHECK(nothing_left(report));
}

TEST_CASE_FIXTURE(Fixture, "killed after ready: QEMU stays, paused, until somebody decides") {
    const auto record = record_of_killed([](ScriptedSource& peer) {
        peer.stream();
        if (peer.expect(xen::ready)) kill(getpid(), SIGKILL);
    });
    CHECK(record.state == "in doubt");
    CHECK(record.qemu_alive);
    CHECK(qemu_state(record.qmp_socket) == "paused");
    SUBCASE("destroyed") {
        const auto resolved = resolve_session(loop, state, record.id, Resolution::destroy, {});
        REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
        CHECK(ends_soon(record.qemu_pid));
        CHECK(sessions().empty());
    }
    SUBCASE("run") {
        const auto resolved = resolve_session(loop, state, record.id, Resolution::run, {});
        REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
        CHECK(qemu_state(record.qmp_socket) == "running");
        end_process(record.qemu_pid);
    }
}

}  // namespace
