// SIGKILL of vmferry on a guest's way to Xen: the source runs on, or all stand still until somebody decides.
#include <csignal>

#include <doctest/doctest.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/resolve.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/to_xen_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

TEST_CASE_FIXTURE(ToXenFixture, "killed before the source is told: it runs on by itself") {
    auto when = SessionState::copying;
    SUBCASE("among the pages") {}
    SUBCASE("while Xen loads") {
        when = SessionState::paused_at_source;
    }
    SUBCASE("when Xen has loaded") {
        when = SessionState::loaded;
    }
    SUBCASE("when the journal says in doubt") {
        when = SessionState::in_doubt;
    }
    at(when, [] { kill(getpid(), SIGKILL); });
    const auto record = run_killed(ScriptedReceiver::whole);
    CHECK(record.state == session_state_name(when));
    CHECK(!record.permission);
    CHECK(machine.becomes("running"));
    CHECK(!xl->ran);
    options.progress = {};
    if (when == SessionState::in_doubt) {
        const auto resolved = resolve_session(loop, state, record.id, Resolution::run, {});
        REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
        CHECK(machine.becomes("running"));
    }
    // The next session is not kept from its work.
    destination.xl.clear();
    const auto report = run();
    CHECK_MESSAGE(!report.error, error_text(report.error));
    CHECK(xl->ran);
}

TEST_CASE_FIXTURE(ToXenFixture, "killed, and the source does not wait: it stands still, and that is listed") {
    return_path = false;
    at(SessionState::loaded, [] { kill(getpid(), SIGKILL); });
    const auto record = run_killed(ScriptedReceiver::whole);
    CHECK(record.state == "in doubt");
    CHECK(!record.permission);
    CHECK(!xl->ran);
    CHECK(machine.becomes("postmigrate"));
    CHECK(!SessionDirectory::create(state, "web1", "", Direction::to_xen));
    const auto resolved = resolve_session(loop, state, record.id, Resolution::run, {});
    REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
    CHECK(machine.becomes("running"));
}

TEST_CASE_FIXTURE(ToXenFixture, "killed when the source has been told: all stand still") {
    at(SessionState::in_doubt, [&] { kill(machine.pid(), SIGSTOP); });
    const auto record = run_killed(ScriptedReceiver::whole, [&](pid_t vmferry) {
        for (int i = 0; i < 1000 && (sessions().empty() || sessions()[0].state != "in doubt"); ++i)
            usleep(20'000);
        usleep(500'000);  // SHUT is in the socket, and QMP does not answer
        kill(vmferry, SIGKILL);
    });
    kill(machine.pid(), SIGCONT);
    CHECK(record.state == "in doubt");
    CHECK(!record.permission);
    CHECK(!xl->ran);
    CHECK(machine.becomes("postmigrate"));
    const auto resolved = resolve_session(loop, state, record.id, Resolution::run, {});
    REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
    CHECK(machine.becomes("running"));
}

TEST_CASE_FIXTURE(ToXenFixture, "killed after the permission: the source stands still") {
    std::atomic<pid_t> vmferry = 0;
    const auto record = run_killed(
        [&](ScriptedReceiver& peer) {
            if (!peer.load() || !peer.read_permission()) return;
            peer.ran = true;
            while (vmferry == 0) usleep(1000);
            kill(vmferry, SIGKILL);
        },
        [&](pid_t child) { vmferry = child; });
    CHECK(record.state == "in doubt");
    CHECK(record.permission);
    CHECK(xl->ran);
    CHECK(machine.becomes("postmigrate"));
    const auto resolved = resolve_session(loop, state, record.id, Resolution::destroy, {});
    REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
    CHECK(process_start_time(machine.pid()) == 0);
    CHECK(sessions().empty());
}

}  // namespace
