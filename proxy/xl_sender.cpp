#include "proxy/xl_sender.hpp"

#include <array>

#include <fcntl.h>
#include <sys/socket.h>

#include "parsers/xen/handshake.hpp"
#include "proxy/tcp.hpp"

namespace vmferry {
namespace {

constexpr std::size_t quoted_bytes = 400;

/// Foreign bytes for an error's text.
std::string in_quotes(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\n')
            result += "\\n";
        else if (byte < 0x20 || byte >= 0x7F || c == '"' || c == '\\')
            result += fmt::format("\\x{:02x}", byte);
        else
            result += c;
    }
    return result + "\"";
}

}  // namespace

Result<std::unique_ptr<XlSender>> XlSender::start(Loop& loop, const std::string& target,
                                                  const std::string& log, const TimeLimits& limits) {
    std::unique_ptr<XlSender> self(new XlSender(loop, limits));
    if (target.starts_with("tcp:")) {
        VMFERRY_ASSIGN(auto socket, connect_tcp(loop, target.substr(4), limits.xl_starts));
        self->channel_ = std::make_unique<Channel>(loop, "xl", std::move(socket));
    } else {
        VMFERRY_TRY(self->run(target, log));
    }
    return self;
}

Result<void> XlSender::run(const std::string& command, const std::string& log) {
    std::array<int, 2> to{}, from{};
    if (pipe2(to.data(), O_CLOEXEC) != 0) return environment_error("xl", "making a pipe", errno_text(errno));
    const Descriptor its_input(to[0]);
    Descriptor our_output(to[1]);
    if (pipe2(from.data(), O_CLOEXEC) != 0)
        return environment_error("xl", "making a pipe", errno_text(errno));
    Descriptor our_input(from[0]);
    const Descriptor its_output(from[1]);
    ProcessStart start{.component = "xl", .binary = "/bin/sh", .arguments = {"-c", command}, .log = log};
    start.input = its_input.get();
    start.output = its_output.get();
    start.group = true;
    start.patience = limits_.xl_ends;
    VMFERRY_ASSIGN(process_, QemuProcess::start(loop_, std::move(start)));
    channel_ = std::make_unique<Channel>(loop_, "xl", std::move(our_input), std::move(our_output));
    return {};
}

XlSender::~XlSender() {
    unwatch();
    if (channel_) channel_->close();
    end_command(limits_.xl_ends);
}

// ---- words that come where none belong ----

std::string XlSender::stray_words(std::string first) {
    const Loop::Shield shield(loop_);
    std::array<std::byte, quoted_bytes> space{};
    // What a login shell says comes in several pieces; the first alone is seldom what explains it.
    const Wait moment{"xl", "its words", std::chrono::milliseconds(300)};
    while (first.size() < quoted_bytes) {
        const auto count = channel_->read_some(std::span(space).first(quoted_bytes - first.size()), moment);
        if (!count || *count == 0) break;
        first += as_text(Bytes(space).first(*count));
    }
    return first;
}

Error XlSender::explain(Error symptom) {
    const bool ended = process_ && process_->exited();
    if (loop_.alarm() && !ended && loop_.alarm()->format != "xl") return symptom;
    const Loop::Shield shield(loop_);
    if (const auto words = stray_words(); !words.empty())
        symptom.found += "; instead of silence it said on its output: " + in_quotes(words);
    if (!process_) return symptom;
    if (loop_.wait({"xl", "its end", limits_.qemu_last_words}, [this] { return process_->exited(); })) {
        auto error = process_->exit_error(symptom.record);
        if (symptom.found.find("it said on its output") != std::string::npos)
            error.found += "; before that: " + symptom.found;
        error.expected = symptom.expected;
        return error;
    }
    if (const auto tail = process_->log_tail(); !tail.empty()) symptom.found += "; its stderr says: " + tail;
    return symptom;
}

void XlSender::watch() {
    watched_ = channel_->duplicate_input();
    watcher_.reset(new uv_poll_t);
    uv_poll_init(loop_.uv(), watcher_.get(), watched_.get());
    watcher_->data = this;
    uv_poll_start(watcher_.get(), UV_READABLE | UV_DISCONNECT, [](uv_poll_t* handle, int, int) {
        auto* self = static_cast<XlSender*>(handle->data);
        if (self == nullptr) return;
        uv_poll_stop(handle);
        self->loop_.raise({ErrorKind::environment,
                           "xl",
                           "taking the stream",
                           {},
                           0,
                           "it ended, or said something, before it had all",
                           "silence until ready"});
    });
}

void XlSender::unwatch() {
    watcher_.reset();
    watched_.reset();
}

// ---- the handshake ----

Result<void> XlSender::expect(std::string_view message, const Wait& wait, const char* what) {
    std::string have;
    std::array<std::byte, 64> space{};
    while (have.size() < message.size()) {
        const auto rest = std::min(space.size(), message.size() - have.size());
        const auto count = channel_->read_some(std::span(space).first(rest), wait);
        if (!count) return std::unexpected(explain(count.error()));
        if (*count == 0) {
            std::string found =
                fmt::format("its output ended after {} of {} bytes", have.size(), message.size());
            if (!have.empty()) found += ": " + in_quotes(have);
            return std::unexpected(
                explain({ErrorKind::environment, "xl", "waiting for " + wait.awaited, {}, 0, found, what}));
        }
        have += as_text(Bytes(space).first(*count));
        if (message.starts_with(have)) continue;
        auto error = environment_error("xl", "waiting for " + wait.awaited,
                                       in_quotes(stray_words(std::move(have))), what)
                         .error();
        if (process_)
            if (const auto tail = process_->log_tail(); !tail.empty())
                error.found += "; its stderr says: " + tail;
        return std::unexpected(std::move(error));
    }
    return {};
}

Result<void> XlSender::read_banner() {
    auto read = expect(xen::banner, {"xl", "the banner of xl migrate-receive", limits_.xl_starts},
                       "its banner and nothing before it");
    if (!read) {
        if (read.error().hint.empty())
            read.error().hint =
                "nothing but xl may write to the command's output: look at the shell's profile and at what "
                "the command is";
        return read;
    }
    watch();
    return {};
}

Result<void> XlSender::write(std::span<const iovec> pieces) {
    auto written = channel_->write_all(pieces, {"xl", "it to take the stream", limits_.xl_takes});
    if (!written) return std::unexpected(explain(std::move(written).error()));
    return {};
}

Result<void> XlSender::await_ready() {
    auto read = expect(xen::ready, {"xl", "ready", limits_.xl_loads}, "that the domain is loaded");
    if (!read) {
        if (read.error().hint.empty())
            read.error().hint =
                "on the Xen host the reason is in /var/log/xen/qemu-dm-NAME--incoming.log, xl dmesg, "
                "/var/log/xen/xl-NAME--incoming.log";
        return read;
    }
    ready_ = true;
    return {};
}

Result<void> XlSender::permit(bool& delivered) {
    std::size_t written = 0;
    auto result = channel_->write_all(as_bytes(xen::go),
                                      {"xl", "it to take the permission", limits_.xl_takes}, &written);
    delivered = written > 0;
    if (delivered) ready_ = false;
    return result;
}

XlSender::AnswerRead XlSender::read_answer() {
    AnswerRead read;
    if (auto report = expect(xen::report, {"xl", "its report", limits_.xl_reports}, "its report"); !report) {
        read.why = std::move(report).error();
        return read;
    }
    std::byte code{};
    const auto count = channel_->read_some(std::span(&code, 1), {"xl", "its report", limits_.xl_reports});
    if (!count || *count == 0) {
        read.why = count
                       ? environment_error("xl", "waiting for its report", "its output ended before the code")
                             .error()
                       : count.error();
        return read;
    }
    read.code = static_cast<std::uint8_t>(code);
    if (read.code == 0) {
        read.answer = Answer::runs;
        return read;
    }
    // The byte is the negative of libxl's (negative) error code, or of 1 where it did not come to that.
    constexpr std::uint8_t no_permission = 0xFF;
    read.why = {ErrorKind::environment,
                "xl",
                "running the guest",
                {},
                0,
                read.code == no_permission
                    ? fmt::format("its report says {} (it has not read the permission)", read.code)
                    : fmt::format("its report says {} (libxl error -{})", read.code, read.code),
                "0"};
    if (process_)
        if (const auto tail = process_->log_tail(); !tail.empty())
            read.why.found += "; its stderr says: " + tail;
    read.answer = Answer::given_back;
    if (auto back = expect(xen::go, {"xl", "the give-back", limits_.xl_gives_back}, "the give-back"); !back) {
        read.answer = Answer::kept;
        read.why.found += "; then no give-back: " + back.error().text();
    }
    return read;
}

// ---- ends ----

Result<void> XlSender::withdraw() {
    const Loop::Shield shield(loop_);
    unwatch();
    if (!channel_) return {};
    channel_->close_output();
    Result<void> result;
    if (std::exchange(ready_, false)) {
        limits_.xl_reports = limits_.xl_gives_back = limits_.xl_ends;
        const auto answer = read_answer();
        if (answer.answer != Answer::given_back) result = std::unexpected(answer.why);
    } else {
        // It says nothing any more; its end is the end of its output.
        std::array<std::byte, 256> space{};
        for (;;) {
            const auto count = channel_->read_some(space, {"xl", "its end", limits_.xl_ends});
            if (!count) result = std::unexpected(count.error());
            if (!count || *count == 0) break;
        }
    }
    channel_.reset();
    end_command(result ? limits_.xl_ends : std::chrono::milliseconds(0));
    return result;
}

void XlSender::leave() {
    unwatch();
    if (!channel_) return;
    // First the direction of its answer, so that it cannot write a report: then it destroys nothing. A
    // socket's is closed by a reset.
    const linger reset{1, 0};
    setsockopt(channel_->duplicate_input().get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    channel_->close_input();
    channel_.reset();
    end_command(limits_.xl_ends);
}

void XlSender::finish() {
    channel_.reset();
    end_command(limits_.xl_ends);
}

void XlSender::end_command(std::chrono::milliseconds patience) {
    if (!process_ || process_->exited()) return;
    const Loop::Shield shield(loop_);
    (void)loop_.wait({"xl", "its end", patience}, [this] { return process_->exited(); });
    if (!process_->exited()) (void)process_->terminate(limits_.qemu_ends, limits_.qemu_ends);
}

}  // namespace vmferry
