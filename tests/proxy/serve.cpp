// The listener: several guests at once, each with its own destination; and the same on standard input and
// output.
#include "proxy/serve.hpp"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <mutex>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/receive.hpp"
#include "proxy/stop_signals.hpp"
#include "tests/proxy/session_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

struct Server : SessionFixture {
    Server() {
        std::filesystem::copy_file(image, image + "2");
        options.choose = [this](const DomainConfig& config) -> Result<DestinationOptions> {
            auto chosen = destination;
            if (config.name == "g3") chosen.disks["hda"].path = image + "2";
            if (config.name == "g9")
                return std::unexpected(
                    Error{ErrorKind::refused, "destination", config.name, {}, 0, "unknown", {}});
            return chosen;
        };
        serving.session = options;
        serving.port = 0;
    }
    void start() {
        std::promise<std::uint16_t> bound;
        serving.listening = [&](std::uint16_t number) { bound.set_value(number); };
        serving.over = [this](const std::string& peer, const SessionReport& report) {
            const std::scoped_lock lock(mutex);
            CHECK(peer.starts_with("127.0.0.1:"));
            reports.emplace(report.name, report);
        };
        thread = std::thread([this] {
            Loop own;
            {
                const std::scoped_lock lock(mutex);
                server_loop = &own;
            }
            const auto served = serve(own, serving);
            CHECK(served.has_value());
            const std::scoped_lock lock(mutex);
            server_loop = nullptr;
        });
        port = bound.get_future().get();
    }
    void stop() {
        {
            const std::scoped_lock lock(mutex);
            if (server_loop != nullptr) server_loop->stop("terminated");
        }
        if (thread.joinable()) thread.join();
    }
    ~Server() { stop(); }

    [[nodiscard]] Descriptor connected() const {
        Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        return socket;
    }
    static ScriptedSource::Script playing(Buffer stream) {
        return [stream = std::move(stream)](ScriptedSource& peer) {
            peer.ready = peer.expect(xen::banner) && peer.send(stream) && peer.expect(xen::ready);
            if (!peer.ready || !peer.send(xen::go) || !peer.expect(xen::report)) return;
            peer.report = peer.read_byte();
        };
    }

    ServeOptions serving;
    std::mutex mutex;
    std::multimap<std::string, SessionReport> reports;
    Loop* server_loop = nullptr;
    std::thread thread;
    std::uint16_t port = 0;
};

TEST_CASE_FIXTURE(Server, "two guests at once, an unknown one, and one that is there already") {
    start();
    ScriptedSource first(connected(), whole);
    ScriptedSource second(connected(), playing(recording_of('3', '4')));
    ScriptedSource unknown(connected(), playing(recording_of('9', '5')));
    first.join();
    second.join();
    unknown.join();
    CHECK(first.report == 0);
    CHECK(second.report == 0);
    CHECK(!unknown.ready);
    // The name is taken by a guest that runs, then the uuid.
    ScriptedSource same_name(connected(), playing(recording_of('2', '6')));
    same_name.join();
    ScriptedSource same_uuid(connected(), playing(recording_of('4', '3')));
    same_uuid.join();
    CHECK(!same_name.ready);
    CHECK(!same_uuid.ready);
    stop();
    // The guests outlive the server.
    for (const auto* name : {"g2", "g3"}) {
        const auto report = std::ranges::find_if(
            reports, [&](const auto& entry) { return entry.first == name && !entry.second.error; });
        REQUIRE(report != reports.end());
        CHECK(qemu_state(report->second.qmp_socket) == "running");
        end_process(report->second.qemu_pid);
    }
    CHECK(reports.size() == 5);
    CHECK(reports.find("g9")->second.error->kind == ErrorKind::refused);
    CHECK(reports.find("g4")->second.error->kind == ErrorKind::refused);
}

TEST_CASE_FIXTURE(Server, "ending the server gives back what has not been handed over") {
    start();
    std::promise<void> streaming;
    ScriptedSource source_in_the_middle(connected(), [&](ScriptedSource& peer) {
        peer.expect(xen::banner);
        peer.send(Bytes(recording()).first(recording().size() / 2));
        streaming.set_value();
        peer.ready = peer.expect(xen::ready);
    });
    streaming.get_future().wait();
    stop();
    source_in_the_middle.join();
    CHECK(!source_in_the_middle.ready);
    CHECK(sessions().empty());
    REQUIRE(reports.size() == 1);
    CHECK(reports.begin()->second.error->text() == "vmferry asked to end: the server ends");
    CHECK(process_start_time(reports.begin()->second.qemu_pid) == 0);
}

TEST_CASE_FIXTURE(Server, "no more sessions than allowed: the next sees the end at once") {
    serving.max_sessions = 1;
    start();
    ScriptedSource busy(connected(), [&](ScriptedSource& peer) {
        CHECK(peer.expect(xen::banner));
        ScriptedSource next(connected(), [](ScriptedSource& other) { CHECK(other.at_end()); });
    });
    busy.join();
}

TEST_CASE("an address that cannot be listened on") {
    Loop loop;
    ServeOptions options;
    options.address = "192.0.2.1";
    CHECK(serve(loop, options).error().format == "listener");
    options.address = "nonsense";
    CHECK(serve(loop, options).error().format == "listener");
}

// ---- migrate-receive: standard input and output are what ssh gives ----

/// A process whose descriptors 0 and 1 are pipes and which runs migrate_receive.
struct Receiver {
    explicit Receiver(SessionFixture& fixture) {
        int in[2], out[2];
        REQUIRE(pipe2(in, O_CLOEXEC) == 0);
        REQUIRE(pipe2(out, O_CLOEXEC) == 0);
        pid = fork();
        if (pid == 0) {
            dup2(in[0], 0);
            dup2(out[1], 1);
            for (const int end : {in[0], in[1], out[0], out[1]}) ::close(end);
            freopen(fixture.directory.file("stderr").c_str(), "a", stderr);
            Loop loop;
            const StopSignals signals(loop);
            fixture.options.progress = [](const SessionProgress&) { std::puts("noise on standard output"); };
            const auto report = migrate_receive(loop, fixture.options);
            std::fflush(nullptr);
            _exit(report && !report->error ? 0 : 1);
        }
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
