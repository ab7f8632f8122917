// The source's end of its own migration, with the real QEMU: who has the guest, and who says so.
#include "proxy/source_qemu.hpp"

#include <array>
#include <csignal>
#include <thread>

#include <doctest/doctest.h>
#include <sys/socket.h>

#include "parsers/qemu/stream_reader.hpp"
#include "proxy/input_buffer.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/scripted_qmp.hpp"
#include "tests/proxy/source_machine.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;
using Completion = SourceQemu::Completion;

namespace {

struct Fixture {
    SourceMachine machine;
    TestListener listener;
    Loop loop;
    TimeLimits limits;
    std::unique_ptr<Channel> channel;
    std::unique_ptr<SourceQemu> source;

    void migrate(bool return_path, bool qmp) {
        machine.migrate(listener.port, return_path);
        channel = std::make_unique<Channel>(loop, "source", listener.accepted());
        source = std::make_unique<SourceQemu>(loop, *channel, limits);
        source->set_return_path(return_path);
        if (!qmp) return;
        const auto connected = source->connect_qmp(machine.qmp);
        REQUIRE_MESSAGE(connected.has_value(), error_text(connected));
    }
    /// Takes its whole stream.
    void take() {
        qemu::StreamReader reader;
        InputBuffer input;
        while (!reader.finished()) {
            const auto step = reader.next(input.unread());
            REQUIRE_MESSAGE(step.has_value(), error_text(step));
            input.consume(step->consumed);
            if (step->event) continue;
            const auto count = source->read(input.space(step->need));
            REQUIRE_MESSAGE(count.has_value(), error_text(count));
            REQUIRE(*count > 0);
            input.arrived(*count);
        }
        source->set_whole();
    }
    void resumes() {
        const auto resumed = source->resume();
        REQUIRE_MESSAGE(resumed.has_value(), error_text(resumed));
        CHECK(*resumed == "the source runs");
        CHECK(machine.state() == "running");
    }
};

TEST_CASE_FIXTURE(Fixture, "with QMP completion is confirmed, and a guest given back runs again") {
    bool return_path = true;
    SUBCASE("with a return path it waits for us") {}
    SUBCASE("without one it does not wait") {
        return_path = false;
    }
    migrate(return_path, true);
    take();
    if (return_path) CHECK(machine.state() == "finish-migrate");
    const auto read = source->complete();
    CHECK_MESSAGE(read.completion == Completion::confirmed, read.why.text());
    CHECK(machine.state() == "postmigrate");
    CHECK(machine.migration() == "completed");
    resumes();
}

TEST_CASE_FIXTURE(Fixture, "a connection that ends before all is said: the source runs again") {
    bool return_path = true, whole = true;
    SUBCASE("after its last byte, with a return path") {}
    SUBCASE("after its last byte, without") {
        return_path = false;
    }
    SUBCASE("among the pages, with a return path") {
        whole = false;
    }
    SUBCASE("among the pages, without") {
        return_path = whole = false;
    }
    if (!whole) machine.command("migrate-set-parameters", {{"max-bandwidth", 100'000}});
    migrate(return_path, true);
    if (whole) {
        take();
    } else {
        std::array<std::byte, 4096> some{};
        CHECK(source->read(some));
    }
    resumes();
    CHECK(machine.migration() == (return_path || !whole ? "failed" : "completed"));
}

TEST_CASE_FIXTURE(Fixture, "without QMP only the end of its connection can be seen") {
    bool return_path = true;
    SUBCASE("with a return path") {}
    SUBCASE("without") {
        return_path = false;
    }
    migrate(return_path, false);
    take();
    const auto read = source->complete();
    CHECK_MESSAGE(read.completion == Completion::assumed, read.why.text());
    CHECK(machine.becomes("postmigrate"));
    const auto resumed = source->resume();
    REQUIRE(!resumed);
    CHECK(resumed.error().hint == "type `cont` in the source's monitor");
    CHECK(machine.state() == "postmigrate");
}

TEST_CASE_FIXTURE(Fixture, "without QMP, before the source was told: it resumes by itself") {
    migrate(true, false);
    take();
    const auto resumed = source->resume();
    REQUIRE(resumed);
    CHECK(*resumed == "the source runs on by itself (it cannot be asked: there is no QMP)");
    CHECK(machine.becomes("running"));
}

TEST_CASE_FIXTURE(Fixture, "a source that cancels after its last byte has the guest") {
    bool qmp = true;
    SUBCASE("QMP says so") {}
    SUBCASE("without QMP nobody knows") {
        qmp = false;
    }
    migrate(true, qmp);
    take();
    machine.command("migrate_cancel");
    CHECK(machine.becomes("running"));
    const auto read = source->complete();
    CHECK(read.completion == (qmp ? Completion::has_guest : Completion::unknown));
    if (qmp)
        CHECK(read.why.text() ==
              "source handing over: migration cancelled, machine running, expected completed, postmigrate");
    else
        CHECK(read.why.found == "it has closed its connection while it should wait");
}

TEST_CASE_FIXTURE(Fixture, "a source that has ended after its last byte is known to have ended") {
    migrate(true, true);
    take();
    machine.end();
    const auto read = source->complete();
    CHECK(read.completion == Completion::ended);
    const auto resumed = source->resume();
    REQUIRE(!resumed);
    CHECK(resumed.error().found == "its process has ended");
}

TEST_CASE_FIXTURE(Fixture, "a source that does not answer: nobody knows") {
    limits.source_confirms = limits.source_runs_again = limits.qmp_answers = 500ms;
    migrate(true, true);
    take();
    kill(machine.pid(), SIGSTOP);
    CHECK(source->complete().completion == Completion::unknown);
    CHECK(!source->resume());
    kill(machine.pid(), SIGCONT);
    // It has been told, and acts on that.
    CHECK(machine.becomes("postmigrate"));
}

TEST_CASE_FIXTURE(Fixture, "a guest that was paused is paused again") {
    machine.command("stop");
    machine.command("migrate-set-parameters", {{"max-bandwidth", 100'000}});
    migrate(true, true);
    CHECK(!source->was_running());
    machine.command("migrate-set-parameters", {{"max-bandwidth", 1'000'000'000}});
    take();
    CHECK(source->complete().completion == Completion::confirmed);
    const auto resumed = source->resume();
    REQUIRE(resumed);
    CHECK(*resumed == "the source is paused, as it was before");
    CHECK(machine.state() == "postmigrate");
}

TEST_CASE_FIXTURE(Fixture, "the QMP socket of a QEMU that does not migrate is another one's") {
    Channel none(loop, "source", Descriptor(dup(listener.socket.get())));
    SourceQemu other(loop, none, limits);
    const auto connected = other.connect_qmp(machine.qmp);
    REQUIRE(!connected);
    CHECK(connected.error().found == "its migration is none");
    CHECK(connected.error().hint == "is this the QMP socket of the QEMU that migrates to this listener?");
    limits.qmp_answers = 100ms;
    other.set_limits(limits);
    CHECK(!other.connect_qmp("/nowhere"));
}

TEST_CASE_FIXTURE(Fixture,
                  "the QMP socket of a QEMU that has gone elsewhere: its guest is never let run again") {
    SourceMachine elsewhere;
    elsewhere.command("migrate", {{"uri", "exec:cat >/dev/null"}});
    REQUIRE(elsewhere.becomes("postmigrate"));
    machine.migrate(listener.port, true);
    channel = std::make_unique<Channel>(loop, "source", listener.accepted());
    source = std::make_unique<SourceQemu>(loop, *channel, limits);
    source->set_return_path(true);
    SUBCASE("it is seen who has connected") {
        const auto connected = source->connect_qmp(elsewhere.qmp);
        REQUIRE(!connected);
        CHECK(connected.error().found == fmt::format("it is the QEMU with pid {}", elsewhere.pid()));
        CHECK(connected.error().expected == fmt::format("pid {}, which has connected", machine.pid()));
        CHECK(source->resume());
        CHECK(machine.becomes("running"));
    }
    SUBCASE("it is not seen: there is a relay between") {
        std::array<int, 2> ends{};
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
        const Descriptor relay(ends[1]);
        Channel between(loop, "source", Descriptor(ends[0]));
        SourceQemu unseen(loop, between, limits);
        const auto connected = unseen.connect_qmp(elsewhere.qmp);
        REQUIRE_MESSAGE(connected.has_value(), error_text(connected));
        const std::vector<char> sent(16u << 20);
        std::thread writer([&] { CHECK(write(relay.get(), sent.data(), sent.size()) > 0); });
        std::array<std::byte, 1u << 16> space{};
        for (std::size_t taken = 0; taken < sent.size();) {
            const auto count = unseen.read(space);
            REQUIRE(count);
            taken += *count;
        }
        writer.join();
        unseen.set_whole();
        const auto read = unseen.complete();
        CHECK(read.completion == Completion::unknown);
        CHECK(read.why.found.ends_with(" has sent another stream"));
        CHECK(!unseen.resume());
    }
    CHECK(elsewhere.state() == "postmigrate");
}

TEST_CASE_FIXTURE(Fixture, "a QEMU that has completed before it is asked is known by what it has sent") {
    machine.migrate(listener.port, false);
    channel = std::make_unique<Channel>(loop, "source", listener.accepted());
    source = std::make_unique<SourceQemu>(loop, *channel, limits);
    take();
    CHECK(machine.becomes("postmigrate"));
    const auto connected = source->connect_qmp(machine.qmp);
    REQUIRE_MESSAGE(connected.has_value(), error_text(connected));
    CHECK(source->complete().completion == Completion::confirmed);
    resumes();
}

/// The real one knows this capability from 8.1 on only.
TEST_CASE("a QEMU that waits for it is told that it may stop the guest, and no other one") {
    bool waits = true, return_path = true;
    std::string told("\0\7\0\0", 4);
    SUBCASE("with switchover-ack") {}
    SUBCASE("with the capability off") {
        waits = false;
        told.clear();
    }
    SUBCASE("without a return path") {
        return_path = false;
        told.clear();
    }
    Loop loop;
    const auto directory = std::move(*TemporaryDirectory::create());
    const auto path = directory.file("qmp");
    const ScriptedQmp qmp(
        path, {greeting, first_return, "{\"return\": {\"status\": \"active\"}, \"id\": 2}\r\n",
               "{\"return\": {\"status\": \"running\"}, \"id\": 3}\r\n",
               fmt::format("{{\"return\": [{{\"capability\": \"events\", \"state\": true}}, "
                           "{{\"capability\": \"switchover-ack\", \"state\": {}}}], \"id\": 4}}\r\n",
                           waits)});
    std::array<int, 2> ends{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    const Descriptor theirs(ends[0]);
    Channel channel(loop, "source", Descriptor(ends[1]));
    SourceQemu source(loop, channel, {});
    const auto connected = source.connect_qmp(path);
    REQUIRE_MESSAGE(connected.has_value(), error_text(connected));
    source.set_return_path(return_path);
    CHECK(source.approve_switchover());
    source.close();
    std::string heard(16, '\0');
    const auto count = read(theirs.get(), heard.data(), heard.size());
    REQUIRE(count >= 0);
    heard.resize(static_cast<std::size_t>(count));
    CHECK(heard == told);
}

TEST_CASE("a recording in its place never stands still, whatever it does on its connection") {
    Loop loop;
    std::array<int, 2> ends{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    Descriptor recording(ends[0]);
    Channel channel(loop, "source", Descriptor(ends[1]));
    TimeLimits limits;
    limits.source_confirms = 100ms;
    SourceQemu source(loop, channel, limits);
    source.set_recorded(true);
    auto completion = Completion::has_guest;
    SUBCASE("closed where it should wait") {
        source.set_return_path(true);
        recording.reset();
    }
    SUBCASE("open where it should have closed") {}
    SUBCASE("bytes behind the end") {
        REQUIRE(write(recording.get(), "x", 1) == 1);
    }
    SUBCASE("closed, as it should") {
        recording.reset();
        completion = Completion::assumed;
    }
    source.set_whole();
    CHECK(source.complete().completion == completion);
    const auto resumed = source.resume();
    REQUIRE_MESSAGE(resumed.has_value(), error_text(resumed));
    CHECK(*resumed == "the recording can be replayed again");
}

}  // namespace
