// The handover to Xen when all goes well, and every failure before the permission: the source runs again.
#include "proxy/session_to_xen.hpp"

#include <algorithm>
#include <csignal>
#include <filesystem>

#include <doctest/doctest.h>

#include "parsers/xen/handshake.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/file_size_limit.hpp"
#include "tests/proxy/to_xen_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

bool noted(const SessionReport& report, std::string_view text) {
    return std::ranges::any_of(report.notes, [&](const std::string& note) { return note.starts_with(text); });
}

struct Fixture : ToXenFixture {
    [[nodiscard]] std::uintmax_t journal_size() const {
        return std::filesystem::file_size(sessions().at(0).directory + "/journal");
    }
};

TEST_CASE_FIXTURE(Fixture, "a guest goes to Xen, and stands still at the source") {
    SUBCASE("with return path and QMP") {}
    SUBCASE("without return path") {
        return_path = false;
    }
    SUBCASE("without QMP, accepted by name") {
        qmp = false;
        destination.options.allow = {"unconfirmed-source"};
    }
    SUBCASE("without both, accepted by name") {
        qmp = return_path = false;
        destination.options.allow = {"blind-source"};
    }
    const auto report = run();
    REQUIRE_MESSAGE(!report.error, error_text(report.error));
    CHECK(report.state == SessionState::reported);
    CHECK(report.direction == Direction::to_xen);
    CHECK(report.name == "web1");
    CHECK(report.counters.pages >= (64u << 20) / page_size);
    CHECK(xl->ran);
    CHECK(machine.becomes("postmigrate"));
    CHECK(machine.migration() == "completed");
    CHECK(sessions().empty());
    CHECK(report.directory.starts_with(state + "/ended/web1-"));
    for (const auto* file : {"journal", "command", "domain.json", "audit.json"})
        CHECK(std::filesystem::exists(report.directory + "/" + file));
}

TEST_CASE_FIXTURE(Fixture, "a source that cannot be asked is refused, unless that is accepted by name") {
    qmp = false;
    std::string rule;
    SUBCASE("no QMP") {
        rule = "unconfirmed-source";
    }
    SUBCASE("no QMP and no return path") {
        return_path = false;
        destination.options.allow = {"unconfirmed-source"};
        rule = "blind-source";
    }
    // Else a guest as small as this one has written all of its stream before anybody has read its head.
    machine.command("migrate-set-parameters", {{"max-bandwidth", 100'000}});
    const auto report = run();
    const auto error = given_back(report);
    CHECK(noted(report, "the source runs on by itself"));
    CHECK(error.kind == ErrorKind::refused);
    CHECK(error.record == rule);
}

TEST_CASE_FIXTURE(Fixture, "a dry run goes up to ready, and gives the guest back") {
    options.dry_run = true;
    SUBCASE("with return path") {}
    SUBCASE("without") {
        return_path = false;
    }
    const auto report = run();
    CHECK_MESSAGE(!report.error, error_text(report.error));
    CHECK(report.state == SessionState::loaded);
    CHECK(xl->loaded);
    CHECK(xl->destroyed);
    CHECK(!xl->ran);
    CHECK(noted(report, "the source runs"));
    CHECK(machine.becomes("running"));
    CHECK(sessions().empty());
}

TEST_CASE_FIXTURE(Fixture, "the receiver fails before ready") {
    ScriptedReceiver::Script script;
    std::string found;
    options.limits.qemu_last_words = 100ms;
    SUBCASE("other words than the banner") {
        script = [](ScriptedReceiver& peer) { peer.say("Welcome to xenhost\n"); };
        found = "\"Welcome to xenhost\\n\"";
    }
    SUBCASE("it closes at once") {
        script = [](ScriptedReceiver&) {};
        found = "its output ended after 0 of 54 bytes";
    }
    SUBCASE("it closes among the pages") {
        machine.command("migrate-set-parameters", {{"max-bandwidth", 100'000}});
        script = [](ScriptedReceiver& peer) {
            peer.say(xen::banner);
            peer.take_some();
        };
        found = "";
    }
    SUBCASE("it speaks among the pages") {
        machine.command("migrate-set-parameters", {{"max-bandwidth", 100'000}});
        script = [](ScriptedReceiver& peer) {
            peer.say(xen::banner);
            peer.take_some();
            peer.say("xl: something is wrong\n");
            peer.take_stream();
        };
        found = "instead of silence it said on its output: \"xl: something is wrong\\n\"";
    }
    SUBCASE("it closes instead of ready") {
        script = [](ScriptedReceiver& peer) {
            peer.say(xen::banner);
            peer.take_stream();
        };
        found = "its output ended after 0 of 34 bytes";
    }
    SUBCASE("a part of ready") {
        script = [](ScriptedReceiver& peer) {
            peer.say(xen::banner);
            peer.take_stream();
            peer.say(xen::ready.substr(0, 33));
        };
        found = "its output ended after 33 of 34 bytes";
    }
    SUBCASE("silence instead of the banner") {
        options.limits.xl_starts = options.limits.xl_ends = 200ms;
        script = [](ScriptedReceiver& peer) { peer.at_end(); };
        found = "nothing within 0.2 s";
    }
    SUBCASE("silence instead of ready") {
        options.limits.xl_loads = options.limits.xl_ends = 200ms;
        script = [](ScriptedReceiver& peer) {
            peer.say(xen::banner);
            peer.take_stream();
            peer.at_end();
        };
        found = "nothing within 0.2 s";
    }
    const auto report = run(script);
    CHECK(noted(report, "the source runs"));
    const auto error = given_back(report);
    CHECK(error.kind == ErrorKind::environment);
    CHECK_MESSAGE(error.found.find(found) != std::string::npos, error.text());
}

TEST_CASE_FIXTURE(Fixture, "a command that fails: its last words stand in the error") {
    destination.xl = "echo 'ssh: Could not resolve hostname xenhost' >&2; exit 255";
    const auto error = given_back(run());
    CHECK(error.found == "ended with status 255; it said: ssh: Could not resolve hostname xenhost");
}

TEST_CASE_FIXTURE(Fixture, "the source ends or cancels among its pages") {
    machine.command("migrate-set-parameters", {{"max-bandwidth", 100'000}});
    bool killed = false;
    SUBCASE("it is killed") {
        killed = true;
        at(SessionState::copying, [&] { machine.end(); });
    }
    SUBCASE("it cancels") {
        at(SessionState::copying, [&] { machine.command("migrate_cancel"); });
    }
    const auto report = run();
    CHECK(acted == 1);
    CHECK(!xl->ran);
    CHECK(xl->destroyed);
    REQUIRE(report.error);
    CHECK(report.error->kind == ErrorKind::stream);
    CHECK(sessions().empty());
    if (killed)
        CHECK(noted(report, "source running the guest again: its process has ended"));
    else
        (void)given_back(report);
}

TEST_CASE_FIXTURE(Fixture, "the source cancels after its last byte: it has the guest") {
    SUBCASE("while Xen loads") {
        at(SessionState::paused_at_source, [&] {
            machine.command("migrate_cancel");
            CHECK(machine.becomes("running"));
        });
    }
    SUBCASE("when Xen has loaded") {
        at(SessionState::in_doubt, [&] {
            machine.command("migrate_cancel");
            CHECK(machine.becomes("running"));
        });
    }
    const auto error = given_back(run());
    CHECK(acted == 1);
    CHECK(xl->destroyed);
    CHECK(error.found == "migration cancelled, machine running");
}

TEST_CASE_FIXTURE(Fixture, "an operator who ends vmferry before the source is told gives the guest back") {
    const auto ends = [&] { loop.stop("terminated"); };
    SUBCASE("while the destination is chosen") {
        options.choose = [&](const auto&, const auto&) -> Result<XenHost> {
            loop.stop("terminated");
            return destination;
        };
    }
    SUBCASE("among the pages") {
        at(SessionState::copying, ends);
    }
    SUBCASE("while Xen loads") {
        at(SessionState::paused_at_source, ends);
    }
    SUBCASE("when it has loaded") {
        at(SessionState::loaded, ends);
        // xl hears the end of its input, and tells that its copy is gone.
    }
    CHECK(given_back(run()).text() == "vmferry asked to end: terminated");
    loop.clear_alarm();
}

TEST_CASE_FIXTURE(Fixture, "an operator who ends vmferry after that does not stop the handover") {
    at(SessionState::in_doubt, [&] { loop.stop("terminated"); });
    const auto report = run();
    loop.clear_alarm();
    CHECK(acted == 1);
    REQUIRE_MESSAGE(!report.error, error_text(report.error));
    CHECK(xl->ran);
}

TEST_CASE_FIXTURE(Fixture, "the journal cannot be written: the source runs again") {
    std::optional<FileSizeLimit> full;
    SUBCASE("the state directory cannot be made") {
        options.state_directory = "/proc/nothing";
        CHECK(given_back(run()).text() ==
              "state directory making /proc/nothing/sessions: No such file or directory");
    }
    SUBCASE("before the source is told") {
        at(SessionState::loaded, [&] { full.emplace(journal_size()); });
        const auto report = run();
        full.reset();
        CHECK(given_back(report).text() == "journal writing: File too large");
    }
    SUBCASE("before the permission: the source is continued") {
        at(SessionState::in_doubt, [&] { full.emplace(journal_size() + 20); });
        const auto report = run();
        full.reset();
        CHECK(given_back(report).text().starts_with("journal writing: the disk took 20 of "));
        CHECK(machine.migration() == "completed");
    }
    CHECK(xl->destroyed == (acted == 1));
}

TEST_CASE_FIXTURE(Fixture, "a destination that is refused costs the source nothing") {
    options.choose = [](const auto&, const auto&) -> Result<XenHost> {
        return std::unexpected(Error{ErrorKind::refused, "destination", "web1", {}, 0, "unknown", {}});
    };
    CHECK(given_back(run()).kind == ErrorKind::refused);
}

TEST_CASE_FIXTURE(Fixture, "the QMP socket of another QEMU is noticed") {
    SourceMachine other;
    options.source_qmp = other.qmp;
    qmp = false;
    const auto error = given_back(run());
    CHECK(error.found == fmt::format("it is the QEMU with pid {}", other.pid()));
    CHECK(error.expected == fmt::format("pid {}, which has connected", machine.pid()));
}

}  // namespace
