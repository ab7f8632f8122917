#include "tests/proxy/session_fixture.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/input_file.hpp"
#include "proxy/qmp_call.hpp"

namespace vmferry::test {

using namespace std::chrono_literals;

namespace {

/// Processes that this one has started and that still run.
std::set<pid_t> children() {
    std::set<pid_t> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        std::ifstream file(entry.path() / "stat");
        std::string text;
        std::getline(file, text);
        // After the name, which stands in parentheses and may hold anything: state, parent.
        const auto name_end = text.rfind(')');
        if (name_end == std::string::npos) continue;
        std::istringstream fields(text.substr(name_end + 1));
        char process_state = 0;
        pid_t parent = 0;
        if (fields >> process_state >> parent && parent == getpid() && process_state != 'Z')
            found.insert(static_cast<pid_t>(std::stol(entry.path().filename())));
    }
    return found;
}

std::ptrdiff_t open_descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

}  // namespace

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
    heard += static_cast<char>(byte);
    return byte;
}

bool ScriptedSource::at_end() {
    return !read_byte().has_value();
}

void ScriptedSource::stop_listening() {
    ::shutdown(socket_.get(), SHUT_RD);
}

bool ScriptedSource::stream() {
    return expect(xen::banner) && send(recording());
}

void ScriptedSource::read_report() {
    if (!expect(xen::report)) return;
    report = read_byte();
    if (report != 0) given_back = expect(xen::go);
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
    // libuv keeps a spare descriptor from a loop's first stream on; descriptors are counted.
    const OwnedHandle<uv_pipe_t> first(new uv_pipe_t);
    uv_pipe_init(loop.uv(), first.get(), 0);
}

SessionFixture::~SessionFixture() {
    for (const auto& left : sessions())
        if (left.qemu_alive) kill(static_cast<pid_t>(left.qemu_pid), SIGKILL);
}

SessionReport SessionFixture::run(Loop& on, ScriptedSource::Script script) {
    std::array<int, 2> ends{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    Channel channel(on, "source", Descriptor(ends[0]));
    XlEndpoint endpoint(channel, options.limits);
    session = std::make_unique<Session>(on, endpoint, options);
    source = std::make_unique<ScriptedSource>(Descriptor(ends[1]), std::move(script));
    auto report = session->run();
    channel.close();
    source->join();
    return report;
}

void SessionFixture::whole(ScriptedSource& source) {
    source.ready = source.stream() && source.expect(xen::ready);
    if (source.ready && source.send(xen::go)) source.read_report();
}

Error SessionFixture::failure(ScriptedSource::Script script) {
    session.reset();
    (void)recording();
    const auto descriptors = open_descriptors();
    const auto before = children();
    const auto report = run(std::move(script));
    session.reset();
    CHECK(xen::banner.starts_with(source->heard));
    CHECK(report.state < SessionState::in_doubt);
    CHECK(nothing_left(report));
    CHECK(children() == before);
    CHECK(open_descriptors() == descriptors);
    if (!report.directory.empty()) CHECK(report.directory.starts_with(options.state_directory + "/ended/"));
    REQUIRE(report.error);
    if (report.error->kind == ErrorKind::environment && !report.directory.empty()) {
        const auto how_far = fmt::format("this happened while {}, with ", session_state_name(report.state));
        CHECK(std::ranges::any_of(report.notes,
                                  [&](const std::string& note) { return note.starts_with(how_far); }));
    }
    return *report.error;
}

void SessionFixture::at(SessionState state_of_action, std::function<void()> action) {
    options.progress = [this, state_of_action, action = std::move(action),
                        done = std::make_shared<bool>(false)](const SessionProgress& progress) {
        if (progress.state != state_of_action || std::exchange(*done, true)) return;
        ++acted;
        action();
    };
}

pid_t SessionFixture::qemu_pid() const {
    const auto listed = sessions();
    return listed.size() == 1 ? static_cast<pid_t>(listed[0].qemu_pid) : 0;
}

std::string SessionFixture::qemu_state(const std::string& qmp_socket) {
    QmpClient qmp(loop.uv(), "QEMU");
    if (!qmp_connect(loop, qmp, qmp_socket, 10s)) return {};
    const auto status = qmp_call(loop, qmp, "query-status", nullptr, 10s);
    return status ? status->value("status", "") : std::string();
}

bool SessionFixture::nothing_left(const SessionReport& report) const {
    return sessions().empty() && process_start_time(report.qemu_pid) == 0;
}

void SessionFixture::end_process(long pid) {
    REQUIRE(pid > 1);
    // Not its state in /proc: that is a zombie's while some of its threads, and its sockets, are still there.
    const Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
    if (!process.valid()) return;
    kill(static_cast<pid_t>(pid), SIGKILL);
    pollfd end{process.get(), POLLIN, 0};
    CHECK(poll(&end, 1, 30'000) == 1);
}

pid_t in_child(const std::function<void(Loop&)>& body) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child != 0) return child;
    try {
        Loop own;
        body(own);
    } catch (...) {  // whatever it is, the parent's test must not go on here
        (void)std::fputs("a child process ends with an exception\n", stderr);
    }
    _exit(1);
}

}  // namespace vmferry::test
