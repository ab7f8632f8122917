// What surrounds a session: state directory, journal, spill file, other sessions, the operator.
#include <filesystem>
#include <fstream>
#include <optional>

#include <doctest/doctest.h>

#include "parsers/xen/handshake.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/file_size_limit.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

struct Fixture : SessionFixture {
    [[nodiscard]] std::uintmax_t journal_size() const {
        return std::filesystem::file_size(sessions().at(0).directory + "/journal");
    }
};

TEST_CASE_FIXTURE(SessionFixture, "the state directory cannot be written") {
    SUBCASE("it cannot be made") {
        options.state_directory = "/proc/nothing";
        CHECK(failure(whole).text() ==
              "state directory making /proc/nothing/sessions: No such file or directory");
    }
    SUBCASE("the disk is full at the journal's first line") {
        std::optional<FileSizeLimit> full;
        options.choose = [&](const DomainConfig&) -> Result<DestinationOptions> {
            full.emplace(10);
            return destination;
        };
        CHECK(failure(whole).text().starts_with("journal writing: the disk took 10 of "));
    }
    SUBCASE("the disk is full at the plan") {
        std::optional<FileSizeLimit> full;
        options.choose = [&](const DomainConfig&) -> Result<DestinationOptions> {
            full.emplace(1000);
            return destination;
        };
        const auto error = failure(whole);
        CHECK(error.text().starts_with("state directory writing " + state));
        CHECK(error.text().ends_with("/plan.json: File too large"));
    }
}

TEST_CASE_FIXTURE(Fixture, "the journal cannot be written when ready is due: ready is not said") {
    std::optional<FileSizeLimit> full;
    at(SessionState::loaded, [&] { full.emplace(journal_size()); });
    const auto error = failure(whole);
    CHECK(acted == 1);
    CHECK(error.text() == "journal writing: File too large");
}

TEST_CASE_FIXTURE(Fixture,
                  "the journal cannot be written after the permission: the guest runs, and it is said") {
    std::optional<FileSizeLimit> full;
    // Some bytes are still taken: what is cut must not stay.
    at(SessionState::in_doubt, [&] { full.emplace(journal_size() + 20); });
    const auto report = run(whole);
    full.reset();
    CHECK(acted == 1);
    CHECK(source->report == 0);
    CHECK(qemu_state(report.qmp_socket) == "running");
    CHECK(!report.error);
    CHECK(report.state == SessionState::reported);
    CHECK(report.notes.size() == 3);  // permission, running, reported
    for (const auto& note : report.notes) CHECK(note.starts_with("journal writing: the disk took 20 of "));
    std::ifstream journal(report.directory + "/journal");
    for (std::string line; std::getline(journal, line);) CHECK(line.ends_with('}'));
    end_process(report.qemu_pid);
}

TEST_CASE_FIXTURE(SessionFixture, "pages that must wait find no place") {
    std::optional<FileSizeLimit> full;
    std::string text;
    SUBCASE("more than the operator allows") {
        destination.spill_bytes = 16384;
        text =
            "spill file holding pages back until the device records arrive: more than 16384 bytes of pages "
            "outside plain RAM, expected less, or a larger spill limit";
    }
    SUBCASE("no directory") {
        destination.spill_directory = directory.file("nothing");
        text = "spill file making a file in " + destination.spill_directory + ": No such file or directory";
    }
    SUBCASE("a full disk") {
        destination.spill_directory = directory.path();
        at(SessionState::copying, [&] { full.emplace(1u << 20); });
        text = "spill file writing a page to " + directory.path() + ": File too large";
    }
    CHECK(failure(whole).text() == text);
}

TEST_CASE_FIXTURE(SessionFixture, "an operator who ends vmferry before ready gives the guest back") {
    ScriptedSource::Script script = whole;
    SUBCASE("while the source is silent") {
        script = [&](ScriptedSource& peer) {
            peer.expect(xen::banner);
            loop.stop("terminated");
            CHECK(peer.at_end());
        };
    }
    SUBCASE("while the destination is prepared") {
        options.choose = [&](const DomainConfig&) -> Result<DestinationOptions> {
            loop.stop("terminated");
            return destination;
        };
    }
    auto when = SessionState::reported;
    SUBCASE("among the pages") {
        when = SessionState::copying;
    }
    SUBCASE("while it loads") {
        when = SessionState::paused_at_source;
    }
    SUBCASE("when it has loaded") {
        when = SessionState::loaded;
    }
    if (when != SessionState::reported) at(when, [&] { loop.stop("terminated"); });
    CHECK(failure(script).text() == "vmferry asked to end: terminated");
}

TEST_CASE_FIXTURE(SessionFixture,
                  "an operator who ends vmferry after the permission does not stop the handover") {
    at(SessionState::running, [&] { loop.stop("terminated"); });
    const auto report = run(whole);
    loop.clear_alarm();
    CHECK(acted == 1);
    REQUIRE_MESSAGE(!report.error, error_text(report.error));
    CHECK(report.state == SessionState::reported);
    CHECK(source->report == 0);
    CHECK(qemu_state(report.qmp_socket) == "running");
    end_process(report.qemu_pid);
}

}  // namespace
