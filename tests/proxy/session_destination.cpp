// A destination that fails before "ready": the error tells it in QEMU's own words where there are any, the
// source resumes, and QEMU is gone.
#include <csignal>
#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>
#include <fcntl.h>

#include "proxy/qemu_facts.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

struct Fixture : SessionFixture {
    /// The destination's QEMU, but neither probe nor twin, begins with these words of a shell.
    void begins_with(const std::string& words) {
        destination.qemu = directory.file("qemu");
        std::ofstream(destination.qemu) << "#!/bin/sh\n"
                                           "case \"$*\" in *' -incoming defer '*) . \"$0.words\" ;; esac\n"
                                           "exec qemu-system-x86_64 \"$@\"\n";
        std::filesystem::permissions(destination.qemu, std::filesystem::perms::owner_all);
        std::ofstream(destination.qemu + ".words") << words << '\n';
    }
    /// Sends its QEMU a signal when the session reaches this state.
    void signal_at(SessionState when, int number) {
        at(when, [this, number] {
            const auto pid = qemu_pid();
            REQUIRE(pid > 1);
            if (number == SIGKILL)
                end_process(pid);
            else
                kill(pid, number);
        });
    }
};

TEST_CASE_FIXTURE(Fixture, "QEMU does not start") {
    SUBCASE("there is none") {
        destination.qemu = "/nonexistent/qemu";
        CHECK(failure(whole).text() == "QEMU starting /nonexistent/qemu: exec: No such file or directory");
    }
    SUBCASE("it refuses its arguments") {
        destination.extra = {"-device", "no-such-device"};
        const auto error = failure(whole);
        CHECK(error.found.starts_with("ended with status 1; it said:"));
        CHECK(error.found.find("no-such-device") != std::string::npos);
    }
    SUBCASE("it ends at once") {
        begins_with("echo no luck today >&2; exit 3");
        CHECK(failure(whole).text() == "QEMU process: ended with status 3; it said: no luck today");
    }
    SUBCASE("it never opens its QMP socket") {
        destination.start_timeout = 2s;
        begins_with("kill -STOP $$");
        const auto error = failure(whole);
        CHECK(error.text().find("QMP greeting at ") != std::string::npos);
        CHECK(error.found.ends_with(" within 2000 ms"));
    }
}

TEST_CASE_FIXTURE(Fixture, "QEMU dies") {
    auto when = SessionState::copying;
    SUBCASE("among the pages") {}
    SUBCASE("while it loads") {
        when = SessionState::paused_at_source;
    }
    SUBCASE("when it has loaded") {
        when = SessionState::loaded;
    }
    signal_at(when, SIGKILL);
    const auto error = failure(whole);
    CHECK(acted == 1);
    CHECK(error.kind == ErrorKind::environment);
    CHECK(error.format == "QEMU");
    CHECK(error.found.starts_with("was killed by signal 9"));
}

TEST_CASE_FIXTURE(Fixture, "QEMU stops answering") {
    auto when = SessionState::copying;
    SUBCASE("among the pages") {}
    SUBCASE("when the device records are due") {
        when = SessionState::paused_at_source;
    }
    options.limits.qemu_takes = 1s;
    signal_at(when, SIGSTOP);
    const auto error = failure(whole);
    CHECK(acted == 1);
    CHECK(error.text().starts_with("QEMU waiting for it to take the stream: nothing within 1 s"));
}

TEST_CASE_FIXTURE(Fixture, "QEMU does not take the stream") {
    SUBCASE("it has another memory size") {
        destination.extra = {"-m", "64M"};
        const auto error = failure(whole);
        CHECK(error.found.starts_with("ended with status 1; it said:"));
        CHECK(error.found.find("pc.ram") != std::string::npos);
    }
    SUBCASE("it lacks a CPU, which it notices behind the last page") {
        destination.extra = {"-smp", "1"};
        const auto error = failure(whole);
        CHECK(error.found.starts_with("ended with status 1; it said:"));
        CHECK(error.found.find("cpu") != std::string::npos);
    }
}

TEST_CASE_FIXTURE(Fixture, "the image") {
    const auto lock_image = [&](const Descriptor& descriptor) {
        // As a QEMU that writes: it uses the permission to write, and shares it with nobody (bytes 101 and
        // 201, see check_image_unlocked).
        for (const off_t byte : {101, 201}) {
            struct flock lock {};
            lock.l_type = F_RDLCK;
            lock.l_start = byte;
            lock.l_len = 1;
            CHECK(fcntl(descriptor.get(), F_OFD_SETLK, &lock) == 0);
        }
    };
    SUBCASE("is another QEMU's") {
        const auto other = QemuProcess::start(
            loop, {"other",
                   "qemu-system-x86_64",
                   {"-M", "pc", "-S", "-display", "none", "-drive", "format=raw,file=" + image},
                   directory.file("log")});
        REQUIRE(other);
        for (int i = 0; i < 3000 && check_image_unlocked(image); ++i) usleep(10'000);
        CHECK(failure(whole).text() ==
              "disk checking " + image +
                  ": another QEMU uses this image, expected an image that nobody has locked");
    }
    SUBCASE("is taken by another while the pages come") {
        const Descriptor intruder(open(image.c_str(), O_RDWR | O_CLOEXEC));
        at(SessionState::copying, [&] { lock_image(intruder); });
        const auto error = failure(whole);
        CHECK(acted == 1);
        CHECK(error.text().starts_with("QEMU activating its images: an image is not this QEMU's"));
        CHECK(error.found.find("Failed to get \"write\" lock") != std::string::npos);
    }
    SUBCASE("is not there") {
        destination.disks["hda"].path = directory.file("nothing");
        const auto error = failure(whole);
        CHECK(error.format == "disk hda");
        CHECK(error.found.find("No such file or directory") != std::string::npos);
    }
}

}  // namespace
