// After the source has been told: who has the guest is decided by what both sides have certainly said.
#include <csignal>

#include <doctest/doctest.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/resolve.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/to_xen_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

struct Fixture : ToXenFixture {
    Fixture() { options.limits.qemu_last_words = 100ms; }

    /// The operator has found out that the source shall have it.
    void resolved_to_run(const std::string& id) {
        const auto resolved = resolve_session(loop, state, id, Resolution::run, {});
        REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
        CHECK(machine.becomes("running"));
        CHECK(sessions().empty());
    }
    /// … that Xen has it.
    void resolved_to_destroy(const std::string& id) {
        const auto resolved = resolve_session(loop, state, id, Resolution::destroy, {});
        REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
        CHECK(process_start_time(machine.pid()) == 0);
        CHECK(sessions().empty());
    }
};

TEST_CASE_FIXTURE(Fixture, "xl reports a failure and gives the guest back: the source is continued") {
    const auto report = run([](ScriptedReceiver& peer) {
        if (peer.load() && peer.read_permission()) peer.refused();
    });
    REQUIRE(report.error);
    CHECK(report.error->text() ==
          "xl running the guest: its report says 255 (it has not read the permission), expected 0");
    CHECK(report.state == SessionState::loaded);
    CHECK(machine.becomes("running"));
    CHECK(machine.migration() == "completed");
    CHECK(xl->destroyed);
    CHECK(sessions().empty());
}

TEST_CASE_FIXTURE(Fixture, "xl gives the guest back, and nobody can tell the source") {
    qmp = false;
    SUBCASE("with a return path") {
        destination.options.allow = {"unconfirmed-source"};
    }
    SUBCASE("without") {
        return_path = false;
        destination.options.allow = {"blind-source"};
    }
    const auto report = run([](ScriptedReceiver& peer) {
        if (peer.load() && peer.read_permission()) peer.refused();
    });
    const auto record = in_doubt(report);
    CHECK(!record.permission);
    CHECK(report.error->hint ==
          "Xen has not got the guest, the source stands still: type `cont` in the "
          "source's monitor; then `vmferry resolve " +
              report.id + " run`");
    CHECK(machine.becomes("postmigrate"));
    machine.command("cont");
    CHECK(resolve_session(loop, state, report.id, Resolution::run, {}));
    CHECK(sessions().empty());
}

TEST_CASE_FIXTURE(Fixture, "xl reports a failure and no give-back: in doubt, all stand still") {
    SUBCASE("it ends") {}
    SUBCASE("it is silent") {
        options.limits.xl_gives_back = 200ms;
    }
    const auto report = run([this](ScriptedReceiver& peer) {
        if (!peer.load() || !peer.read_permission()) return;
        peer.say(xen::report);
        peer.say("\x03");
        if (options.limits.xl_gives_back < 1s) peer.at_end();
    });
    const auto record = in_doubt(report);
    CHECK(record.permission);
    CHECK(report.error->hint.find("`xl destroy web1--incoming`") != std::string::npos);
    CHECK(machine.becomes("postmigrate"));
    resolved_to_run(report.id);
}

TEST_CASE_FIXTURE(Fixture, "no whole report after the permission: in doubt, the source stands still") {
    ScriptedReceiver::Script script;
    SUBCASE("the receiver dies") {
        script = [](ScriptedReceiver& peer) { peer.load() && peer.read_permission(); };
    }
    SUBCASE("a part of the report") {
        script = [](ScriptedReceiver& peer) {
            peer.load() && peer.read_permission() && peer.say(xen::report.substr(0, 20));
        };
    }
    SUBCASE("all but its code") {
        script = [](ScriptedReceiver& peer) {
            peer.load() && peer.read_permission() && peer.say(xen::report);
        };
    }
    SUBCASE("other words") {
        script = [](ScriptedReceiver& peer) { peer.load() && peer.read_permission() && peer.say("done\n"); };
    }
    SUBCASE("silence") {
        options.limits.xl_reports = 200ms;
        script = [](ScriptedReceiver& peer) { peer.load() && peer.read_permission() && peer.at_end(); };
    }
    const auto report = run(script);
    const auto record = in_doubt(report);
    CHECK(xl->permission == xen::go);
    CHECK(record.permission);
    CHECK(report.error->hint.find("look at the Xen host") != std::string::npos);
    CHECK(report.error->hint.find("`xl destroy web1--incoming`") != std::string::npos);
    CHECK(machine.becomes("postmigrate"));
    // The guest stays claimed.
    const auto other = SessionDirectory::create(state, "web1", "");
    CHECK(!other);
    resolved_to_destroy(report.id);
}

TEST_CASE_FIXTURE(Fixture, "the receiver dies after ready: the source is continued") {
    const auto report = run([](ScriptedReceiver& peer) {
        peer.load();
        peer.stop_listening();
    });
    // Whether the permission is still taken by a socket that is closing is chance; if it is, nobody knows.
    REQUIRE(report.error);
    if (report.state == SessionState::in_doubt) {
        (void)in_doubt(report);
        CHECK(machine.becomes("postmigrate"));
    } else {
        (void)given_back(report);
    }
    CHECK(!xl->ran);
}

TEST_CASE_FIXTURE(Fixture,
                  "the command ends after ready: the permission finds nobody, the source is continued") {
    // As a dead ssh: both pipes are closed.
    destination.xl =
        "printf 'xl migration receiver ready, send binary domain data.\\n'; head -c 60000000 >/dev/null & "
        "exec 0<&-; wait";
    options.limits.xl_takes = options.limits.xl_loads = 500ms;
    const auto error = given_back(run());
    CHECK(error.format == "xl");
}

TEST_CASE_FIXTURE(Fixture, "the source dies after its last byte: Xen has the only copy, and runs it") {
    auto when = SessionState::in_doubt;
    SUBCASE("before it is told") {}
    SUBCASE("while Xen loads") {
        when = SessionState::paused_at_source;
    }
    at(when, [&] { machine.end(); });
    const auto report = run();
    CHECK(acted == 1);
    REQUIRE_MESSAGE(!report.error, error_text(report.error));
    CHECK(report.state == SessionState::reported);
    CHECK(xl->ran);
    CHECK(report.notes.at(0) == "the source's QEMU has ended after its last byte; Xen has the guest");
}

TEST_CASE_FIXTURE(Fixture, "the source dies before a dry run ends: the only copy is not destroyed") {
    options.dry_run = true;
    at(SessionState::loaded, [&] { machine.end(); });
    const auto report = run();
    (void)in_doubt(report);
    CHECK(!xl->ran);
    CHECK(!xl->destroyed);
    CHECK(report.error->hint.find("`xl unpause web1`") != std::string::npos);
    CHECK(resolve_session(loop, state, report.id, Resolution::destroy, {}));
    CHECK(sessions().empty());
}

TEST_CASE_FIXTURE(Fixture, "the source dies without a word, and there is no QMP to know it: in doubt") {
    qmp = false;
    destination.options.allow = {"unconfirmed-source"};
    at(SessionState::in_doubt, [&] { machine.end(); });
    const auto report = run();
    const auto record = in_doubt(report);
    CHECK(!record.permission);
    CHECK(!xl->ran);
    CHECK(!xl->destroyed);
}

TEST_CASE_FIXTURE(Fixture, "the source does not say what became of it: in doubt, no permission") {
    options.limits.source_confirms = options.limits.qmp_answers = 500ms;
    at(SessionState::in_doubt, [&] { kill(machine.pid(), SIGSTOP); });
    const auto report = run();
    const auto record = in_doubt(report);
    CHECK(!record.permission);
    CHECK(!xl->ran);
    CHECK(!xl->destroyed);  // it could not write its report
    CHECK(report.error->hint.find("look at the source") != std::string::npos);
    kill(machine.pid(), SIGCONT);
    CHECK(machine.becomes("postmigrate"));  // it had been told
    resolved_to_run(report.id);
}

}  // namespace
