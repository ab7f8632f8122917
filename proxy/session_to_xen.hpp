// One guest's migration from a QEMU into a Xen host's xl: the handover of this direction, written once.
//
//  state              source (QEMU)            vmferry                           destination (xl)
//  connecting         ── head ──────►          facts over QMP, audit, plan
//                                              xl is started ──────────────────► ◄── banner
//                                              configuration, head ────────────►
//  copying            ── pages ─────►          pages ──────────────────────────► memory
//  paused at source   ── sections ──►          audit, translate ───────────────► records, device model
//  loaded                                      ◄──────────────────────────────── ready: loaded, paused
//                                              ▪ journal: in doubt
//  in doubt           ◄── SHUT 0 ────          (return path)
//                     completed, postmigrate:  QMP says so
//                                              ▪ journal: permission
//                                              permission ─────────────────────► renames, unpauses
//  running                                     ◄──────────────────────────────── report 0
//  reported                                    ▪ journal                         ▪ = written and fsync'ed
//
// Never the permission first: as long as QEMU is in finish-migrate, it runs again by itself when its
// connection ends. From `completed` on it stands still until somebody says `cont`, and only then is xl told.
//
// What each failure does. "Withdrawn": xl's input ends, it destroys its copy (after "ready" it says so).
//
//  before SHUT                  withdrawn; the source's connection ends and it runs on. Without return path
//  it
//                               may have completed already: `cont` over QMP; without QMP the report says so
//  QEMU says failed, cancelled  the same
//  QEMU's process has ended     xl has the only copy: the permission is sent. It is never withdrawn then
//  nobody knows what QEMU did   in doubt: no permission; xl's copy is left, paused, as NAME--incoming
//  journal of the permission,   withdrawn, and `cont` at the source
//   or no byte of it taken
//  report ≠ 0, give-back        `cont` at the source
//  report ≠ 0, no give-back     in doubt: it does not run in Xen, but a paused copy may be there
//  no report                    in doubt: it may run in Xen, so the source must not
//  `cont` does not help         in doubt: Xen has nothing; the source stands still
//
// A recording in the source's place never runs again: what would be done to the source falls away, and doubt
// is left only about what xl did with its permission.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/channel.hpp"
#include "proxy/crossing_to_xen.hpp"
#include "proxy/loop.hpp"
#include "proxy/session_directory.hpp"
#include "proxy/session_report.hpp"
#include "proxy/source_qemu.hpp"
#include "proxy/xl_sender.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry {

/// Where a guest goes, and as what.
struct XenHost {
    std::string xl;  ///< "tcp:HOST:PORT", or a command for sh that speaks `xl migrate-receive`
    XenDestinationOptions options;
    XenTemplate xen;  ///< of that host
    Crossing::Limits held_pages = {};
};

struct SessionToXenOptions {
    /// Which destination a guest gets. `facts`: only with QMP; of the stream machine and RAM blocks are
    /// known. An error refuses it.
    std::function<Result<XenHost>(const std::optional<SourceFacts>& facts, const QemuSource& source)> choose;
    std::string source_qmp;  ///< QMP socket of the source; empty: none
    /// The source is a recording. Nobody stands behind the connection who could run the guest again, whatever
    /// becomes of the session: so nobody has to confirm that it stands still, nothing is done to a source
    /// afterwards, and where nobody knows how it ended xl's copy is withdrawn. `source_qmp` is then asked for
    /// facts only, of the QEMU that was recorded, which must not run by now.
    bool recorded = false;
    std::string state_directory = "/var/lib/vmferry";
    std::size_t read_size = 1u << 20;  ///< most bytes asked of the source at once, ≥ 1
    TimeLimits limits = {};
    bool dry_run = false;  ///< everything up to "loaded", then end as before SHUT
    /// Called in the loop's thread, at most every 100 ms and at each new state; may be empty.
    std::function<void(const SessionProgress&)> progress = {};
};

class SessionToXen {
  public:
    /// `source`: the connection that QEMU has made.
    SessionToXen(Loop& loop, Channel& source, SessionToXenOptions options);
    ~SessionToXen();
    SessionToXen(const SessionToXen&) = delete;
    SessionToXen& operator=(const SessionToXen&) = delete;

    /// Once. Returns when the session is over.
    [[nodiscard]] SessionReport run();

  private:
    using Clock = std::chrono::steady_clock;

    Result<void> carry();
    Result<void> read_facts();
    Result<void> pump();
    Result<void> prepare();
    Result<void> start_xl(const XenPlan& plan);
    Result<void> finish_stream();
    Result<void> hand_over();
    Result<void> permit();
    Result<void> reported();
    /// Nobody has run the guest in Xen and nobody will: it goes on at the source.
    void abandon();
    std::unexpected<Error> doubt(const Error& why, std::string hint);
    [[nodiscard]] std::string look_at_source() const;
    [[nodiscard]] std::string look_at_xen() const;

    Result<void> flush();
    Result<void> enter(SessionState state);
    void show_progress();
    void note(std::string text) { report_.notes.push_back(std::move(text)); }

    Loop& loop_;
    SourceQemu source_;
    SessionToXenOptions options_;
    SessionReport report_;
    std::optional<SourceFacts> facts_;
    XenHost destination_;
    std::unique_ptr<CrossingToXen> crossing_;
    std::unique_ptr<SessionDirectory> directory_;
    std::unique_ptr<XlSender> xl_;
    OutputBatch batch_;
    std::uint64_t guest_bytes_ = 0;
    Clock::time_point begun_, stream_ended_, last_progress_;
};

}  // namespace vmferry
