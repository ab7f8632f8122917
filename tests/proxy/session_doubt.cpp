// After "ready": what becomes of the guest is decided by what the source has certainly seen.
#include <csignal>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>

#include "parsers/xen/handshake.hpp"
#include "proxy/qmp_call.hpp"
#include "proxy/resolve.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

struct Fixture : SessionFixture {
    /// The session is in doubt: QEMU holds the guest, paused, and nobody drives the session any more.
    void check_doubt(const SessionReport& report) {
        REQUIRE(report.error);
        CHECK(report.error->kind == ErrorKind::in_doubt);
        CHECK(report.state == SessionState::in_doubt);
        CHECK(report.error->hint.find("vmferry resolve " + report.id + " run") != std::string::npos);
        const auto driven = resolve_session(loop, state, report.id, Resolution::run, {});
        REQUIRE(!driven);
        CHECK(driven.error().kind == ErrorKind::usage);
        session.reset();
        const auto listed = sessions();
        REQUIRE(listed.size() == 1);
        CHECK(listed[0].state == "in doubt");
        CHECK(listed[0].qemu_alive);
        CHECK(!listed[0].driven);
        CHECK(!listed[0].note.empty());
        CHECK(qemu_state(report.qmp_socket) == "paused");
    }
    /// The source got its guest back, and our copy is gone.
    void check_given_back(const SessionReport& report) {
        REQUIRE(report.error);
        CHECK(source->report == 0xFF);
        CHECK(source->given_back);
        CHECK(report.state == SessionState::loaded);
        CHECK(nothing_left(report));
    }
};

/// Migrates the machine behind this QMP socket into nothing; afterwards it has let its images go.
void migrate_away(const std::string& socket) {
    Loop own;
    QmpClient qmp(own.uv(), "QEMU");
    CHECK(qmp_connect(own, qmp, socket, 5s));
    CHECK(qmp_call(own, qmp, "migrate", {{"uri", "exec:cat >/dev/null"}}, 5s));
    for (int i = 0; i < 500; ++i) {
        const auto status = qmp_call(own, qmp, "query-migrate", nullptr, 5s);
        if (status && status->value("status", "") == "completed") return;
        usleep(10'000);
    }
    FAIL_CHECK("the migration does not end");
}

TEST_CASE_FIXTURE(Fixture, "no whole permission: in doubt, until somebody decides") {
    std::size_t sent = 0;
    SUBCASE("none of it") {
        sent = 0;
    }
    SUBCASE("a part of it") {
        sent = 20;
    }
    SUBCASE("all but the last byte") {
        sent = xen::go.size() - 1;
    }
    const auto report = run([sent](ScriptedSource& peer) {
        peer.ready = peer.stream() && peer.expect(xen::ready);
        peer.send(xen::go.substr(0, sent));
    });
    CHECK(source->ready);
    check_doubt(report);
    CHECK(report.error->found.find(fmt::format("ended after {} of 44 bytes", sent)) != std::string::npos);
    const auto again = run(whole);  // the guest stays claimed
    REQUIRE(again.error);
    CHECK(again.error->kind == ErrorKind::refused);
    CHECK(again.error->hint == "vmferry resolve " + report.id + " run|destroy");
    session.reset();
    if (sent == 20) {
        const auto resolved = resolve_session(loop, state, report.id, Resolution::run, {});
        REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
        CHECK(qemu_state(report.qmp_socket) == "running");
        end_process(report.qemu_pid);
    } else {
        const auto resolved = resolve_session(loop, state, report.id, Resolution::destroy, {});
        REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
        CHECK(nothing_left(report));
        const auto again_resolved = resolve_session(loop, state, report.id, Resolution::run, {});
        REQUIRE(!again_resolved);
        CHECK(again_resolved.error().found == "no such session");
    }
}

TEST_CASE_FIXTURE(Fixture, "a source that does not answer ready, and a request to end meanwhile") {
    std::string found;
    SUBCASE("time limit") {
        destination.permission_timeout = 1s;
        found = "nothing within 1 s; so far: 0 of 44 bytes";
    }
    SUBCASE("asked to end") {
        found = "asked to end: terminated";
    }
    const auto report = run([&](ScriptedSource& peer) {
        peer.ready = peer.stream() && peer.expect(xen::ready);
        if (found.starts_with("asked")) loop.stop("terminated");
        CHECK(peer.at_end());
    });
    loop.clear_alarm();
    check_doubt(report);
    CHECK(report.error->found.find(found) != std::string::npos);
    end_process(report.qemu_pid);
}

TEST_CASE_FIXTURE(Fixture, "other bytes than the permission: our copy goes, the source resumes") {
    const auto report = run([](ScriptedSource& peer) {
        peer.ready = peer.stream() && peer.expect(xen::ready);
        peer.send("domain is mine, and stays here for good     ");
        peer.read_report();
    });
    check_given_back(report);
    CHECK(report.error->kind == ErrorKind::stream);
}

TEST_CASE_FIXTURE(Fixture, "QEMU dies between ready and permission: it has not run, the source resumes") {
    const auto report = run([this](ScriptedSource& peer) {
        peer.ready = peer.stream() && peer.expect(xen::ready);
        end_process(qemu_pid());
        peer.send(xen::go);
        peer.read_report();
    });
    check_given_back(report);
    CHECK(report.error->found.starts_with("was killed by signal 9"));
}

TEST_CASE_FIXTURE(Fixture, "cont is refused: it has not run, the source resumes") {
    // At the last moment QEMU loses its image to somebody else: a migration through another monitor makes it
    // let go, and the test takes the locks of one who writes (bytes 101 and 201, see check_image_unlocked).
    destination.extra = {"-qmp", "unix:" + directory.file("second") + ",server=on,wait=off"};
    const Descriptor intruder(open(image.c_str(), O_RDWR | O_CLOEXEC));
    const auto report = run([&](ScriptedSource& peer) {
        peer.ready = peer.stream() && peer.expect(xen::ready);
        migrate_away(directory.file("second"));
        struct flock lock {};
        lock.l_type = F_RDLCK;
        lock.l_start = 101;
        lock.l_len = 101;
        CHECK(fcntl(intruder.get(), F_OFD_SETLK, &lock) == 0);
        peer.send(xen::go);
        peer.read_report();
    });
    check_given_back(report);
    CHECK(report.error->found.find("lock") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "cont is not answered: neither side runs on its own") {
    options.limits.qmp_answers = 2s;
    const auto report = run([this](ScriptedSource& peer) {
        peer.ready = peer.stream() && peer.expect(xen::ready);
        kill(qemu_pid(), SIGSTOP);
        peer.send(xen::go);
        peer.read_report();
    });
    CHECK(source->report == 0xFF);
    CHECK(!source->given_back);
    REQUIRE(report.error);
    CHECK(report.error->kind == ErrorKind::in_doubt);
    CHECK(report.error->found.find("no answer within 2000 ms") != std::string::npos);
    CHECK(report.state == SessionState::in_doubt);
    CHECK(process_start_time(report.qemu_pid) != 0);
    session.reset();
    // The source has let go: nobody may be talked into destroying the only copy.
    const auto lost = resolve_session(loop, state, report.id, Resolution::destroy, {});
    REQUIRE(!lost);
    CHECK(lost.error().kind == ErrorKind::usage);
    kill(static_cast<pid_t>(report.qemu_pid), SIGCONT);
    const auto resolved = resolve_session(loop, state, report.id, Resolution::run, {});
    REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
    CHECK(qemu_state(report.qmp_socket) == "running");
    end_process(report.qemu_pid);
}

TEST_CASE_FIXTURE(Fixture, "the report does not arrive: the guest runs here, and that is said") {
    const auto report = run([](ScriptedSource& peer) {
        peer.ready = peer.stream() && peer.expect(xen::ready);
        peer.stop_listening();
        peer.send(xen::go);
    });
    CHECK(report.state == SessionState::running);
    REQUIRE(report.error);
    CHECK(report.error->kind == ErrorKind::environment);
    CHECK(report.error->hint.find("g2--migratedaway") != std::string::npos);
    CHECK(qemu_state(report.qmp_socket) == "running");
    const auto listed = sessions();
    REQUIRE(listed.size() == 1);
    CHECK(listed[0].state == "running");
    CHECK(listed[0].permission);
    CHECK(listed[0].note == report.error->text());
    end_process(report.qemu_pid);
}

TEST_CASE_FIXTURE(Fixture,
                  "other bytes than the permission, and nobody hears that they were wrong: in doubt") {
    const auto report = run([](ScriptedSource& peer) {
        peer.ready = peer.stream() && peer.expect(xen::ready);
        peer.stop_listening();
        peer.send("domain is mine");
    });
    check_doubt(report);
    CHECK(report.error->found.find("the source could not be told") != std::string::npos);
    end_process(report.qemu_pid);
}

}  // namespace
