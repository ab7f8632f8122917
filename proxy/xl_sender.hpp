// Our end of xl's handshake as the source (parsers/xen/handshake.hpp), towards an `xl migrate-receive` behind
// a command (ssh, as xl itself does it) or a TCP peer.
//
//     start │ connect → read_banner() → write() … → await_ready() ─┬─► permit() → read_answer()
//                        │                                         ├─► withdraw()
//                        └──────────► withdraw() ◄─────────────────┴─► leave()
//
// What xl does at its end (tools/xl/xl_migrate.c, migrate_receive):
//
//     its input ends before "ready"      destroys its domain, says nothing, ends
//     … after "ready", or other bytes    report 0xFF; if it could write that: destroys its domain, give-back;
//                                        if not: ends, and its domain stays, paused, as NAME--incoming
//     the permission                     renames to NAME, unpauses, report 0
//     … if that fails                    report ≠ 0, destroys its domain, give-back
//
// So who wants its copy gone closes the one direction and goes on reading, and who wants it kept closes the
// direction in which it would answer first.
//
// The command is run by sh in a process group of its own and never outlives the session: it is given the end
// of its input, time (TimeLimits::xl_ends), SIGTERM, SIGKILL; if vmferry dies, a guardian does the same. What
// it writes to stderr goes to a file, whose last lines stand in errors. While the stream is written xl says
// nothing: its exit or any byte from it is an alarm of the loop.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <sys/uio.h>

#include "parsers/wire/error.hpp"
#include "proxy/channel.hpp"
#include "proxy/loop.hpp"
#include "proxy/qemu_process.hpp"
#include "proxy/time_limits.hpp"

namespace vmferry {

class XlSender {
  public:
    /// `target`: "tcp:HOST:PORT", or a command for sh. `log`: the file that takes the command's stderr.
    [[nodiscard]] static Result<std::unique_ptr<XlSender>> start(Loop& loop, const std::string& target,
                                                                 const std::string& log,
                                                                 const TimeLimits& limits);
    /// Ends what is left of it, as leave().
    ~XlSender();
    XlSender(const XlSender&) = delete;
    XlSender& operator=(const XlSender&) = delete;

    /// Exactly the banner; anything else that comes on its output is quoted in the error.
    Result<void> read_banner();
    /// Header and stream.
    Result<void> write(std::span<const iovec> pieces);
    /// What is written next ends the stream: from then on it may speak.
    void last_write() { unwatch(); }
    /// After libxl's END: the domain is there, paused, with everything.
    Result<void> await_ready();

    /// `delivered` says after a failure whether xl may have read it: once a byte has left us, it may.
    Result<void> permit(bool& delivered);
    enum class Answer {
        runs,        ///< report 0
        given_back,  ///< report ≠ 0, its copy is destroyed
        unknown,     ///< anything else: it may run there
        kept,        ///< report ≠ 0, but no give-back: it does not run, a copy may be there
    };
    struct AnswerRead {
        Answer answer = Answer::unknown;
        std::uint8_t code = 0;
        Error why{};  ///< unless runs
    };
    /// After the permission, or what stands in its place.
    [[nodiscard]] AnswerRead read_answer();

    /// The reason behind an error that is only a symptom (the alarm; every other error of this object has
    /// it): its exit, its last words, what it said too early.
    [[nodiscard]] Error explain(Error symptom);

    /// The permission has not been sent and never will be: xl is to destroy its copy. Returns when it has
    /// ended. Error: it may have left a copy, paused, which only an operator can let run.
    Result<void> withdraw();
    /// It is not known who has the guest: xl shall keep its copy, paused.
    void leave();
    /// After the answer: waits until the command has ended.
    void finish();

  private:
    XlSender(Loop& loop, const TimeLimits& limits) : loop_(loop), limits_(limits) {}
    Result<void> run(const std::string& command, const std::string& log);
    void watch();
    void unwatch();
    void end_command(std::chrono::milliseconds patience);
    /// Reads exactly `message`.
    Result<void> expect(std::string_view message, const Wait& wait, const char* what);
    /// What has come from it by now and does not belong there, quoted; at most some lines.
    [[nodiscard]] std::string stray_words(std::string first = {});

    Loop& loop_;
    TimeLimits limits_;
    std::unique_ptr<QemuProcess> process_;  ///< empty: a TCP peer
    std::unique_ptr<Channel> channel_;
    Descriptor watched_;
    OwnedHandle<uv_poll_t> watcher_;
    bool ready_ = false;  ///< "ready" has been read: xl waits for the permission
};

}  // namespace vmferry
