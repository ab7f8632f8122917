// Recordings played to a session as xl would play them.
#include "proxy/replay.hpp"

#include <fstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proxy/twin.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

constexpr auto capture = VMFERRY_SOURCE_DIR "/captures/xen-4.17-linux-2vcpu-e1000-ide.up.zst";

struct Fixture : SessionFixture {
    ReplayReport play(const std::string& path, ReplayOptions replaying = {}) {
        auto file = InputFile::open(path);
        REQUIRE(file);
        replaying.session = options;
        auto report = replay(loop, std::move(*file), std::move(replaying));
        REQUIRE(report);
        return std::move(*report);
    }
};

TEST_CASE_FIXTURE(Fixture, "a recording with its permission; the guest gets its time") {
    destination.serial = {"file:" + directory.file("console")};
    std::uint64_t position = 0, size = 1;
    bool told = false;
    ReplayOptions replaying;
    replaying.run_for = 4s;
    replaying.progress = [&](const SessionProgress&, std::uint64_t at, std::uint64_t of) {
        position = at;
        size = of;
    };
    replaying.handed_over = [&](const SessionReport& report) {
        told = true;
        CHECK(report.state == SessionState::reported);
    };
    const auto report = play(capture, std::move(replaying));
    CHECK_MESSAGE(!report.session.error, error_text(report.session.error));
    CHECK(told);
    CHECK(report.source == ReplayOutcome::lets_go);
    CHECK(report.qemu_ended);
    CHECK(position == size);
    CHECK(nothing_left(report.session));
}

TEST_CASE_FIXTURE(Fixture, "detached, the guest stays") {
    ReplayOptions replaying;
    replaying.detach = true;
    const auto report = play(capture, std::move(replaying));
    CHECK(!report.qemu_ended);
    CHECK(qemu_state(report.session.qmp_socket) == "running");
    end_process(report.session.qemu_pid);
}

TEST_CASE_FIXTURE(Fixture, "a recording without permission (xl save), and a refused one") {
    std::ofstream(directory.file("plain"), std::ios::binary) << as_text(recording());
    options.dry_run = true;
    auto report = play(directory.file("plain"));
    CHECK(!report.session.error);
    CHECK(report.source == ReplayOutcome::resumes);
    CHECK(nothing_left(report.session));
    destination.disks.clear();
    report = play(directory.file("plain"));
    CHECK(report.session.error->kind == ErrorKind::refused);
    CHECK(report.source == ReplayOutcome::resumes);
}

TEST_CASE_FIXTURE(Fixture, "a file that breaks off is named as what it is") {
    std::ifstream in(capture, std::ios::binary);
    std::string half(3u << 20, '\0');
    in.read(half.data(), static_cast<std::streamsize>(half.size()));
    std::ofstream(directory.file("half"), std::ios::binary) << half;
    const auto report = play(directory.file("half"));
    REQUIRE(report.session.error);
    CHECK(report.session.error->kind == ErrorKind::stream);
    CHECK(report.session.error->text().find("zstd") != std::string::npos);
    CHECK(nothing_left(report.session));
}

TEST_CASE_FIXTURE(Fixture, "ending replay ends the guest's QEMU") {
    ReplayOptions replaying;
    replaying.handed_over = [&](const SessionReport&) { loop.stop("terminated"); };
    const auto report = play(capture, std::move(replaying));
    CHECK(report.session.state == SessionState::reported);
    CHECK(report.qemu_ended);
    CHECK(nothing_left(report.session));
}

TEST_CASE_FIXTURE(Fixture, "a template file instead of a twin: the destination's own CPU is asked") {
    options.dry_run = true;
    const auto with_twin = play(capture);
    REQUIRE(!with_twin.session.error);
    std::ifstream file(with_twin.session.directory + "/plan.json");
    const auto plan = nlohmann::json::parse(file);
    const auto twin = capture_twin(loop, {destination.qemu, plan.at("twin_arguments")}, {});
    REQUIRE(twin);
    destination.template_file = directory.file("template");
    std::ofstream(destination.template_file, std::ios::binary) << as_text(twin->stream);
    const auto report = play(capture);
    CHECK_MESSAGE(!report.session.error, error_text(report.session.error));
    CHECK(report.session.state == SessionState::loaded);
    destination.set["cpu"] = "qemu64";
    const auto other = play(capture);
    REQUIRE(other.session.error);
    CHECK(other.session.error->kind == ErrorKind::refused);
}

}  // namespace
