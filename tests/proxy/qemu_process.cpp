// Who ends a QEMU that we started, and who does not.
#include "proxy/qemu_process.hpp"

#include <csignal>

#include <doctest/doctest.h>
#include <sys/wait.h>

#include "proxy/session_directory.hpp"
#include "proxy/temporary_directory.hpp"

using namespace vmferry;
using namespace std::chrono_literals;

namespace {

struct Fixture {
    Loop loop;
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());

    Result<std::unique_ptr<QemuProcess>> shell(const std::string& script) { return shell(loop, script); }
    [[nodiscard]] Result<std::unique_ptr<QemuProcess>> shell(Loop& on, const std::string& script) const {
        return QemuProcess::start(on, {"QEMU", "/bin/sh", {"-c", script}, directory.file("log")});
    }
    bool soon(const std::function<bool()>& condition) {
        for (int i = 0; i < 500; ++i) {
            if (condition()) return true;
            (void)loop.wait({"test", "a moment", 10ms}, [] { return false; });
        }
        return false;
    }
};

/// Runs `start` in a process of its own that is killed at once, as vmferry might be. Returns the pid that
/// `start` gave.
template <typename Start>
pid_t from_a_killed_process(Start start) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0) {
        Loop own;  // an inherited one would share its epoll set with the parent
        const pid_t pid = start(own);
        (void)!write(ends[1], &pid, sizeof pid);
        for (;;) pause();
    }
    pid_t pid = -1;
    CHECK(read(ends[0], &pid, sizeof pid) == sizeof pid);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

TEST_CASE_FIXTURE(Fixture, "exit status, signal and last words are told") {
    auto ended = shell("echo first; echo the reason >&2; exit 3");
    REQUIRE(ended);
    REQUIRE(soon([&] { return (*ended)->exited(); }));
    CHECK((*ended)->exit_error("loading").text() ==
          "QEMU loading: ended with status 3; it said: first\nthe reason");

    auto killed = shell("kill -9 $$");
    REQUIRE(killed);
    REQUIRE(soon([&] { return (*killed)->exited(); }));
    CHECK((*killed)->exit_error("x").found.starts_with("was killed by signal 9"));
}

TEST_CASE_FIXTURE(Fixture, "an exit is an alarm where it was asked for") {
    auto process = shell("sleep 0.1; exit 1");
    REQUIRE(process);
    (*process)->alarm_on_exit(true);
    const auto waited = loop.wait({"source", "its stream", 10s}, [] { return false; });
    REQUIRE(!waited);
    CHECK(waited.error().format == "QEMU");
    CHECK(waited.error().found == "ended with status 1");
}

TEST_CASE_FIXTURE(Fixture, "it has its own process group, no terminal input and no descriptors of ours") {
    const Descriptor ours(open("/dev/null", 0));
    auto process = shell(
        "ls -m /proc/$$/fd; readlink /proc/$$/fd/0; ps -o sid= -p $$ | tr -d ' '; "
        "echo $$");
    REQUIRE(process);
    REQUIRE(soon([&] { return (*process)->exited(); }));
    const auto pid = std::to_string((*process)->pid());
    CHECK((*process)->log_tail() == "0, 1, 2\n/dev/null\n" + pid + "\n" + pid);
}

TEST_CASE_FIXTURE(Fixture, "one that ignores SIGTERM is killed") {
    auto process = shell("trap '' TERM; echo ready; while :; do sleep 1; done");
    REQUIRE(process);
    REQUIRE(soon([&] { return (*process)->log_tail() == "ready"; }));
    CHECK((*process)->terminate(50ms, 5s));
    CHECK((*process)->exit_error("x").found.starts_with("was killed by signal 9"));
}

TEST_CASE_FIXTURE(Fixture, "it goes with its owner, unless it was released") {
    pid_t pid = 0;
    {
        auto process = shell("exec sleep 1000");
        REQUIRE(process);
        pid = (*process)->pid();
        CHECK(process_start_time(pid) != 0);
    }
    CHECK(process_start_time(pid) == 0);
    {
        auto process = shell("exec sleep 1000");
        REQUIRE(process);
        pid = (*process)->pid();
        CHECK((*process)->release());
    }
    CHECK(process_start_time(pid) != 0);
    kill(pid, SIGKILL);
    CHECK(soon([&] {
        QemuProcess::reap_released();
        return kill(pid, 0) != 0;
    }));
}

TEST_CASE_FIXTURE(Fixture, "SIGKILL of vmferry takes an unreleased one along") {
    const pid_t pid = from_a_killed_process([this](Loop& own) {
        auto process = shell(own, "exec sleep 1000");
        return process ? process->release()->pid() : -1;  // the unique_ptr's: the object just stays
    });
    REQUIRE(pid > 0);
    CHECK(soon([&] { return process_start_time(pid) == 0; }));
}

TEST_CASE_FIXTURE(Fixture, "a released one survives SIGKILL of vmferry") {
    const pid_t pid = from_a_killed_process([this](Loop& own) {
        auto process = shell(own, "exec sleep 1000");
        if (!process || !(*process)->release()) return -1;
        return process->release()->pid();
    });
    REQUIRE(pid > 0);
    (void)loop.wait({"test", "a moment", 200ms}, [] { return false; });
    CHECK(process_start_time(pid) != 0);
    kill(pid, SIGKILL);
}

}  // namespace
