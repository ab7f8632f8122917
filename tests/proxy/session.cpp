// The handover as it should be: the whole handshake, -p, a dry run, any size of reads.
#include "proxy/session.hpp"

#include <fstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "parsers/xen/handshake.hpp"
#include "proxy/resolve.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

std::vector<std::string> journal_states(const std::string& directory) {
    std::vector<std::string> states;
    std::ifstream journal(directory + "/journal");
    for (std::string line; std::getline(journal, line);) {
        const auto fields = nlohmann::json::parse(line);
        if (fields.contains("permission")) states.emplace_back("permission");
        if (fields.contains("state")) states.push_back(fields["state"]);
    }
    return states;
}

TEST_CASE_FIXTURE(SessionFixture, "a guest crosses, and the source is told") {
    std::vector<SessionState> shown;
    options.progress = [&](const SessionProgress& progress) {
        if (shown.empty() || shown.back() != progress.state) shown.push_back(progress.state);
    };
    const auto report = run(whole);
    REQUIRE_MESSAGE(!report.error, error_text(report.error));
    CHECK(report.state == SessionState::reported);
    CHECK(report.name == "g2");
    CHECK(report.uuid == "3db11e84-712c-4a51-99e4-347199d61911");
    CHECK(source->report == 0);
    CHECK(qemu_state(report.qmp_socket) == "running");
    CHECK(shown.back() == SessionState::reported);
    CHECK(std::ranges::is_sorted(shown));
    CHECK(report.counters.pages > 22'000);
    CHECK(report.handover.count() > 0);
    CHECK(report.handover < report.total);

    const auto listed = sessions();
    REQUIRE(listed.size() == 1);
    CHECK(listed[0].state == "reported");
    CHECK(listed[0].qemu_alive);
    CHECK(listed[0].permission);
    CHECK(!listed[0].paused);
    CHECK(journal_states(report.directory) ==
          std::vector<std::string>{"connecting", "copying", "paused at source", "loaded", "in doubt",
                                   "permission", "running", "reported"});
    for (const auto* file : {"command", "plan.json", "audit.json", "qemu.log"})
        CHECK_MESSAGE(std::ifstream(report.directory + "/" + file).good(), file);

    SUBCASE("a second session for the same guest is refused, and changes nothing") {
        const auto first = std::move(session);
        const auto second = run(whole);
        REQUIRE(second.error);
        CHECK(second.error->kind == ErrorKind::refused);
        CHECK(second.error->found.find(report.id) != std::string::npos);
        CHECK(!source->ready);
        CHECK(qemu_state(report.qmp_socket) == "running");
    }
    SUBCASE("it outlives its session, and is listed as over when it ends") {
        session.reset();
        CHECK(qemu_state(report.qmp_socket) == "running");
        CHECK(!sessions()[0].driven);
        const auto resolved = resolve_session(loop, state, report.id, Resolution::destroy, {});
        REQUIRE(!resolved);
        CHECK(resolved.error().kind == ErrorKind::usage);
    }
    end_process(report.qemu_pid);
    CHECK(!sessions()[0].qemu_alive);
}

TEST_CASE_FIXTURE(SessionFixture, "-p: the source is told that all is well, and the guest stays paused") {
    options.leave_paused = true;
    const auto report = run(whole);
    REQUIRE_MESSAGE(!report.error, error_text(report.error));
    CHECK(report.state == SessionState::reported);
    CHECK(report.paused);
    CHECK(source->report == 0);
    CHECK(qemu_state(report.qmp_socket) == "paused");
    CHECK(sessions()[0].paused);
    session.reset();
    const auto lost = resolve_session(loop, state, report.id, Resolution::destroy, {});
    REQUIRE(!lost);
    CHECK(lost.error().found == "the source has let the guest go: this is the only copy");
    const auto resolved = resolve_session(loop, state, report.id, Resolution::run, {});
    REQUIRE_MESSAGE(resolved.has_value(), error_text(resolved));
    CHECK(resolved->state == "running");
    CHECK(qemu_state(report.qmp_socket) == "running");
    end_process(report.qemu_pid);
}

TEST_CASE_FIXTURE(SessionFixture, "a dry run loads everything and gives the guest back") {
    options.dry_run = true;
    const auto report = run(whole);
    REQUIRE_MESSAGE(!report.error, error_text(report.error));
    CHECK(report.dry_run);
    CHECK(report.state == SessionState::loaded);
    CHECK(!source->ready);
    CHECK(nothing_left(report));
    CHECK(std::ifstream(report.directory + "/audit.json").good());
}

TEST_CASE_FIXTURE(SessionFixture, "reads of 4097 bytes give the same") {
    options.read_size = 4097;
    options.dry_run = true;
    const auto report = run(whole);
    REQUIRE_MESSAGE(!report.error, error_text(report.error));
    CHECK(report.state == SessionState::loaded);
}

}  // namespace
