// A source that fails before "ready": it closes, falls silent, says something else, or brings what is
// refused. It sees the end of the connection and resumes its guest; nothing is left here.
#include <doctest/doctest.h>

#include "parsers/xen/handshake.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t xl_header = 48;

/// Sends so much of the recording and leaves.
ScriptedSource::Script sending(std::size_t size) {
    return [size](ScriptedSource& peer) {
        peer.expect(xen::banner);
        peer.send(Bytes(recording()).first(size));
    };
}

/// Sends so much of the recording and then waits, for ever, if need be.
ScriptedSource::Script stalling(std::size_t size) {
    return [size](ScriptedSource& peer) {
        peer.expect(xen::banner);
        peer.send(Bytes(recording()).first(size));
        CHECK(peer.at_end());
    };
}

TEST_CASE_FIXTURE(SessionFixture, "the source closes: at any place of header and stream") {
    const auto size = recording().size();
    std::size_t sent = 0;
    SUBCASE("after the banner") {}
    SUBCASE("in the xl header") {
        sent = 40;
    }
    SUBCASE("in the configuration") {
        sent = 500;
    }
    SUBCASE("among the pages") {
        sent = size / 3;
    }
    SUBCASE("among the records behind the pages") {
        sent = size - 5000;
    }
    SUBCASE("one byte before the end") {
        sent = size - 1;
    }
    const auto error = failure(sending(sent));
    CHECK(error.kind == ErrorKind::stream);
    CHECK(error.found.starts_with("the end of the stream after "));
    CHECK(error.offset <= sent);
    CHECK(!error.expected.empty());
}

TEST_CASE_FIXTURE(SessionFixture, "the source closes before it has read the banner") {
    const auto error = failure([](ScriptedSource&) {});
    CHECK((error.kind == ErrorKind::stream || error.kind == ErrorKind::environment));
}

TEST_CASE_FIXTURE(SessionFixture, "the source closes while the destination loads") {
    // The last bytes are in the socket long before QEMU has loaded what was in front of them.
    bool closed = false;
    at(SessionState::paused_at_source, [&] {
        source->join();
        closed = true;
    });
    const auto error = failure([](ScriptedSource& peer) { peer.stream(); });
    CHECK(closed);
    CHECK(error.text() == "source sending ready: it has closed the connection, expected a source that waits");
}

TEST_CASE_FIXTURE(SessionFixture, "ready cannot be delivered: no byte of it has left") {
    at(SessionState::loaded, [&] { source->stop_listening(); });
    const auto error = failure([](ScriptedSource& peer) {
        peer.stream();
        CHECK(peer.at_end());
    });
    CHECK(acted == 1);
    CHECK(error.text() == "source it to take ready: write: Broken pipe");
}

TEST_CASE_FIXTURE(SessionFixture, "bytes behind the stream are no permission") {
    const auto error = failure([](ScriptedSource& peer) {
        peer.stream();
        peer.send(xen::go);
        CHECK(peer.at_end());
    });
    CHECK((error.found.starts_with("44 bytes") || error.found.starts_with("16 bytes or more")));
    CHECK(error.expected == "silence until ready");
}

TEST_CASE_FIXTURE(SessionFixture, "a source that falls silent") {
    destination.peer_timeout = 1s;
    options.limits.source_silent = 500ms;
    std::size_t sent = 0;
    std::string limit = "0.5 s";
    SUBCASE("before its header") {}
    SUBCASE("in its header") {
        sent = xl_header - 1;
    }
    SUBCASE("in its configuration") {
        sent = 500;
    }
    SUBCASE("among its pages") {
        sent = 1u << 20;
        limit = "1 s";
    }
    SUBCASE("one byte before the end") {
        sent = recording().size() - 1;
        limit = "1 s";
    }
    const auto error = failure(stalling(sent));
    CHECK(error.kind == ErrorKind::environment);
    CHECK(error.text() ==
          fmt::format("source waiting for its stream: nothing within {}; so far: {} bytes", limit, sent));
}

TEST_CASE_FIXTURE(SessionFixture, "a source that does not speak xl's protocol") {
    const auto error = failure([](ScriptedSource& peer) {
        peer.send("GET / HTTP/1.1\r\nHost: destination\r\nUser-Agent: somebody else\r\n\r\n");
        while (!peer.at_end()) {
        }
    });
    CHECK(error.kind == ErrorKind::stream);
    CHECK(error.offset == 0);
}

TEST_CASE_FIXTURE(SessionFixture, "a guest that nobody configured is refused after its header") {
    options.choose = [](const DomainConfig& config) -> Result<DestinationOptions> {
        return std::unexpected(
            Error{ErrorKind::refused, "destination", config.name, {}, 0, "unknown guest", {}});
    };
    const auto error = failure(whole);
    CHECK(error.kind == ErrorKind::refused);
    CHECK(error.record == "g2");
}

TEST_CASE_FIXTURE(SessionFixture, "an unmapped disk is refused before the first page") {
    destination.disks.clear();
    CHECK(failure(whole).kind == ErrorKind::refused);
}

}  // namespace
