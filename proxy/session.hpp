// One guest's migration from a Xen host's xl into QEMU: the handover, written once.
//
//  state              source (xl)              vmferry                           destination (QEMU)
//  connecting         ◄── banner M1 ───
//                     ── header M2 ──►         audit, plan, twin ─── starts ───► -S -incoming defer
//  copying            ── stream M3 ──►         pages ──────────────────────────► RAM
//  paused at source   ── records ────►         audit, translate ───────────────► device sections, EOF
//  loaded                                      checks ◄────────────────────────  completed, paused
//                                              ▪ journal: in doubt
//  in doubt           ◄── ready M4 ───         QEMU leaves its guardian
//                     ── go M5 ──────►         ▪ journal: permission
//                                              cont ───────────────────────────► runs
//  running                                     ▪ journal: running
//                     ◄── report M6 M7 0 ──    announce-self
//  reported                                                                      ▪ = written and fsync'ed
//
// What each failure does. "Resumes": xl sees the end of the connection where it waits for M4.
//
//  before M4                    spawned QEMU killed, connection closed with nothing said: the source resumes
//  M4 not deliverable, journal  the same: no byte of it has left us
//  no whole M5                  in doubt: xl may have let go. QEMU stays paused; `vmferry resolve`
//  other bytes than M5          M6, M7 ≠ 0; our copy destroyed; M8: the source resumes
//  cont refused, or QEMU died   the same: it has never run
//   before cont
//  … and M6 not deliverable,    in doubt: no M8
//   or our copy not gone
//  cont without an answer       in doubt: it may run, so the source must not. M6, M7 ≠ 0, no M8
//  M6 M7 not deliverable        the guest runs here; the source keeps a paused copy that is to be destroyed
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/crossing.hpp"
#include "proxy/destination_qemu.hpp"
#include "proxy/loop.hpp"
#include "proxy/prepare.hpp"
#include "proxy/session_directory.hpp"
#include "proxy/session_report.hpp"
#include "proxy/xl_endpoint.hpp"
#include "translators/audit.hpp"
#include "translators/destination.hpp"

namespace vmferry {

struct SessionOptions {
    /// Which destination a guest gets, by its configuration; an error refuses it.
    std::function<Result<DestinationOptions>(const DomainConfig&)> choose;
    std::string state_directory = "/var/lib/vmferry";
    std::string cache_directory;       ///< of templates; empty: none
    std::size_t read_size = 1u << 20;  ///< most bytes asked of the source at once, ≥ 1
    TimeLimits limits = {};            ///< until the destination's own are known
    bool dry_run = false;              ///< everything up to "loaded", then end as before M4
    bool leave_paused = false;         ///< xl's -p: report success without cont
    /// Called in the loop's thread, at most every 100 ms and at each new state; may be empty.
    std::function<void(const SessionProgress&)> progress = {};
};

class Session {
  public:
    Session(Loop& loop, XlEndpoint& source, SessionOptions options);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// Once. Returns when the session is over on the wire; a guest that was taken over runs on.
    [[nodiscard]] SessionReport run();

    /// The QEMU that runs the guest after a run() whose state is reported or running; else nullptr.
    [[nodiscard]] DestinationQemu* destination() { return qemu_.get(); }
    /// The guest's QEMU has ended, and nothing of the session is of use any more.
    void ended();

  private:
    using Clock = std::chrono::steady_clock;

    Result<void> carry();
    Result<void> pump();
    Result<void> prepare();
    Result<void> start_qemu(const Prepared& prepared);
    Result<void> finish_stream();
    Result<void> hand_over();
    Result<void> run_guest();
    Result<void> give_back(Error why);
    std::unexpected<Error> doubt(const Error& why);
    void abandon();

    Result<void> enter(SessionState state);
    void show_progress();

    Loop& loop_;
    XlEndpoint& source_;
    SessionOptions options_;
    DestinationOptions destination_;
    SessionReport report_;
    std::unique_ptr<Crossing> crossing_;
    std::unique_ptr<SessionDirectory> directory_;
    std::unique_ptr<DestinationQemu> qemu_;
    OutputBatch batch_;
    std::uint64_t guest_bytes_ = 0;
    bool ready_left_us_ = false;
    Clock::time_point begun_, stream_ended_, last_progress_;
};

}  // namespace vmferry
