// Recorded QEMU streams played to a session towards Xen as QEMU would play them.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/replay.hpp"
#include "proxy/resolve.hpp"
#include "proxy/xen_template.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/recorded.hpp"
#include "tests/proxy/to_xen_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

constexpr auto captures = VMFERRY_SOURCE_DIR "/captures/";
constexpr auto with_return_path = "qemu-7.2/m1-tcp-plain-events.c0.s2d.zst";
constexpr auto without_return_path = "qemu-7.2/q22-i440fx-irq-run.bin.zst";

bool noted(const SessionReport& report, std::string_view text) {
    return std::ranges::any_of(report.notes, [&](const std::string& note) { return note == text; });
}

struct Fixture {
    Fixture() {
        static const XenTemplate xen =
            *read_xen_template(VMFERRY_SOURCE_DIR "/captures/templates/xen-4.17.zst");
        options.session.choose = [this](const auto& facts, const auto&) -> Result<XenHost> {
            facts_known = facts.has_value();
            XenHost host;
            host.xl = fmt::format("tcp:127.0.0.1:{}", xl->listener.port);
            host.xen = xen;
            if (!facts) without_facts(host.options, 64 * 1024);
            host.options.allow.insert("cpu-features");
            return host;
        };
        options.session.state_directory = state;
        options.session.limits.qemu_last_words = 100ms;
    }
    ReplayReport play(const std::string& path, ScriptedReceiver::Script script = ScriptedReceiver::whole) {
        xl = std::make_unique<ScriptedReceiver>(std::move(script));
        auto file = InputFile::open(path);
        REQUIRE_MESSAGE(file.has_value(), error_text(file));
        auto report = replay_to_xen(loop, std::move(*file), options);
        xl->join();
        REQUIRE_MESSAGE(report.has_value(), error_text(report));
        CHECK(report->session.recorded);
        CHECK(!report->qemu_ended);
        return std::move(*report);
    }
    ReplayReport play(Bytes stream, ScriptedReceiver::Script script = ScriptedReceiver::whole) {
        std::ofstream(directory.file("recording"), std::ios::binary) << as_text(stream);
        return play(directory.file("recording"), std::move(script));
    }
    [[nodiscard]] std::vector<SessionRecord> sessions() const { return list_sessions(state); }
    /// Nothing of it is left: xl never had the permission, no session is claimed. The error.
    Error withdrawn(const ReplayReport& report) {
        CHECK(report.session.state < SessionState::in_doubt);
        CHECK(!xl->ran);
        CHECK(xl->permission.empty());
        CHECK(sessions().empty());
        REQUIRE(report.session.error);
        return *report.session.error;
    }

    ReplayToXenOptions options;
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());
    std::string state = directory.file("state");
    std::unique_ptr<ScriptedReceiver> xl;
    Loop loop;
    bool facts_known = false;
};

TEST_CASE_FIXTURE(Fixture, "a recording goes to Xen, with nobody's QMP and no risk accepted for that") {
    std::string name;
    SUBCASE("with a return path") {
        name = with_return_path;
    }
    SUBCASE("without") {
        name = without_return_path;
    }
    SUBCASE("read a byte at a time") {
        name = with_return_path;
        options.session.read_size = 1;
    }
    std::uint64_t position = 0, size = 1;
    options.progress = [&](const SessionProgress&, std::uint64_t at, std::uint64_t of) {
        position = at;
        size = of;
    };
    const auto report = play(captures + name);
    REQUIRE_MESSAGE(!report.session.error, error_text(report.session.error));
    CHECK(report.session.state == SessionState::reported);
    CHECK(report.session.direction == Direction::to_xen);
    CHECK(report.session.name == "web1");
    CHECK(report.session.qmp_socket.empty());
    CHECK(report.source == ReplayOutcome::lets_go);
    CHECK(noted(report.session, "a living source would have let the guest go"));
    CHECK(!facts_known);
    CHECK(xl->ran);
    CHECK(position == size);
    CHECK(sessions().empty());
    CHECK(report.session.directory.starts_with(state + "/ended/web1-"));
    // No QEMU stands still anywhere: nobody is told to end it.
    for (const auto& note : report.session.notes) CHECK(note.find("quit") == std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "a dry run loads all of it, and xl's copy is withdrawn") {
    options.session.dry_run = true;
    auto outcome = ReplayOutcome::resumes;
    std::string name = with_return_path;
    SUBCASE("with a return path") {}
    SUBCASE("without: a source would not have waited") {
        name = without_return_path;
        outcome = ReplayOutcome::lets_go;
    }
    const auto report = play(captures + name);
    CHECK_MESSAGE(!report.session.error, error_text(report.session.error));
    CHECK(report.session.state == SessionState::loaded);
    CHECK(report.source == outcome);
    CHECK(xl->loaded);
    CHECK(xl->destroyed);
    CHECK(!xl->ran);
    CHECK(sessions().empty());
}

TEST_CASE_FIXTURE(Fixture, "a recording that is cut: the stream's error, and xl's copy withdrawn") {
    auto stream = load_capture(with_return_path);
    std::size_t cut = 0;
    SUBCASE("in its head, before xl is there") {
        cut = 0x30;
    }
    SUBCASE("behind PING") {
        cut = 0x28;
    }
    SUBCASE("among its pages") {
        cut = 0x20000;
    }
    SUBCASE("in its device state") {
        cut = stream.size() - 0x8000;
    }
    SUBCASE("of its last byte") {
        cut = stream.size() - 1;
    }
    stream.resize(cut);
    const auto report = play(stream);
    const auto error = withdrawn(report);
    CHECK(error.kind == ErrorKind::stream);
    CHECK_MESSAGE(error.found.find("the end of the stream") != std::string::npos, error.text());
    CHECK(report.source == ReplayOutcome::resumes);
    CHECK(noted(report.session, "a living source would run on"));
    CHECK(!xl->loaded);
    CHECK(xl->destroyed == (cut > 0x100));
}

TEST_CASE_FIXTURE(Fixture, "a damaged recording is named as what it is") {
    auto stream = load_capture(without_return_path);
    SUBCASE("a section of no known type") {
        stream[0x1a] = std::byte{0x55};
        CHECK(withdrawn(play(stream)).offset == 0x1a);
    }
    SUBCASE("bytes behind its end") {
        const auto size = stream.size();
        append(stream, std::string_view("more"));
        const auto report = play(stream);
        CHECK(withdrawn(report).offset == size);
        CHECK(report.source == ReplayOutcome::resumes);
    }
    SUBCASE("a compressed file that breaks off") {
        const auto path = captures + std::string("qemu-7.2/m2b-live-rounds.c0.s2d.zst");
        std::ifstream in(path, std::ios::binary);
        std::string half(std::filesystem::file_size(path) / 2, '\0');
        in.read(half.data(), static_cast<std::streamsize>(half.size()));
        CHECK(withdrawn(play(as_bytes(half))).text().find("zstd") != std::string::npos);
    }
    CHECK(!xl->loaded);
}

TEST_CASE_FIXTURE(Fixture, "the receiver refuses or closes: nothing is in doubt") {
    ScriptedReceiver::Script script;
    std::string found;
    SUBCASE("at once") {
        script = [](ScriptedReceiver&) {};
        found = "its output ended after 0 of 54 bytes";
    }
    SUBCASE("other words than the banner") {
        script = [](ScriptedReceiver& peer) { peer.say("Welcome to xenhost\n"); };
        found = "\"Welcome to xenhost\\n\"";
    }
    SUBCASE("instead of ready") {
        script = [](ScriptedReceiver& peer) {
            peer.say(xen::banner);
            peer.take_stream();
        };
        found = "its output ended after 0 of 34 bytes";
    }
    SUBCASE("after the permission, and it gives the guest back") {
        script = [](ScriptedReceiver& peer) {
            if (!peer.load() || !peer.read_permission()) return;
            peer.permission.clear();
            peer.refused();
        };
        found = "its report says 255 (it has not read the permission)";
    }
    for (const std::string name : {with_return_path, without_return_path}) {
        CAPTURE(name);
        const auto report = play(captures + name, script);
        const auto error = withdrawn(report);
        CHECK(error.kind == ErrorKind::environment);
        CHECK_MESSAGE(error.found.find(found) != std::string::npos, error.text());
        CHECK(noted(report.session, "the recording can be replayed again"));
    }
}

TEST_CASE_FIXTURE(Fixture, "no report after the permission: in doubt, with what to type") {
    const auto report = play(captures + std::string(with_return_path), [](ScriptedReceiver& peer) {
        if (peer.load()) peer.read_permission();
    });
    REQUIRE(report.session.error);
    CHECK(report.session.error->kind == ErrorKind::in_doubt);
    const auto& hint = report.session.error->hint;
    CHECK(hint.starts_with("look at the Xen host (xl list): web1 runs there -> `vmferry resolve "));
    CHECK(hint.find("`xl destroy web1--incoming`") != std::string::npos);
    CHECK(report.source == ReplayOutcome::lets_go);
    const auto listed = sessions();
    REQUIRE(listed.size() == 1);
    CHECK(listed[0].state == "in doubt");
    CHECK(listed[0].permission);
    CHECK(listed[0].recorded);
    for (const auto what : {Resolution::run, Resolution::destroy}) {
        CAPTURE(what == Resolution::run);
        CHECK(resolve_session(loop, state, report.session.id, what, {}).has_value() ==
              (what == Resolution::run));
    }
    CHECK(sessions().empty());
}

TEST_CASE_FIXTURE(Fixture, "an operator who ends it before the source is told: withdrawn") {
    options.session.progress = [&](const SessionProgress& progress) {
        if (progress.state == SessionState::loaded) loop.stop("terminated");
    };
    const auto report = play(captures + std::string(without_return_path));
    loop.clear_alarm();
    CHECK(withdrawn(report).text() == "vmferry asked to end: terminated");
    CHECK(xl->destroyed);
}

TEST_CASE_FIXTURE(Fixture, "the QEMU that was recorded can be asked, but must not run") {
    SourceMachine machine;
    options.session.source_qmp = machine.qmp;
    SUBCASE("it runs") {
        const auto report = play(captures + std::string(with_return_path));
        const auto error = withdrawn(report);
        CHECK(error.kind == ErrorKind::refused);
        CHECK(error.found == "it runs the guest that is to run in Xen");
        CHECK(machine.state() == "running");
    }
    SUBCASE("it runs, and Xen's copy never will") {
        options.session.dry_run = true;
        const auto report = play(captures + std::string(with_return_path));
        CHECK_MESSAGE(!report.session.error, error_text(report.session.error));
        CHECK(machine.state() == "running");
    }
    SUBCASE("it stands still") {
        CHECK(!machine.command("stop").is_null());
        const auto report = play(captures + std::string(with_return_path));
        REQUIRE_MESSAGE(!report.session.error, error_text(report.session.error));
        CHECK(facts_known);
        CHECK(report.session.qmp_socket.empty());
        CHECK(machine.state() == "paused");
    }
}

}  // namespace
