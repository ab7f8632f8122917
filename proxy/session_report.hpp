// How far a session is, and what became of it: the same for both directions.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parsers/wire/error.hpp"
#include "proxy/crossing.hpp"
#include "proxy/session_directory.hpp"
#include "translators/audit.hpp"

namespace vmferry {

enum class SessionState { connecting, copying, paused_at_source, loaded, in_doubt, running, reported };
/// "connecting", "copying", "paused at source", "loaded", "in doubt", "running", "reported".
[[nodiscard]] const char* session_state_name(SessionState state);

struct SessionProgress {
    SessionState state = SessionState::connecting;
    CrossingCounters counters;
    std::uint64_t guest_bytes = 0;  ///< plain RAM of the guest, 0 = not known yet
};

/// What became of it.
struct SessionReport {
    Direction direction = Direction::to_qemu;
    std::string id, directory;  ///< empty if it ended before it was registered
    std::string name, uuid;
    SessionState state = SessionState::connecting;  ///< the last one that was reached
    std::optional<Error> error;
    AuditReport audit;
    CrossingCounters counters;
    std::vector<std::string> notes;    ///< what an operator should know besides
    std::vector<std::string> command;  ///< QEMU's words; to Xen: the command or peer that leads to xl
    long qemu_pid = 0;                 ///< of the destination; to Xen: of the source, if it is known
    std::string qmp_socket;            ///< likewise
    bool dry_run = false, paused = false, adopted = false;
    bool recorded = false;              ///< the source is a recording: nothing stands still or runs on there
    std::chrono::milliseconds total{};  ///< banner → end
    /// Last record of the stream → guest runs: the part of the downtime that lies with this side.
    std::chrono::milliseconds handover{};
};

}  // namespace vmferry
