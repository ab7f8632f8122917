// What sessions leave on disk: who claims which guest, what a journal tells, what is kept.
#include "proxy/session_directory.hpp"

#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proxy/temporary_directory.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/file_size_limit.hpp"

using namespace vmferry;
using namespace vmferry::test;
using Sync = SessionDirectory::Sync;

namespace {

struct Fixture {
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());
    std::string state = directory.file("state");

    std::unique_ptr<SessionDirectory> claimed(const std::string& name, const std::string& uuid) {
        auto made = SessionDirectory::create(state, name, uuid);
        REQUIRE_MESSAGE(made.has_value(), error_text(made));
        return std::move(*made);
    }
};

TEST_CASE_FIXTURE(Fixture, "one session for a name or uuid") {
    const auto first = claimed("web1", "3db1");
    for (const auto& [name, uuid] : {std::pair("web1", "0000"), std::pair("web2", "3db1")}) {
        const auto second = SessionDirectory::create(state, name, uuid);
        REQUIRE(!second);
        CHECK(second.error().kind == ErrorKind::refused);
        CHECK(second.error().text() == "session claiming the guest: session " + first->id() +
                                           " has web1 (3db1), state connecting, expected one session for a "
                                           "name or uuid (vmferry sessions)");
    }
    const auto other = claimed("web2", "0000");
    const auto nameless = claimed("web3", ""), another = claimed("web4", "");
    CHECK(list_sessions(state).size() == 4);
}

TEST_CASE_FIXTURE(Fixture, "a guest is free again when its session is over, but not while it is in doubt") {
    auto first = claimed("web1", "3db1");
    SUBCASE("nobody drives it and nothing of it runs") {
        CHECK(!list_sessions(state).at(0).is_over());
        first.reset();
        CHECK(!list_sessions(state).at(0).driven);
        CHECK(list_sessions(state).at(0).is_over());
        const auto second = claimed("web1", "3db1");
        CHECK(list_sessions(state).size() == 1);
    }
    SUBCASE("in doubt") {
        REQUIRE(first->note({{"state", "in doubt"}}, Sync::yes));
        const auto id = first->id();
        first.reset();
        CHECK(!list_sessions(state).at(0).is_over());
        const auto second = SessionDirectory::create(state, "web1", "3db1");
        REQUIRE(!second);
        CHECK(second.error().hint == "vmferry resolve " + id + " run|destroy");
    }
    SUBCASE("its QEMU runs") {
        REQUIRE(first->note({{"state", "reported"},
                             {"qemu_pid", getpid()},
                             {"qemu_start_time", process_start_time(getpid())}},
                            Sync::yes));
        first.reset();
        CHECK(!SessionDirectory::create(state, "web1", "3db1"));
    }
    SUBCASE("its QEMU's pid is another process now") {
        REQUIRE(first->note({{"state", "reported"},
                             {"qemu_pid", getpid()},
                             {"qemu_start_time", process_start_time(getpid()) + 1}},
                            Sync::yes));
        first.reset();
        CHECK(SessionDirectory::create(state, "web1", "3db1").has_value());
    }
}

TEST_CASE_FIXTURE(Fixture, "lines of a journal are merged in order; one that was cut by a crash is none") {
    const auto session = claimed("web1", "3db1");
    REQUIRE(session->note({{"state", "copying"}, {"qemu_pid", 17}}, Sync::no));
    REQUIRE(session->note({{"state", "loaded"}, {"note", "half way"}}, Sync::yes));
    std::ofstream(session->path() + "/journal", std::ios::app) << R"({"state": "runn)";
    const auto found = find_session(state, session->id());
    REQUIRE(found);
    CHECK(found->state == "loaded");
    CHECK(found->note == "half way");
    CHECK(found->qemu_pid == 17);
    CHECK(found->vmferry_pid == getpid());
    CHECK(found->driven);
    CHECK(!found->qemu_alive);
}

TEST_CASE_FIXTURE(Fixture, "a line that the disk did not take whole leaves nothing behind") {
    const auto session = claimed("web1", "3db1");
    const auto size = std::filesystem::file_size(session->path() + "/journal");
    {
        const FileSizeLimit full(size + 5);
        const auto noted = session->note({{"state", "copying"}}, Sync::no);
        REQUIRE(!noted);
        CHECK(noted.error().text().starts_with("journal writing: the disk took 5 of "));
    }
    CHECK(std::filesystem::file_size(session->path() + "/journal") == size);
    REQUIRE(session->note({{"state", "loaded"}}, Sync::yes));
    CHECK(list_sessions(state).at(0).state == "loaded");
}

TEST_CASE_FIXTURE(Fixture, "a session that cannot write its first line claims nothing") {
    {
        const FileSizeLimit full(10);
        CHECK(!SessionDirectory::create(state, "web1", "3db1"));
    }
    CHECK(list_sessions(state).empty());
}

TEST_CASE_FIXTURE(Fixture, "names from a stream become no paths") {
    const auto session = claimed("../../etc/" + std::string(100, 'x'), "");
    CHECK(session->path().starts_with(state + "/sessions/------etc-xxxxxxxxxxxxxxxxxxxxxx-"));
}

TEST_CASE_FIXTURE(Fixture, "of the sessions that are over the newest are kept") {
    std::string last;
    for (int i = 0; i < 40; ++i) {
        const auto session = claimed("web" + std::to_string(i), "");
        last = session->archive();
    }
    std::size_t kept = 0;
    for (const auto& entry : std::filesystem::directory_iterator(state + "/ended")) kept += entry.exists();
    CHECK(kept == 32);
    CHECK(std::filesystem::exists(last + "/journal"));
    CHECK(list_sessions(state).empty());
}

TEST_CASE_FIXTURE(Fixture, "a guest that came from Xen and runs here may go to Xen, but not twice at once") {
    auto came = claimed("web1", "3db1");
    REQUIRE(came->note(
        {{"state", "reported"}, {"qemu_pid", getpid()}, {"qemu_start_time", process_start_time(getpid())}},
        Sync::yes));
    came.reset();
    auto goes = SessionDirectory::create(state, "web1", "3db1", Direction::to_xen);
    REQUIRE_MESSAGE(goes.has_value(), error_text(goes));
    CHECK(!SessionDirectory::create(state, "web1", "3db1", Direction::to_xen));
    const auto listed = find_session(state, (*goes)->id());
    REQUIRE(listed);
    CHECK(listed->direction == Direction::to_xen);
    // Nobody drives it any more: its source's QEMU is there, but claims nothing.
    REQUIRE((*goes)->note(
        {{"state", "loaded"}, {"qemu_pid", getpid()}, {"qemu_start_time", process_start_time(getpid())}},
        Sync::yes));
    SUBCASE("the source has resumed by itself") {
        goes->reset();
        CHECK(SessionDirectory::create(state, "web1", "3db1", Direction::to_xen).has_value());
    }
    SUBCASE("the source did not wait, and has completed") {
        REQUIRE((*goes)->note({{"source_does_not_wait", true}}, Sync::yes));
        const auto id = (*goes)->id();
        goes->reset();
        CHECK(find_session(state, id)->state == "in doubt");
        CHECK(!SessionDirectory::create(state, "web1", "3db1", Direction::to_xen));
    }
}

}  // namespace
