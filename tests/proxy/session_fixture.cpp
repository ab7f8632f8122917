#include "tests/proxy/session_fixture.hpp"

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/input_file.hpp"
#include "proxy/qmp_call.hpp"

namespace vmferry::test {

using namespace std::chrono_literals;

const Buffer& recording() {
    static const Buffer bytes = [] {
        auto file = InputFile::open(VMFERRY_SOURCE_DIR "/captures/xen-4.17-linux-2vcpu-e1000-ide.up.zst");
        REQUIRE(file);
        Buffer all;
        for (;;) {
            const auto have = all.size();
            all.resize(have + (8u << 20));
            const auto count = file->read(std::span(all).subspan(have));
            REQUIRE(count);
            all.resize(have + *count);
            if (*count == 0) break;
        }
        REQUIRE(as_text(all).ends_with(xen::go));
        all.resize(all.size() - xen::go.size());
        return all;
    }();
    return bytes;
}

Buffer recording_of(char name_digit, char uuid_digit) {
    auto bytes = recording();
    const auto text = as_text(bytes);
    const auto head = text.substr(0, 8192);
    const auto name = head.find("\"name\": \"g2\""), uuid = head.find("\"uuid\": \"3db11e84");
    REQUIRE(name != std::string_view::npos);
    REQUIRE(uuid != std::string_view::npos);
    bytes[name + 10] = static_cast<std::byte>(name_digit);
    bytes[uuid + 9] = static_cast<std::byte>(uuid_digit);
    return bytes;
}

ScriptedSource::ScriptedSource(Descriptor socket, Script script)
    : socket_(std::move(socket)), thread_([this, script = std::move(script)] {
          script(*this);
          close();
      }) {}

bool ScriptedSource::expect(std::string_view message) {
    for (const char wanted : message)
        if (read_byte() != static_cast<unsigned char>(wanted)) return false;
    return true;
}

bool ScriptedSource::send(Bytes bytes) {
    while (!bytes.empty()) {
        const auto count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count <= 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

std::optional<int> ScriptedSource::read_byte() {
    unsigned char byte = 0;
    if (::recv(socket_.get(), &byte, 1, 0) != 1) return std::nullopt;
    return byte;
}

bool ScriptedSource::at_end() {
    return !read_byte().has_value();
}

bool ScriptedSource::stream() {
    return expect(xen::banner) && send(recording());
}

SessionFixture::SessionFixture() {
    static const TemporaryDirectory cache = std::move(*TemporaryDirectory::create());
    std::ofstream(image).close();
    std::filesystem::resize_file(image, 16u << 20);
    destination.accel = Accel::tcg;
    destination.disks["hda"] = {.path = image};
    destination.nics[0] = "user";
    destination.serial = {"null"};
    options.choose = [this](const DomainConfig&) -> Result<DestinationOptions> { return destination; };
    options.state_directory = state;
    options.cache_directory = cache.path();
}

SessionReport SessionFixture::run(ScriptedSource::Script script) {
    std::array<int, 2> ends{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    Channel channel(loop, "source", Descriptor(ends[0]));
    source = std::make_unique<ScriptedSource>(Descriptor(ends[1]), std::move(script));
    XlEndpoint endpoint(channel, options.limits);
    session = std::make_unique<Session>(loop, endpoint, options);
    auto report = session->run();
    channel.close();
    source->join();
    return report;
}

void SessionFixture::whole(ScriptedSource& source) {
    source.ready = source.stream() && source.expect(xen::ready);
    if (!source.ready || !source.send(xen::go) || !source.expect(xen::report)) return;
    source.report = source.read_byte();
    if (source.report != 0) source.given_back = source.expect(xen::go);
}

std::string SessionFixture::qemu_state(const std::string& qmp_socket) {
    QmpClient qmp(loop.uv(), "QEMU");
    if (!qmp_connect(loop, qmp, qmp_socket, 2s)) return {};
    const auto status = qmp_call(loop, qmp, "query-status", nullptr, 2s);
    return status ? status->value("status", "") : std::string();
}

bool SessionFixture::nothing_left(const SessionReport& report) const {
    return sessions().empty() && process_start_time(report.qemu_pid) == 0;
}

void SessionFixture::end_process(long pid) {
    REQUIRE(pid > 1);
    kill(static_cast<pid_t>(pid), SIGKILL);
    for (int i = 0; i < 500 && process_start_time(pid) != 0; ++i) usleep(10'000);
}

}  // namespace vmferry::test
