// The listener: several guests at once, each with its own destination.
#include "proxy/serve.hpp"

#include <algorithm>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/resource.h>

#include "parsers/xen/handshake.hpp"
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
        connect_to_server(socket);
        return socket;
    }
    void connect_to_server(const Descriptor& socket) const {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        CHECK(connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    }
    /// The limit on descriptors is then the first number that is free, so that nothing can be opened.
    [[nodiscard]] Descriptor connected_without_room() {
        Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(getrlimit(RLIMIT_NOFILE, &room) == 0);
        const Descriptor next(dup(socket.get()));
        rlimit none = room;
        none.rlim_cur = static_cast<rlim_t>(next.get());
        REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
        connect_to_server(socket);
        return socket;
    }
    static ScriptedSource::Script playing(Buffer stream) {
        return [stream = std::move(stream)](ScriptedSource& peer) {
            peer.ready = peer.expect(xen::banner) && peer.send(stream) && peer.expect(xen::ready);
            if (peer.ready && peer.send(xen::go)) peer.read_report();
        };
    }

    ServeOptions serving;
    std::mutex mutex;
    std::multimap<std::string, SessionReport> reports;
    Loop* server_loop = nullptr;
    std::thread thread;
    std::uint16_t port = 0;
    rlimit room{};  ///< the usual limit on descriptors
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
    for (const auto* name : {"g9", "g4"}) {
        const auto refused = reports.find(name);
        REQUIRE(refused != reports.end());
        REQUIRE(refused->second.error);
        CHECK(refused->second.error->kind == ErrorKind::refused);
    }
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
    REQUIRE(reports.begin()->second.error);
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

TEST_CASE_FIXTURE(Server, "without a free descriptor it waits, idle, and then goes on") {
    start();
    auto waiting = connected_without_room();
    rusage before{};
    rusage after{};
    getrusage(RUSAGE_SELF, &before);
    std::this_thread::sleep_for(1500ms);
    getrusage(RUSAGE_SELF, &after);
    const auto used = [](const rusage& usage) {
        return std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               std::chrono::microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    };
    CHECK(used(after) - used(before) < 500ms);
    setrlimit(RLIMIT_NOFILE, &room);
    ScriptedSource served(std::move(waiting), [](ScriptedSource& peer) { CHECK(peer.expect(xen::banner)); });
    served.join();
}

TEST_CASE("an address that cannot be listened on") {
    Loop loop;
    ServeOptions options;
    for (const auto* address : {"192.0.2.1", "nonsense"}) {
        options.address = address;
        const auto served = serve(loop, options);
        REQUIRE(!served);
        CHECK(served.error().format == "listener");
    }
}

}  // namespace
