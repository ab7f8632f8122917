// What a recorded QEMU says on its connection, and what it makes of what it hears.
#include "proxy/replay_as_qemu.hpp"

#include <fstream>

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include "parsers/wire/bytes.hpp"
#include "proxy/temporary_directory.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/recorded.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

constexpr auto with_return_path = "qemu-7.2/m1-tcp-plain-events.c0.s2d.zst";
constexpr auto without_return_path = "qemu-7.2/q22-i440fx-irq-run.bin.zst";

Buffer answer(std::uint16_t type, std::uint32_t value) {
    Buffer message;
    append_be<std::uint16_t>(message, type);
    append_be<std::uint16_t>(message, 4);
    append_be<std::uint32_t>(message, value);
    return message;
}
Buffer shut(std::uint32_t how) {
    return answer(1, how);
}

struct Fixture {
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());
    Descriptor here;
    std::unique_ptr<ReplaySource> source;

    void play(Bytes stream) {
        std::ofstream(directory.file("recording"), std::ios::binary) << as_text(stream);
        auto file = InputFile::open(directory.file("recording"));
        REQUIRE_MESSAGE(file.has_value(), error_text(file));
        std::array<int, 2> ends{};
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
        here = Descriptor(ends[0]);
        source = std::make_unique<ReplaySource>(std::move(*file), Descriptor(ends[1]), replay_as_qemu);
    }
    /// So many bytes, or less at the end of the connection.
    [[nodiscard]] Buffer take(std::size_t count) const {
        Buffer got(count);
        std::size_t at = 0;
        while (at < count) {
            const auto more = ::recv(here.get(), got.data() + at, count - at, 0);
            if (more <= 0) break;
            at += static_cast<std::size_t>(more);
        }
        got.resize(at);
        return got;
    }
    /// Nothing comes, and the connection is open, for as long as a thread needs to do what it should not.
    [[nodiscard]] bool waits() const {
        pollfd readable{here.get(), POLLIN, 0};
        return poll(&readable, 1, 100) == 0;
    }
    [[nodiscard]] bool closes() const { return take(1).empty(); }
    void say(Bytes bytes) const { CHECK(send_all(here.get(), bytes)); }
    ReplaySource::End end() {
        here.reset();
        return source->end();
    }
};

TEST_CASE_FIXTURE(Fixture, "with a return path it waits for the word that all is loaded") {
    const auto stream = load_capture(with_return_path);
    play(stream);
    CHECK(take(stream.size()) == stream);
    CHECK(waits());
    auto outcome = ReplayOutcome::resumes;
    SUBCASE("loaded") {
        // PONG and SHUT come together, or in pieces: both are read.
        auto words = answer(2, 1);
        append(words, shut(0));
        SUBCASE("at once") {
            say(words);
        }
        SUBCASE("byte by byte") {
            for (const auto byte : words) say({&byte, 1});
        }
        CHECK(closes());
        outcome = ReplayOutcome::lets_go;
    }
    SUBCASE("not loaded") {
        say(shut(1));
        CHECK(closes());
    }
    SUBCASE("only other words") {
        say(answer(2, 0));
        CHECK(waits());
    }
    SUBCASE("a part of the word") {
        say(Bytes(shut(0)).first(7));
        CHECK(waits());
    }
    SUBCASE("nothing") {}
    const auto ended = end();
    CHECK(ended.outcome == outcome);
    CHECK(!ended.error);
}

TEST_CASE_FIXTURE(Fixture, "without a return path it has let go with its last byte") {
    const auto stream = load_capture(without_return_path);
    play(stream);
    SUBCASE("all of it is taken") {
        CHECK(take(stream.size()) == stream);
        CHECK(closes());
        CHECK(end().outcome == ReplayOutcome::lets_go);
    }
    SUBCASE("the other side closes before") {
        CHECK(take(1000).size() == 1000);
        CHECK(end().outcome == ReplayOutcome::resumes);
    }
}

TEST_CASE_FIXTURE(Fixture, "cut anywhere, it sends what there is and breaks off: the guest runs on") {
    const auto whole = load_capture(with_return_path);
    for (const std::size_t cut : {std::size_t{4}, std::size_t{0x1c}, std::size_t{0x2000}, whole.size() - 1}) {
        CAPTURE(cut);
        const Buffer stream(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(cut));
        play(stream);
        CHECK(take(cut + 1) == stream);
        // An answer that comes late is no reason to break off in another way.
        say(answer(2, 1));
        say(shut(0));
        const auto ended = end();
        CHECK(ended.outcome == ReplayOutcome::resumes);
        CHECK(!ended.error);
    }
}

TEST_CASE_FIXTURE(Fixture, "damaged, it is sent to its end: what is wrong is not for the source to say") {
    auto stream = load_capture(with_return_path);
    stream[0x1a] = std::byte{0x55};  // the type of the section behind the configuration
    play(stream);
    CHECK(take(stream.size() + 1) == stream);
    const auto ended = end();
    CHECK(ended.outcome == ReplayOutcome::resumes);
    CHECK(!ended.error);
}

TEST_CASE_FIXTURE(Fixture, "bytes behind the end: the last one before them is kept back") {
    auto stream = load_capture(without_return_path);
    const auto whole = stream.size();
    append(stream, std::string_view("more"));
    play(stream);
    CHECK(take(stream.size()).size() < whole);
    const auto ended = end();
    CHECK(ended.outcome == ReplayOutcome::resumes);
    REQUIRE(ended.error);
    CHECK(ended.error->kind == ErrorKind::stream);
    CHECK(ended.error->offset == whole);
}

TEST_CASE_FIXTURE(Fixture, "answers are taken while pages are written") {
    const auto stream = load_capture("qemu-7.2/m2b-live-rounds.c0.s2d.zst");
    play(stream);
    // More than two socket buffers hold: who only wrote would never take it.
    const auto pong = answer(2, 0);
    Buffer many;
    while (many.size() < (4u << 20)) append(many, pong);
    say(many);
    CHECK(take(stream.size()) == stream);
    say(shut(0));
    CHECK(closes());
    CHECK(end().outcome == ReplayOutcome::lets_go);
}

}  // namespace
