// The stock QEMU that migrates to us, over one TCP connection; its return path is the same socket.
//
//     read() … reply() … │ all loaded at the other side │ complete() ──► confirmed … ──► the guest is not
//     here
//              │                                             │
//              └───────────────── resume() ◄─────────────────┴──── given back
//
// How QEMU ends a migration (migration/migration.c):
//
//     return path        after its last byte it waits, stopped, in finish-migrate. SHUT(0): completed, and it
//                        stays stopped in postmigrate. SHUT(≠ 0), or the connection ends: failed, and it runs
//                        again by itself
//     no return path     completed, postmigrate, as soon as its last byte is in its socket
//     postmigrate        stopped until somebody says `cont`
//
// So nobody may be allowed to run the guest elsewhere before QEMU has left finish-migrate for postmigrate.
// QMP says so. Without QMP all there is to see is that it closes the connection after SHUT(0).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/channel.hpp"
#include "proxy/loop.hpp"
#include "proxy/qmp.hpp"
#include "proxy/time_limits.hpp"

namespace vmferry {

class SourceQemu {
  public:
    /// `channel`: the connection that QEMU has made.
    SourceQemu(Loop& loop, Channel& channel, const TimeLimits& limits)
        : loop_(loop), channel_(channel), limits_(limits) {}
    SourceQemu(const SourceQemu&) = delete;
    SourceQemu& operator=(const SourceQemu&) = delete;

    void set_limits(const TimeLimits& limits) { limits_ = limits; }

    /// A recording plays its part: there is no QEMU that could run the guest again, or need help to.
    void set_recorded(bool recorded) { recorded_ = recorded; }

    /// Error also: that QEMU is not migrating, or is seen to be another one than has connected (which can be
    /// told where both are processes of this host). It is then not asked again.
    Result<void> connect_qmp(const std::string& socket);
    [[nodiscard]] QmpClient* qmp() { return qmp_.get(); }  ///< null: there is none
    [[nodiscard]] const std::string& qmp_socket() const { return qmp_socket_; }
    [[nodiscard]] pid_t pid() const { return pid_; }  ///< of the QMP socket's peer; -1: not known
    [[nodiscard]] bool was_running() const { return was_running_; }
    /// Its process has ended. False: it has not, or nobody knows.
    [[nodiscard]] bool certainly_ended() const;

    /// Some bytes of its stream; 0 = it has closed.
    [[nodiscard]] Result<std::size_t> read(std::span<std::byte> space);
    /// To its return path.
    Result<void> reply(Bytes bytes);
    /// What its stream says: it has opened a return path.
    void set_return_path(bool open) { return_path_ = open; }
    /// With the capability switchover-ack (QEMU 8.1) it sends pages until it is told that it may stop the
    /// guest. Others do not know the message, so it is sent only where QMP says that it is waited for.
    Result<void> approve_switchover();
    /// Its last byte has been read; what its stream says of the guest before: it ran.
    void set_whole(std::optional<bool> was_running = {}) {
        whole_ = true;
        was_running_ = was_running.value_or(was_running_);
    }

    enum class Completion {
        confirmed,  ///< QMP says: completed, postmigrate
        ended,      ///< its process has ended: it cannot run the guest any more
        assumed,    ///< no QMP: it has closed the connection in its turn
        has_guest,  ///< it has failed or cancelled: it runs, or it can be let run by resume(). Also a
                    ///< recording that has not ended as it should: it can be played again
        unknown,
    };
    struct CompletionRead {
        Completion completion = Completion::unknown;
        Error why{};  ///< unless confirmed or assumed
    };
    /// The whole stream is loaded at the other side. Says so on the return path, and finds out what QEMU
    /// makes of it.
    [[nodiscard]] CompletionRead complete();

    /// Nobody else has the guest or ever will: it shall run here again. Closes the connection. The text says
    /// how things are ("the source runs"); the error, what somebody has to type.
    [[nodiscard]] Result<std::string> resume();

    /// The connection and QMP.
    void close();

  private:
    /// The QEMU at the QMP socket, whose migration is in this phase, is the one at the other end of the
    /// channel.
    [[nodiscard]] Result<void> check_ours(const std::string& phase);
    /// As far as the size tells that it says it has sent; only asked where nothing else tells that it is the
    /// right QEMU. To let another one's guest run again, which has gone elsewhere, would make two of it.
    [[nodiscard]] bool sent_this_stream(const nlohmann::json& migration) const;
    [[nodiscard]] Result<nlohmann::json> ask(std::string_view command);
    [[nodiscard]] CompletionRead tell();
    [[nodiscard]] CompletionRead await_completed();
    [[nodiscard]] CompletionRead await_closed();
    void pause_a_moment();

    Loop& loop_;
    Channel& channel_;
    TimeLimits limits_;
    std::unique_ptr<QmpClient> qmp_;
    std::string qmp_socket_;
    pid_t pid_ = -1;
    Descriptor process_;  ///< pidfd of `pid_`; empty: it is not known to be QEMU's
    std::uint64_t received_ = 0;
    bool recorded_ = false, return_path_ = false, whole_ = false, told_ = false, was_running_ = true,
         perhaps_another_ = false, waits_for_ack_ = false;
};

}  // namespace vmferry
