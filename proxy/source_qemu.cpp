#include "proxy/source_qemu.hpp"

#include <array>
#include <chrono>
#include <filesystem>

#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/syscall.h>

#include "proxy/peer_process.hpp"
#include "proxy/qmp_call.hpp"

namespace vmferry {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

namespace {

// Messages of the return path: be16 type, be16 length.
constexpr std::uint16_t return_shut = 1;            ///< the destination is done; be32 0 = loaded
constexpr std::uint16_t return_switchover_ack = 7;  ///< nothing follows

/// pidfd of a process that is a QEMU; empty if it is something else (a tunnel of ssh, a supervisor that
/// listens in QEMU's place): its end would say nothing about QEMU.
Descriptor open_qemu_process(pid_t pid) {
    if (pid <= 0) return {};
    Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    std::error_code error;
    const auto program =
        std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid), error).filename().string();
    if (error || (program.find("qemu") == std::string::npos && program.find("kvm") == std::string::npos))
        return {};
    return process;
}

Error source_error(std::string doing, std::string found, std::string expected = {}) {
    return {ErrorKind::environment, "source", std::move(doing), {}, 0, std::move(found), std::move(expected)};
}

}  // namespace

// ---- QMP ----

Result<void> SourceQemu::connect_qmp(const std::string& socket) {
    qmp_socket_ = socket;
    qmp_ = std::make_unique<QmpClient>(loop_.uv(), "source");
    VMFERRY_TRY(qmp_connect(loop_, *qmp_, socket, limits_.qmp_answers));
    pid_ = qmp_->peer_pid();
    process_ = open_qemu_process(pid_);
    VMFERRY_ASSIGN(const json migration, ask("query-migrate"));
    VMFERRY_ASSIGN(const json status, ask("query-status"));
    if (auto ours = check_ours(migration.value("status", "none")); !ours) {
        // Not even to let the guest run again may that one be asked.
        qmp_.reset();
        qmp_socket_.clear();
        process_.reset();
        return ours;
    }
    VMFERRY_ASSIGN(const json capabilities, ask("query-migrate-capabilities"));
    for (const auto& capability : capabilities)
        if (capability.value("capability", "") == "switchover-ack")
            waits_for_ack_ = capability.value("state", false);
    const auto state = status.value("status", "");
    was_running_ = state == "running" || state == "finish-migrate" || state == "postmigrate";
    return {};
}

Result<void> SourceQemu::check_ours(const std::string& phase) {
    auto wrong = [this](std::string found, std::string expected) {
        auto error = source_error("asking " + qmp_socket_, std::move(found), std::move(expected));
        error.hint = "is this the QMP socket of the QEMU that migrates to this listener?";
        return std::unexpected(std::move(error));
    };
    const auto peer = peer_process(channel_.duplicate_input().get(), pid_);
    const bool proven = peer && *peer == pid_;
    if (!proven && peer && process_.valid() && open_qemu_process(*peer).valid())
        return wrong(fmt::format("it is the QEMU with pid {}", pid_),
                     fmt::format("pid {}, which has connected", *peer));
    if (phase == "none" || phase == "failed" || phase == "cancelled" || phase == "cancelling")
        return wrong("its migration is " + phase, "active");
    // One that has completed has closed its connection, and looks like one that went elsewhere some time ago.
    perhaps_another_ = phase == "completed" && !proven;
    return {};
}

bool SourceQemu::sent_this_stream(const json& migration) const {
    if (!perhaps_another_) return true;
    // What is not RAM (device state, its description) may or may not be in its count.
    constexpr std::uint64_t not_ram = 2u << 20;
    const auto ram = migration.find("ram");
    if (!whole_ || ram == migration.end()) return false;
    const auto sent = ram->value("transferred", std::uint64_t{0});
    return sent <= received_ && received_ - sent <= not_ram;
}

Result<json> SourceQemu::ask(std::string_view command) {
    if (!qmp_ || !qmp_->ready()) {
        qmp_ = std::make_unique<QmpClient>(loop_.uv(), "source");
        VMFERRY_TRY(qmp_connect(loop_, *qmp_, qmp_socket_, std::chrono::milliseconds(500)));
    }
    return qmp_call(loop_, *qmp_, command, nullptr, limits_.qmp_answers);
}

bool SourceQemu::certainly_ended() const {
    pollfd end{process_.get(), POLLIN, 0};
    return process_.valid() && poll(&end, 1, 0) == 1;
}

void SourceQemu::pause_a_moment() {
    (void)loop_.wait({"source", "a moment", std::chrono::milliseconds(20)}, [] { return false; });
}

// ---- the connection ----

Result<std::size_t> SourceQemu::read(std::span<std::byte> space) {
    auto count = channel_.read_some(space, {"source", "its stream", limits_.source_silent,
                                            [this] { return fmt::format("{} bytes", received_); }});
    if (count) received_ += *count;
    return count;
}

Result<void> SourceQemu::reply(Bytes bytes) {
    return channel_.write_all(bytes, {"source", "it to take a reply", limits_.source_takes});
}

Result<void> SourceQemu::approve_switchover() {
    if (!waits_for_ack_ || !return_path_) return {};
    Buffer ack;
    append_be<std::uint16_t>(ack, return_switchover_ack);
    append_be<std::uint16_t>(ack, 0);
    return reply(ack);
}

void SourceQemu::close() {
    channel_.close();
    qmp_.reset();
}

// ---- the end of its migration ----

SourceQemu::CompletionRead SourceQemu::complete() {
    // From its last word on QEMU stands still until this is decided: no request to end makes that shorter.
    const Loop::Shield shield(loop_);
    auto read = tell();
    if (recorded_ && read.completion == Completion::unknown) read.completion = Completion::has_guest;
    return read;
}

SourceQemu::CompletionRead SourceQemu::tell() {
    if (return_path_) {
        std::array<std::byte, 16> space{};
        const auto early = channel_.read_now(space);
        if (early && !*early) {
            Buffer shut;
            append_be<std::uint16_t>(shut, return_shut);
            append_be<std::uint16_t>(shut, 4);
            append_be<std::uint32_t>(shut, 0);
            // A part of it that has left is as good as all: what QEMU made of it is asked in any case.
            told_ = true;
            (void)reply(shut);
        } else if (qmp_socket_.empty()) {
            return {Completion::unknown,
                    source_error("handing over", "it has closed its connection while it should wait",
                                 "a source that waits for the end of the load")};
        }
    }
    return qmp_socket_.empty() ? await_closed() : await_completed();
}

SourceQemu::CompletionRead SourceQemu::await_completed() {
    const auto deadline = Clock::now() + limits_.source_confirms;
    std::string last;
    for (;;) {
        const auto migration = ask("query-migrate");
        const auto status = migration ? ask("query-status") : migration;
        if (status) {
            const auto phase = migration->value("status", ""), state = status->value("status", "");
            last = fmt::format("migration {}, machine {}", phase, state);
            if (const auto why = migration->value("error-desc", ""); !why.empty()) last += ": " + why;
            if (!sent_this_stream(*migration))
                return {
                    Completion::unknown,
                    source_error("handing over", "the QEMU at " + qmp_socket_ + " has sent another stream",
                                 fmt::format("one of {} bytes", received_))};
            if (phase == "completed" && state == "postmigrate") return {Completion::confirmed, {}};
            if (phase == "failed" || phase == "cancelled" || status->value("running", false))
                return {Completion::has_guest, source_error("handing over", last, "completed, postmigrate")};
        } else {
            last = status.error().text();
            if (certainly_ended())
                return {Completion::ended, source_error("handing over", "its process has ended")};
        }
        if (Clock::now() >= deadline)
            return {Completion::unknown, source_error("handing over", last, "completed, postmigrate")};
        pause_a_moment();
    }
}

SourceQemu::CompletionRead SourceQemu::await_closed() {
    std::array<std::byte, 16> space{};
    const auto count =
        channel_.read_some(space, {"source", "the end of its connection", limits_.source_confirms});
    if (!count) return {Completion::unknown, count.error()};
    if (*count != 0)
        return {Completion::unknown, source_error("handing over", "bytes behind the end of the stream")};
    return {Completion::assumed, {}};
}

Result<std::string> SourceQemu::resume() {
    const Loop::Shield shield(loop_);
    channel_.close();
    if (recorded_) return std::string("the recording can be replayed again");
    if (qmp_socket_.empty()) {
        if (return_path_ && !told_)
            return std::string("the source runs on by itself (it cannot be asked: there is no QMP)");
        if (!return_path_ && !whole_)
            return std::string(
                "the source runs on by itself, unless it had written all of its stream: it does not wait, "
                "and "
                "cannot be asked; if `info status` in its monitor says postmigrate, type `cont`");
        auto error = source_error("running the guest again",
                                  "it is stopped (postmigrate), and there is no QMP", "running");
        error.hint = "type `cont` in the source's monitor";
        return std::unexpected(std::move(error));
    }
    const auto deadline = Clock::now() + limits_.source_runs_again;
    std::string last;
    for (;;) {
        const auto migration = ask("query-migrate");
        const auto status = migration ? ask("query-status") : migration;
        if (status && !sent_this_stream(*migration)) {
            last = "the QEMU at " + qmp_socket_ + " has sent another stream";
            break;
        }
        if (status) {
            const auto state = status->value("status", "");
            const auto phase = migration->value("status", "");
            const bool over = phase == "failed" || phase == "cancelled" || phase == "completed";
            if (status->value("running", false) && (over || Clock::now() >= deadline))
                return std::string("the source runs");
            if ((over && state == "paused") || (state == "postmigrate" && !was_running_))
                return std::string("the source is paused, as it was before");
            last = "it is " + state;
            if (state == "postmigrate")
                if (const auto answer = ask("cont"); !answer) last += ", and cont: " + answer.error().found;
        } else {
            last = status.error().text();
            if (certainly_ended()) {
                last = "its process has ended";
                break;
            }
        }
        if (Clock::now() >= deadline) break;
        pause_a_moment();
    }
    auto error = source_error("running the guest again", last, "running");
    error.hint = "type `cont` in the source's monitor";
    return std::unexpected(std::move(error));
}

}  // namespace vmferry
