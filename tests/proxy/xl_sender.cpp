// Our end of xl's handshake, against shell scripts that play `xl migrate-receive`.
#include "proxy/xl_sender.hpp"

#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include <doctest/doctest.h>
#include <sys/wait.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/session_directory.hpp"
#include "proxy/temporary_directory.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/source_machine.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;
using Answer = XlSender::Answer;

namespace {

constexpr std::string_view stream = "the stream";

struct Fixture {
    Loop loop;
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());
    TimeLimits limits;
    std::unique_ptr<XlSender> xl;
    // Steps of the script.
    const std::string banner = "printf 'xl migration receiver ready, send binary domain data.\\n'; ";
    const std::string takes = "head -c 10 >" + directory.file("taken") + "; ";
    const std::string ready = "printf 'domain received, ready to unpause\\0'; ";
    const std::string waits = "head -c 44 >" + directory.file("go") + "; ";
    const std::string report = "printf 'my copy unpause results are as follows\\0'; ";
    const std::string gives_back = "printf 'domain is yours, you are cleared to unpause\\0'; ";

    Result<void> start(const std::string& script) {
        auto started = XlSender::start(loop, script, directory.file("log"), limits);
        REQUIRE_MESSAGE(started.has_value(), error_text(started));
        xl = std::move(*started);
        return xl->read_banner();
    }
    Result<void> send(std::string_view text = stream) {
        if (text == stream) xl->last_write();
        const iovec piece{const_cast<char*>(text.data()), text.size()};
        return xl->write(std::span(&piece, 1));
    }
    void loaded(const std::string& script) {
        REQUIRE(start(script));
        REQUIRE(send());
        const auto awaited = xl->await_ready();
        REQUIRE_MESSAGE(awaited.has_value(), error_text(awaited));
    }
    void permitted(const std::string& script) {
        loaded(script);
        bool delivered = false;
        REQUIRE(xl->permit(delivered));
        CHECK(delivered);
    }
    [[nodiscard]] std::string file(const std::string& name) const {
        std::ifstream in(directory.file(name));
        std::ostringstream text;
        text << in.rdbuf();
        return text.str();
    }
    /// The number that a script has written there.
    [[nodiscard]] long pid_in(const std::string& name) const {
        for (int i = 0; i < 500 && !file(name).ends_with('\n'); ++i) usleep(10'000);
        return std::stol(file(name));
    }
    static bool ends_soon(long pid) {
        for (int i = 0; i < 1000 && process_start_time(pid) != 0; ++i) usleep(10'000);
        return process_start_time(pid) == 0;
    }
};

TEST_CASE_FIXTURE(Fixture, "the whole handshake") {
    permitted(banner + takes + ready + waits + report + "printf '\\0'");
    CHECK(file("taken") == stream);
    const auto read = xl->read_answer();
    CHECK_MESSAGE(read.answer == Answer::runs, read.why.text());
    xl->finish();
    CHECK(file("go") == xen::go);
}

TEST_CASE_FIXTURE(Fixture, "the banner and nothing before it") {
    std::string script, found;
    SUBCASE("a shell that says hello") {
        script = "echo Welcome to xenhost; echo 'Last login: today'; " + banner + "cat >/dev/null";
        found =
            "\"Welcome to xenhost\\nLast login: today\\nxl migration receiver ready, send binary domain "
            "data.\\n\"";
    }
    SUBCASE("another program") {
        script = "printf 'xl migration receiver is \\001 away'";
        found = "\"xl migration receiver is \\x01 away\"";
    }
    SUBCASE("nothing, and it says why on stderr") {
        script = "echo 'ssh: connect to host xenhost port 22: Connection refused' >&2; exit 255";
        found = "ended with status 255; it said: ssh: connect to host xenhost port 22: Connection refused";
    }
    SUBCASE("no such command") {
        script = "/nowhere/xl migrate-receive";
        found = "ended with status 127; it said: /bin/sh: 1: /nowhere/xl: not found";
    }
    SUBCASE("a part of it") {
        script = "printf 'xl migration'; exec >&-; sleep 1000";
        limits.qemu_last_words = limits.xl_ends = 100ms;
        found = "its output ended after 12 of 54 bytes: \"xl migration\"";
    }
    SUBCASE("silence") {
        limits.xl_starts = 300ms;
        limits.qemu_last_words = 100ms;
        script = "echo 'password:' >&2; cat >/dev/null";
        found = "nothing within 0.3 s; its stderr says: password:";
    }
    const auto read = start(script);
    REQUIRE(!read);
    CHECK(read.error().kind == ErrorKind::environment);
    CHECK(read.error().found == found);
    CHECK(read.error().hint.starts_with("nothing but xl may write"));
}

TEST_CASE_FIXTURE(Fixture, "its exit or any byte from it while the stream is written is an alarm") {
    std::string script, found;
    SUBCASE("it ends") {
        script = banner + "echo 'xl: no memory' >&2; exit 3";
        found = "ended with status 3; it said: xl: no memory";
    }
    SUBCASE("it says something") {
        limits.qemu_last_words = 100ms;
        script = banner + "echo hello; cat >/dev/null";
        found = "instead of silence it said on its output: \"hello\\n\"";
    }
    REQUIRE(start(script));
    const auto waited = loop.wait({"test", "an alarm", 10s}, [] { return false; });
    REQUIRE(!waited);
    CHECK(waited.error().text() ==
          "xl taking the stream: it ended, or said something, before it had all, expected "
          "silence until ready");
    CHECK(xl->explain(waited.error()).found.ends_with(found));
}

TEST_CASE_FIXTURE(Fixture, "it does not take the stream") {
    limits.xl_takes = 300ms;
    limits.qemu_last_words = limits.xl_ends = 100ms;
    REQUIRE(start(banner + "sleep 1000"));
    const auto sent = send(std::string(1 << 20, 'x'));
    REQUIRE(!sent);
    CHECK(sent.error().text() == "xl waiting for it to take the stream: nothing within 0.3 s");
}

TEST_CASE_FIXTURE(Fixture, "no ready") {
    std::string script, found;
    SUBCASE("it ends: its domain is gone") {
        script = "echo 'libxl: error: no such disk' >&2; exit 1";
        found = "ended with status 1; it said: libxl: error: no such disk";
    }
    SUBCASE("other words") {
        script = "printf 'domain is lost'; cat >/dev/null";
        found = "\"domain is lost\"";
    }
    SUBCASE("silence") {
        limits.xl_loads = 300ms;
        limits.qemu_last_words = limits.xl_ends = 100ms;
        script = "sleep 1000";
        found = "nothing within 0.3 s";
    }
    REQUIRE(start(banner + takes + script));
    REQUIRE(send());
    const auto awaited = xl->await_ready();
    REQUIRE(!awaited);
    CHECK(awaited.error().found == found);
    CHECK(awaited.error().hint.starts_with("on the Xen host the reason is in "));
}

TEST_CASE_FIXTURE(Fixture, "the answers to the permission") {
    std::string script;
    auto answer = Answer::unknown;
    limits.qemu_last_words = 100ms;
    SUBCASE("a failure, given back") {
        script = report + "printf '\\3'; " + gives_back;
        answer = Answer::given_back;
    }
    SUBCASE("a failure, not given back") {
        script = report + "printf '\\3'";
        answer = Answer::kept;
    }
    SUBCASE("a failure, and silence") {
        limits.xl_gives_back = 300ms;
        script = report + "printf '\\3'; sleep 1000";
        answer = Answer::kept;
    }
    SUBCASE("a report without its code") {
        script = report;
    }
    SUBCASE("other words") {
        script = "echo done";
    }
    SUBCASE("nothing") {}
    SUBCASE("silence") {
        limits.xl_reports = 300ms;
        script = "sleep 1000";
    }
    limits.xl_ends = 200ms;
    permitted(banner + takes + ready + waits + script);
    const auto read = xl->read_answer();
    CHECK(read.answer == answer);
    CHECK(read.code == (answer == Answer::unknown ? 0 : 3));
    if (answer == Answer::given_back)
        CHECK(read.why.text() == "xl running the guest: its report says 3 (libxl error -3), expected 0");
    CHECK(!read.why.text().empty());
}

TEST_CASE_FIXTURE(Fixture, "a permission that nobody takes has not been given") {
    loaded(banner + takes + ready + "exec <&-; echo $$ >" + directory.file("deaf") + "; sleep 1000");
    CHECK(pid_in("deaf") > 0);
    bool delivered = true;
    const auto permitted_it = xl->permit(delivered);
    CHECK(!permitted_it);
    CHECK(!delivered);
    kill(static_cast<pid_t>(pid_in("deaf")), SIGKILL);
}

TEST_CASE_FIXTURE(Fixture, "withdrawn before ready: its input ends, and it is waited for") {
    REQUIRE(start(banner + "cat >" + directory.file("taken") + "; sleep 0.3; echo ended >" +
                  directory.file("end")));
    REQUIRE(send());
    const auto gone = xl->withdraw();
    CHECK_MESSAGE(gone.has_value(), error_text(gone));
    CHECK(file("taken") == stream);
    CHECK(file("end") == "ended\n");
}

TEST_CASE_FIXTURE(Fixture, "withdrawn after ready: it is heard that the copy is gone") {
    std::string script;
    bool gone = false;
    SUBCASE("as xl does it") {
        script = "cat >" + directory.file("go") + "; " + report + "printf '\\377'; " + gives_back;
        gone = true;
    }
    SUBCASE("it just ends") {
        script = "cat >" + directory.file("go");
    }
    loaded(banner + takes + ready + script);
    CHECK(xl->withdraw().has_value() == gone);
    CHECK(file("go").empty());
}

TEST_CASE_FIXTURE(Fixture, "left: it cannot write its report, so it destroys nothing") {
    // As xl does it: SIGPIPE is ignored, and only who could write the report destroys the domain.
    loaded(banner + takes + ready + "trap '' PIPE; cat >/dev/null; if env " +
           report.substr(0, report.size() - 2) + "; then fate=destroyed; else fate=kept; fi; echo $fate >" +
           directory.file("fate"));
    xl->leave();
    CHECK(file("fate") == "kept\n");
}

TEST_CASE_FIXTURE(Fixture, "the command never stays, with all that it has started") {
    limits.xl_ends = limits.qemu_ends = 200ms;
    const auto script = banner + "echo $$ >" + directory.file("sh") + "; sleep 1000 & echo $! >" +
                        directory.file("sleep") + "; trap '' TERM; wait; sleep 1000";
    SUBCASE("when its session ends") {
        REQUIRE(start(script));
        const auto shell = pid_in("sh"), sleeping = pid_in("sleep");
        xl.reset();
        CHECK(process_start_time(shell) == 0);
        CHECK(ends_soon(sleeping));
    }
    SUBCASE("when vmferry is killed") {
        const pid_t child = fork();
        if (child == 0) {
            Loop own;
            auto started = XlSender::start(own, script, directory.file("log"), limits);
            if (started) (void)(*started)->read_banner();
            kill(getpid(), SIGKILL);
        }
        REQUIRE(waitpid(child, nullptr, 0) == child);
        CHECK(ends_soon(pid_in("sh")));
        CHECK(ends_soon(pid_in("sleep")));
    }
}

TEST_CASE_FIXTURE(Fixture, "a TCP peer") {
    const TestListener listener;
    std::string given;
    std::thread peer([&] {
        const auto socket = listener.accepted();
        const auto say = [&](std::string_view text) {
            CHECK(write(socket.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
        };
        say(xen::banner);
        std::array<char, 10> space{};
        CHECK(read(socket.get(), space.data(), space.size()) == 10);
        say(xen::ready);
        char byte = 0;
        while (read(socket.get(), &byte, 1) == 1) given += byte;
        say(xen::report);
        say("\xFF");
        say(xen::go);
    });
    const auto begun = start(fmt::format("tcp:127.0.0.1:{}", listener.port));
    CHECK_MESSAGE(begun.has_value(), error_text(begun));
    CHECK(send());
    CHECK(xl->await_ready());
    const auto gone = xl->withdraw();
    CHECK_MESSAGE(gone.has_value(), error_text(gone));
    peer.join();
    CHECK(given.empty());
}

TEST_CASE_FIXTURE(Fixture, "a TCP peer that is not there") {
    std::string target, found;
    SUBCASE("nobody listens") {
        const std::uint16_t free_port = TestListener().port;
        target = fmt::format("127.0.0.1:{}", free_port);
        found = "TCP connecting to " + target + ": Connection refused";
    }
    SUBCASE("no port") {
        target = "xenhost";
        found = "TCP connecting to xenhost: no HOST:PORT, expected HOST:PORT or [IPV6]:PORT";
    }
    const auto started = XlSender::start(loop, "tcp:" + target, directory.file("log"), limits);
    REQUIRE(!started);
    CHECK(started.error().text() == found);
}

}  // namespace
