// The listener for QEMU sources: several guests at once, each with an xl of its own.
#include <future>
#include <map>
#include <mutex>

#include <doctest/doctest.h>

#include "proxy/serve.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/to_xen_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

struct Server : ToXenFixture {
    Server() {
        serving.port = 0;
        serving.session = options;
    }
    void start() {
        std::promise<std::uint16_t> bound;
        serving.listening = [&](std::uint16_t number) { bound.set_value(number); };
        serving.over = [this](const std::string& peer, const SessionReport& report) {
            const std::scoped_lock lock(mutex);
            CHECK(peer.starts_with("127.0.0.1:"));
            reports.push_back(report);
        };
        thread = std::thread([this] {
            Loop own;
            {
                const std::scoped_lock lock(mutex);
                server_loop = &own;
            }
            CHECK(serve_qemu(own, serving));
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
    [[nodiscard]] std::size_t over() {
        const std::scoped_lock lock(mutex);
        return reports.size();
    }
    void await_over(std::size_t sessions_over) {
        for (int i = 0; i < 3000 && over() < sessions_over; ++i) usleep(10'000);
        CHECK(over() == sessions_over);
    }

    ServeQemuOptions serving;
    std::mutex mutex;
    std::vector<SessionReport> reports;
    Loop* server_loop = nullptr;
    std::thread thread;
    std::uint16_t port = 0;
};

TEST_CASE_FIXTURE(Server, "two guests at once") {
    SourceMachine second;
    ScriptedReceiver first_xl(ScriptedReceiver::whole), second_xl(ScriptedReceiver::whole);
    std::atomic<int> chosen = 0;
    serving.session.choose = [&](const auto&, const auto&) -> Result<XenHost> {
        auto host = destination;
        const bool first = chosen++ == 0;
        host.xl = fmt::format("tcp:127.0.0.1:{}", (first ? first_xl : second_xl).listener.port);
        host.options.name = first ? "web1" : "web2";
        without_facts(host.options);
        // One session for a name or UUID.
        auto& config = host.options.domain_config;
        if (!first) config.replace(config.find("0001"), 4, "0002");
        host.options.allow.insert("unconfirmed-source");
        return host;
    };
    start();
    machine.migrate(port, true);
    second.migrate(port, true);
    await_over(2);
    stop();
    first_xl.join();
    second_xl.join();
    for (const auto& report : reports) CHECK_MESSAGE(!report.error, error_text(report.error));
    CHECK(first_xl.ran);
    CHECK(second_xl.ran);
    CHECK(machine.becomes("postmigrate"));
    CHECK(second.becomes("postmigrate"));
}

TEST_CASE_FIXTURE(Server,
                  "with a QMP socket there is one session at a time; ending the server gives it back") {
    SourceMachine second;
    ScriptedReceiver receiver(ScriptedReceiver::whole);
    destination.xl = fmt::format("tcp:127.0.0.1:{}", receiver.listener.port);
    serving.session.choose = options.choose;
    serving.session.source_qmp = machine.qmp;
    std::promise<void> copying;
    serving.session.progress = [&, done = false](const SessionProgress& progress) mutable {
        if (progress.state == SessionState::copying && !std::exchange(done, true)) copying.set_value();
    };
    machine.command("migrate-set-parameters", {{"max-bandwidth", 100'000}});
    start();
    machine.migrate(port, true);
    REQUIRE(copying.get_future().wait_for(std::chrono::seconds(60)) == std::future_status::ready);
    second.migrate(port, true);
    for (int i = 0; i < 500 && second.migration() != "failed"; ++i) usleep(20'000);
    CHECK(second.migration() == "failed");
    CHECK(second.state() == "running");
    stop();
    receiver.join();
    REQUIRE(reports.size() == 1);
    REQUIRE(reports[0].error);
    CHECK(reports[0].error->text() == "vmferry asked to end: the server ends");
    CHECK(machine.becomes("running"));
    CHECK(!receiver.ran);
}

}  // namespace
