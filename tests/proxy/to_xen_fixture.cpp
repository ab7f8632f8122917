#include "tests/proxy/to_xen_fixture.hpp"

#include <csignal>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/wait.h>

#include "parsers/xen/handshake.hpp"
#include "parsers/xen/stream_reader.hpp"
#include "proxy/input_buffer.hpp"
#include "proxy/xen_template.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/session_fixture.hpp"

namespace vmferry::test {

using namespace std::chrono_literals;

ScriptedReceiver::ScriptedReceiver(Script script)
    : thread_([this, script = std::move(script)] {
          // A session that never comes so far does not connect: then there is nothing to play.
          socket_ = listener.accepted_if_any();
          if (!socket_.valid()) return;
          script(*this);
          close();
      }) {}

void ScriptedReceiver::join() {
    listener.stop();
    if (thread_.joinable()) thread_.join();
}

bool ScriptedReceiver::say(std::string_view text) {
    while (!text.empty()) {
        const auto count = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
        if (count <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

bool ScriptedReceiver::take_stream() {
    xen::StreamReader reader;
    InputBuffer input;
    for (;;) {
        const auto step = reader.next(input.unread());
        if (!step) return false;
        input.consume(step->consumed);
        if (step->event && std::holds_alternative<xen::StreamEnd>(*step->event))
            return input.unread().empty();
        if (step->event) continue;
        auto space = input.space(step->need);
        const auto count = ::recv(socket_.get(), space.data(), space.size(), 0);
        if (count <= 0) return false;
        input.arrived(static_cast<std::size_t>(count));
    }
}

bool ScriptedReceiver::take_some() {
    char byte = 0;
    return ::recv(socket_.get(), &byte, 1, 0) == 1;
}

bool ScriptedReceiver::read_permission() {
    char byte = 0;
    while (permission.size() < xen::go.size() && ::recv(socket_.get(), &byte, 1, 0) == 1) permission += byte;
    return permission == xen::go;
}

bool ScriptedReceiver::at_end() {
    char byte = 0;
    return ::recv(socket_.get(), &byte, 1, 0) <= 0;
}

void ScriptedReceiver::stop_listening() {
    ::shutdown(socket_.get(), SHUT_RD);
}

bool ScriptedReceiver::load() {
    if (!say(xen::banner)) return false;
    loaded = take_stream();
    if (!loaded) destroyed = true;
    return loaded && say(xen::ready);
}

void ScriptedReceiver::decide() {
    if (!read_permission()) return refused();
    ran = true;
    say(xen::report);
    say(std::string_view("\0", 1));
}

void ScriptedReceiver::refused() {
    if (!say(xen::report) || !say("\xFF")) return;
    destroyed = true;
    say(xen::go);
}

void without_facts(XenDestinationOptions& options, unsigned memory_kib) {
    options.accel = Accel::tcg;
    options.allow.insert("cpu-policy");
    options.domain_config = fmt::format(R"({{"c_info": {{"type": "hvm", "name": "web1",
                                             "uuid": "3db11e84-0000-4000-8000-000000000001"}},
        "b_info": {{"max_vcpus": 1, "max_memkb": {0}, "target_memkb": {0}, "video_memkb": 0,
                    "type.hvm": {{"hpet": "False", "vga": {{"kind": "none"}}, "xen_platform_pci": "False"}}}}}})",
                                        memory_kib);
}

ToXenFixture::ToXenFixture() {
    static const XenTemplate xen = *read_xen_template(VMFERRY_SOURCE_DIR "/captures/templates/xen-4.17.zst");
    destination.xen = xen;
    options.choose = [this](const std::optional<SourceFacts>& facts, const QemuSource&) -> Result<XenHost> {
        auto host = destination;
        if (!facts) without_facts(host.options);
        return host;
    };
    options.state_directory = state;
    destination.options.name = "web1";
    // QEMU's default processor is not the one of the template's host.
    destination.options.allow.insert("cpu-features");
}

SessionReport ToXenFixture::drive(Loop& on) {
    auto used = options;
    if (qmp) used.source_qmp = machine.qmp;
    Channel channel(on, "source", listener.accepted());
    SessionToXen session(on, channel, used);
    return session.run();
}

SessionReport ToXenFixture::run(ScriptedReceiver::Script script) {
    xl = std::make_unique<ScriptedReceiver>(std::move(script));
    if (destination.xl.empty()) destination.xl = fmt::format("tcp:127.0.0.1:{}", xl->listener.port);
    machine.migrate(listener.port, return_path);
    auto report = drive(loop);
    xl->join();
    return report;
}

SessionRecord ToXenFixture::run_killed(ScriptedReceiver::Script script,
                                       const std::function<void(pid_t)>& killer) {
    xl = std::make_unique<ScriptedReceiver>(std::move(script));
    destination.xl = fmt::format("tcp:127.0.0.1:{}", xl->listener.port);
    machine.migrate(listener.port, return_path);
    const auto child = in_child([&](Loop& own) { (void)drive(own); });
    if (killer) killer(child);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    xl->join();
    const auto listed = sessions();
    REQUIRE(listed.size() == 1);
    CHECK(!listed[0].driven);
    CHECK(listed[0].direction == Direction::to_xen);
    return listed[0];
}

void ToXenFixture::at(SessionState when, std::function<void()> action) {
    options.progress = [this, when, action = std::move(action),
                        done = std::make_shared<bool>(false)](const SessionProgress& progress) {
        if (progress.state != when || std::exchange(*done, true)) return;
        ++acted;
        action();
    };
}

Error ToXenFixture::given_back(const SessionReport& report) {
    CHECK(report.state < SessionState::in_doubt);
    CHECK(machine.becomes("running"));
    CHECK(!xl->ran);
    CHECK(xl->permission.empty());
    CHECK(sessions().empty());
    if (!report.directory.empty()) CHECK(report.directory.starts_with(state + "/ended/"));
    REQUIRE(report.error);
    return *report.error;
}

SessionRecord ToXenFixture::in_doubt(const SessionReport& report) {
    REQUIRE(report.error);
    CHECK(report.error->kind == ErrorKind::in_doubt);
    CHECK(report.state == SessionState::in_doubt);
    CHECK(report.error->hint.find("vmferry resolve " + report.id + " ") != std::string::npos);
    const auto listed = sessions();
    REQUIRE(listed.size() == 1);
    CHECK(listed[0].state == "in doubt");
    CHECK(!listed[0].driven);
    CHECK(listed[0].direction == Direction::to_xen);
    return listed[0];
}

}  // namespace vmferry::test
