// A QEMU that we started (or another program: the command that leads to xl), and who may end it.
//
//     vmferry ──fork──► QEMU      own session and process group, stdin /dev/null, stdout and stderr in a log
//        │
//        └────fork────► guardian  holds one end of a pipe and QEMU's pidfd, nothing else
//
// Until release(), QEMU must not outlive vmferry, however vmferry ends (SIGKILL too): the guardian reads the
// end of the pipe and kills QEMU. PR_SET_PDEATHSIG could not be taken back from outside, and a cut migration
// stream ends QEMU only while it still loads. release() sends the guardian home: from then on QEMU holds a
// guest that may be the only one, and survives vmferry.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "parsers/wire/error.hpp"
#include "proxy/descriptor.hpp"
#include "proxy/loop.hpp"

namespace vmferry {

struct ProcessStart {
    std::string component;  ///< in errors: "QEMU", "twin"
    std::string binary;     ///< looked up in PATH if it has no slash
    std::vector<std::string> arguments;
    std::string log;     ///< file that takes stdout and stderr; appended to
    int input = -1;      ///< descriptor for stdin, instead of /dev/null; stays the caller's
    int output = -1;     ///< descriptor for stdout, instead of the log; likewise
    bool group = false;  ///< signals go to its process group, and what is left of that ends with it
    std::chrono::milliseconds patience{0};  ///< vmferry has died → the guardian kills it
};

class QemuProcess {
  public:
    /// Error: the binary cannot be executed (said at once, not by a later time-out).
    [[nodiscard]] static Result<std::unique_ptr<QemuProcess>> start(Loop& loop, ProcessStart what);
    /// Unless released: kills and reaps.
    ~QemuProcess();
    QemuProcess(const QemuProcess&) = delete;
    QemuProcess& operator=(const QemuProcess&) = delete;

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] bool exited() const { return exited_; }
    /// "ended with status 1", "was killed by signal 9"; with the log's tail, for error texts.
    [[nodiscard]] Error exit_error(std::string doing) const;
    /// The last lines of the log, at most `bytes`.
    [[nodiscard]] std::string log_tail(std::size_t bytes = 2048) const;
    /// Whether its exit is an alarm of the loop (at first: no).
    void alarm_on_exit(bool on) { alarm_on_exit_ = on; }

    /// From here on it survives us.
    Result<void> release();
    /// Collects the exit status of those that were released and whose owner is gone. For long-lived programs.
    static void reap_released();
    /// SIGKILL; returns when it is reaped. Error: it is still there after `limit` (waits in the kernel).
    Result<void> kill(std::chrono::milliseconds limit);
    /// SIGTERM, after `patience` kill().
    Result<void> terminate(std::chrono::milliseconds patience, std::chrono::milliseconds limit);

  private:
    QemuProcess(Loop& loop, ProcessStart what) : loop_(loop), what_(std::move(what)) {}
    void watch();
    void reap();
    void send_signal(int number) const;
    bool signal_and_wait(int number, std::chrono::milliseconds limit);

    Loop& loop_;
    ProcessStart what_;
    pid_t pid_ = -1;
    pid_t guardian_ = -1;
    Descriptor pidfd_;
    Descriptor leash_;  ///< write end of the guardian's pipe
    OwnedHandle<uv_poll_t> watcher_;
    bool exited_ = false, released_ = false, alarm_on_exit_ = false;
    int exit_status_ = 0;  ///< as waitpid gives it
};

}  // namespace vmferry
