// Failures before "ready": the source sees the end of the connection and resumes, nothing is left here.
#include <csignal>
#include <fstream>

#include <doctest/doctest.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/qemu_facts.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

struct Fixture : SessionFixture {
    /// The source sees no "ready" and nothing is left; what was the error?
    Error failure(const ScriptedSource::Script& script) {
        const auto report = run(script);
        CHECK(!source->ready);
        CHECK(!source->report);
        CHECK(report.state < SessionState::in_doubt);
        CHECK(nothing_left(report));
        REQUIRE(report.error);
        return *report.error;
    }
};

TEST_CASE_FIXTURE(Fixture, "the source closes: at any place of header and stream") {
    const auto size = recording().size();
    std::size_t sent = 0;
    SUBCASE("before the banner") {
        const auto error = failure([](ScriptedSource&) {});
        CHECK((error.kind == ErrorKind::stream || error.kind == ErrorKind::environment));
        return;
    }
    SUBCASE("after the banner") {
        sent = 0;
    }
    SUBCASE("in the xl header") {
        sent = 40;
    }
    SUBCASE("in the configuration") {
        sent = 500;
    }
    SUBCASE("among the pages") {
        sent = size / 3;
    }
    SUBCASE("one byte before the end") {
        sent = size - 1;
    }
    const auto error = failure([sent](ScriptedSource& peer) {
        peer.ready = peer.expect(xen::banner) && peer.send(Bytes(recording()).first(sent)) && false;
    });
    CHECK(error.kind == ErrorKind::stream);
    CHECK(error.offset <= sent);
    CHECK(!error.expected.empty());
}

TEST_CASE_FIXTURE(Fixture, "the source closes while the destination loads") {
    const auto error = failure([](ScriptedSource& peer) { peer.stream(); });
    CHECK(error.kind == ErrorKind::environment);
    CHECK(error.text() == "source sending ready: it has closed the connection, expected a source that waits");
}

TEST_CASE_FIXTURE(Fixture, "bytes behind the stream are no permission") {
    const auto error = failure([](ScriptedSource& peer) {
        peer.stream();
        peer.send(xen::go);
        peer.ready = peer.expect(xen::ready);
    });
    CHECK((error.found.find("44 bytes") != std::string::npos ||
           error.found.find("16 bytes") != std::string::npos));
    CHECK(error.expected == "silence until ready");
}

TEST_CASE_FIXTURE(Fixture, "a source that falls silent") {
    destination.peer_timeout = 1s;
    options.limits.source_silent = 300ms;
    std::size_t sent = 0;
    SUBCASE("before its header") {}
    SUBCASE("among its pages") {
        sent = 1u << 20;
    }
    const auto error = failure([sent](ScriptedSource& peer) {
        peer.expect(xen::banner);
        peer.send(Bytes(recording()).first(sent));
        peer.ready = !peer.at_end();
    });
    CHECK(error.kind == ErrorKind::environment);
    CHECK(error.text().find("source waiting for its stream: nothing within") != std::string::npos);
    CHECK(error.found.find(fmt::format("so far: {} bytes", sent)) != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "a guest that nobody configured is refused after its header") {
    options.choose = [](const DomainConfig& config) -> Result<DestinationOptions> {
        return std::unexpected(
            Error{ErrorKind::refused, "destination", config.name, {}, 0, "unknown guest", {}});
    };
    const auto error = failure(whole);
    CHECK(error.kind == ErrorKind::refused);
    CHECK(error.record == "g2");
}

TEST_CASE_FIXTURE(Fixture, "an unmapped disk is refused before the first page") {
    destination.disks.clear();
    CHECK(failure(whole).kind == ErrorKind::refused);
}

TEST_CASE_FIXTURE(Fixture, "the destination fails") {
    SUBCASE("there is no such QEMU") {
        destination.qemu = "/nonexistent/qemu";
        CHECK(failure(whole).found.find("No such file") != std::string::npos);
    }
    SUBCASE("it refuses its arguments") {
        destination.extra = {"-device", "no-such-device"};
        const auto error = failure(whole);
        CHECK(error.found.find("ended with status 1; it said:") != std::string::npos);
        CHECK(error.found.find("no-such-device") != std::string::npos);
    }
    SUBCASE("it dies while pages come") {
        bool killed = false;
        options.progress = [&](const SessionProgress& progress) {
            if (killed || progress.state != SessionState::copying) return;
            killed = true;
            kill(static_cast<pid_t>(sessions().at(0).qemu_pid), SIGKILL);
        };
        CHECK(failure(whole).found.find("was killed by signal 9") != std::string::npos);
        CHECK(killed);
    }
    SUBCASE("its image is in use") {
        const auto other = QemuProcess::start(
            loop, {"other",
                   "qemu-system-x86_64",
                   {"-M", "pc", "-S", "-display", "none", "-drive", "format=raw,file=" + image},
                   directory.file("log")});
        REQUIRE(other);
        for (int i = 0; i < 500 && check_image_unlocked(image); ++i) usleep(10'000);
        const auto error = failure(whole);
        CHECK(error.format == "disk");
        CHECK(error.found == "another QEMU uses this image");
    }
    SUBCASE("its image is not there") {
        destination.disks["hda"].path = directory.file("nothing");
        CHECK(failure(whole).found.find("No such file") != std::string::npos);
    }
    SUBCASE("the state directory cannot be written") {
        options.state_directory = "/proc/nothing";
        CHECK(failure(whole).format == "state directory");
    }
}

TEST_CASE_FIXTURE(Fixture, "an operator who ends vmferry before ready gives the guest back") {
    options.progress = [&](const SessionProgress& progress) {
        if (progress.state == SessionState::copying) loop.stop("terminated");
    };
    const auto error = failure(whole);
    CHECK(error.text() == "vmferry asked to end: terminated");
}

}  // namespace
