// The QEMU that takes the guest over: spawned by us, or adopted.
//
//     spawn | adopt → QMP ready → open() … write() … → await_loaded() → check_images() → release()
//         │                                                                                 │
//         └── until here abandon(): a spawned one is killed, an adopted one left alone     run()
//
// It is started with -S and -incoming defer and never runs before run(). Its death, a load that fails and
// (adopted) a lost QMP connection are alarms of the loop, so that no wait outlasts them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <sys/uio.h>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/channel.hpp"
#include "proxy/loop.hpp"
#include "proxy/qemu_process.hpp"
#include "proxy/qmp.hpp"
#include "proxy/time_limits.hpp"
#include "translators/destination.hpp"
#include "translators/plan.hpp"

namespace vmferry {

class DestinationQemu {
  public:
    /// `directory`: of the session; takes QMP socket, log and, for a moment, the stream's socket.
    [[nodiscard]] static Result<std::unique_ptr<DestinationQemu>> spawn(Loop& loop, const Plan& plan,
                                                                        const std::string& directory,
                                                                        const TimeLimits& limits);
    /// A QEMU that waits with -incoming defer behind this QMP socket.
    [[nodiscard]] static Result<std::unique_ptr<DestinationQemu>> adopt(Loop& loop, const std::string& socket,
                                                                        const TimeLimits& limits);
    /// Unless released: as abandon().
    ~DestinationQemu();
    DestinationQemu(const DestinationQemu&) = delete;
    DestinationQemu& operator=(const DestinationQemu&) = delete;

    /// The words that spawn() runs, binary first.
    [[nodiscard]] static std::vector<std::string> command(const Plan& plan, const std::string& directory);

    [[nodiscard]] bool adopted() const { return process_ == nullptr; }
    [[nodiscard]] pid_t pid() const { return pid_; }  ///< adopted: of the socket's peer
    [[nodiscard]] const std::string& qmp_socket() const { return qmp_socket_; }
    [[nodiscard]] std::string log_tail() const;

    [[nodiscard]] Result<CpuFacts> cpu_facts();
    /// An adopted QEMU must be the machine that the template describes.
    Result<void> compare(const qemu::Snapshot& twin);
    /// Lets it listen, and connects the stream.
    Result<void> open();
    Result<void> write(std::span<const iovec> pieces);
    /// After the whole stream: QEMU says the load is completed, and it is paused.
    Result<void> await_loaded();
    /// Every writable image is QEMU's own now (its lock is held), so that run() cannot fail for that.
    Result<void> check_images();

    /// From here on a spawned QEMU survives us, and its death is no alarm any more.
    Result<void> release();

    /// What run() knows about the guest when it fails.
    enum class Ran { no, unknown };
    struct RunFailure {
        Ran ran;
        Error error;
    };
    /// cont, and the confirmation that it runs.
    [[nodiscard]] std::expected<void, RunFailure> run();
    /// Tells the network where the guest is now; a failure is of no weight.
    void announce();

    /// Kills a spawned QEMU, released or not, and sees it gone: for a guest that must not run. Error: it
    /// cannot be made sure; always for an adopted one.
    Result<void> destroy();
    /// Ends a spawned QEMU in order: it flushes its images. Error as above.
    Result<void> end();
    /// It is certain that it can never run (spawned and reaped).
    [[nodiscard]] bool certainly_gone() const { return process_ && process_->exited(); }
    /// No more alarms from it; the QMP socket is free for others.
    void let_go();
    /// Returns when a spawned QEMU has ended.
    Result<void> await_end(std::chrono::milliseconds limit);

  private:
    DestinationQemu(Loop& loop, const TimeLimits& limits) : loop_(loop), limits_(limits) {}
    Result<void> connect_qmp();
    void no_more_alarms();
    void watch_events();
    /// The reason behind an error that is only a symptom (a broken pipe, a closed QMP connection).
    [[nodiscard]] Error explain(Error symptom);
    /// Names of block nodes behind writable guest devices that are not activated.
    [[nodiscard]] Result<std::vector<std::string>> inactive_images();

    Loop& loop_;
    TimeLimits limits_;
    std::string stream_socket_, qmp_socket_;
    pid_t pid_ = -1;
    unsigned major_ = 0, minor_ = 0;
    std::unique_ptr<QemuProcess> process_;  ///< empty: adopted
    std::unique_ptr<QmpClient> qmp_;
    std::unique_ptr<Channel> stream_;
    bool alarms_ = true, completed_ = false, load_failed_ = false;
};

}  // namespace vmferry
