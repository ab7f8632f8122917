// `migrate-receive`: standard input and output are what ssh gives.
#include "proxy/receive.hpp"

#include <csignal>
#include <fstream>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/stop_signals.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

/// A process whose descriptors 0 and 1 are pipes and which runs migrate_receive.
struct Receiver {
    explicit Receiver(SessionFixture& fixture) {
        int in[2], out[2];
        REQUIRE(pipe2(in, O_CLOEXEC) == 0);
        REQUIRE(pipe2(out, O_CLOEXEC) == 0);
        pid = in_child([&](Loop& loop) {
            const Descriptor errors(
                open(fixture.directory.file("stderr").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
            if (!errors.valid()) return;
            dup2(in[0], 0);
            dup2(out[1], 1);
            dup2(errors.get(), 2);
            for (const int end : {in[0], in[1], out[0], out[1]}) ::close(end);
            const StopSignals signals(loop);
            fixture.options.progress = [](const SessionProgress&) { std::puts("noise on standard output"); };
            const auto report = migrate_receive(loop, fixture.options);
            std::fflush(nullptr);
            if (report && !report->error) _exit(0);
        });
        ::close(in[0]);
        ::close(out[1]);
        to = Descriptor(in[1]);
        from = Descriptor(out[0]);
    }
    int status() {
        int value = 0;
        waitpid(pid, &value, 0);
        return WIFEXITED(value) ? WEXITSTATUS(value) : -1;
    }
    bool send(Bytes bytes) const {
        while (!bytes.empty()) {
            const auto count = ::write(to.get(), bytes.data(), bytes.size());
            if (count <= 0) return false;
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        }
        return true;
    }
    [[nodiscard]] std::string read(std::size_t size) const {
        std::string text(size, '\0');
        std::size_t have = 0;
        while (have < size) {
            const auto count = ::read(from.get(), text.data() + have, size - have);
            if (count <= 0) break;
            have += static_cast<std::size_t>(count);
        }
        text.resize(have);
        return text;
    }
    pid_t pid = -1;
    Descriptor to, from;
};

TEST_CASE_FIXTURE(SessionFixture, "migrate-receive says the five messages and nothing else") {
    Receiver receiver(*this);
    CHECK(receiver.read(xen::banner.size()) == xen::banner);
    CHECK(receiver.send(recording()));
    CHECK(receiver.read(xen::ready.size()) == xen::ready);
    CHECK(receiver.send(as_bytes(xen::go)));
    CHECK(receiver.read(1000) == std::string(xen::report) + '\0');
    CHECK(receiver.status() == 0);
    std::ifstream errors(directory.file("stderr"));
    const std::string said{std::istreambuf_iterator<char>(errors), {}};
    CHECK(said.find("noise on standard output\n") != std::string::npos);
    const auto listed = sessions();
    REQUIRE(listed.size() == 1);
    CHECK(qemu_state(listed[0].qmp_socket) == "running");
    end_process(listed[0].qemu_pid);
}

TEST_CASE_FIXTURE(SessionFixture, "SIGTERM in the middle of migrate-receive ends it in order") {
    Receiver receiver(*this);
    CHECK(receiver.read(xen::banner.size()) == xen::banner);
    CHECK(receiver.send(Bytes(recording()).first(8u << 20)));
    kill(receiver.pid, SIGTERM);
    CHECK(receiver.read(1000).empty());
    CHECK(receiver.status() == 1);
    CHECK(sessions().empty());
}

}  // namespace
