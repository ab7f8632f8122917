// `vmferry replay`: a session whose source is a recording, in either direction.
//
//     file ─► ReplaySource ═ socket pair ═ Channel ─► Session or SessionToXen ─► destination
#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "proxy/input_file.hpp"
#include "proxy/replay_source.hpp"
#include "proxy/session.hpp"
#include "proxy/session_to_xen.hpp"

namespace vmferry {

/// As a session's progress, with how much of the file has been read.
using ReplayProgress =
    std::function<void(const SessionProgress&, std::uint64_t position, std::uint64_t size)>;

struct ReplayOptions {
    SessionOptions session;
    /// How long the guest may run before QEMU is ended; none: until QEMU ends by itself or the loop is asked
    /// to end.
    std::optional<std::chrono::milliseconds> run_for;
    bool detach = false;  ///< return as soon as the guest has been handed over
    /// Called when the session is over on the wire, before the guest is given its time; may be empty.
    std::function<void(const SessionReport&)> handed_over;
    ReplayProgress progress;  ///< may be empty
};

struct ReplayReport {
    SessionReport session;  ///< its error may be the recording's own
    ReplayOutcome source = ReplayOutcome::resumes;
    /// The guest's QEMU has ended (by itself, by time or by request) and the session is archived.
    bool qemu_ended = false;
};

/// Of a Xen stream. Returns when QEMU has ended, or with `detach` after the handover.
[[nodiscard]] Result<ReplayReport> replay(Loop& loop, InputFile file, ReplayOptions options);

struct ReplayToXenOptions {
    /// What replay_to_xen() sets itself: `recorded`.
    SessionToXenOptions session;
    ReplayProgress progress;  ///< may be empty
};

/// Of a QEMU stream. Returns when the session is over.
[[nodiscard]] Result<ReplayReport> replay_to_xen(Loop& loop, InputFile file, ReplayToXenOptions options);

}  // namespace vmferry
