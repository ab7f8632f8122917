// What one session leaves on disk, and what all sessions of a host say together.
//
//     STATE/sessions/lock            held while a session registers: two never claim one guest
//     STATE/sessions/ID/journal      one JSON object per line; merged in order they are the session's record;
//                                    flock'ed by the vmferry that drives the session
//                       command, plan.json, audit.json, qemu.log, qmp (QEMU's socket)
//     STATE/ended/ID/…               sessions that are over: the newest ones, for whoever asks why
//
// The journal is synced to the disk before each step that could let a side run.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "parsers/wire/error.hpp"
#include "proxy/descriptor.hpp"
#include "translators/audit.hpp"

namespace vmferry {

enum class Direction { to_qemu, to_xen };
/// "to QEMU", "to Xen".
[[nodiscard]] const char* direction_name(Direction direction);

/// A session as its journal and the process table tell it.
struct SessionRecord {
    std::string id;
    std::string directory;
    Direction direction = Direction::to_qemu;
    std::string name, uuid;
    std::string state;    ///< of SessionState, as session_state_name() writes it
    std::string started;  ///< UTC, ISO 8601
    std::string note;     ///< what happened last, for people
    long vmferry_pid = 0;
    // The destination's QEMU; to Xen: the source's, if it has been told.
    long qemu_pid = 0;
    std::string qmp_socket;
    bool adopted = false;
    bool paused = false;      ///< left paused on request
    bool permission = false;  ///< was read whole: the guest is ours; to Xen: may have been sent
    bool recorded = false;    ///< to Xen: the source is a recording
    bool driven = false;      ///< its vmferry still works on it
    bool qemu_alive = false;

    /// Nobody works on it and nothing of it runs here; in doubt it stays until somebody has decided. A
    /// source's QEMU is nobody's sign: it was there before the session, and stays as it was before.
    [[nodiscard]] bool is_over() const;
};

class SessionDirectory {
  public:
    /// Claims the guest. Error: a session for this name or uuid is there already, or the directory cannot be
    /// made. An empty `uuid` is not compared. A guest that came from Xen and runs here may go to Xen.
    [[nodiscard]] static Result<std::unique_ptr<SessionDirectory>> create(
        const std::string& state_directory, const std::string& name, const std::string& uuid,
        Direction direction = Direction::to_qemu);
    [[nodiscard]] const std::string& id() const { return id_; }
    [[nodiscard]] const std::string& path() const { return path_; }

    /// Appends the members of `fields` to the journal; `synced`: returns when they are on the disk.
    enum class Sync { no, yes };
    Result<void> note(const nlohmann::json& fields, Sync sync);
    Result<void> write_file(const std::string& name, std::string_view text);
    Result<void> write_audit(const AuditReport& audit);
    /// Nothing of the session lives any more: its files move to STATE/ended/ID, which is returned.
    std::string archive();

  private:
    SessionDirectory(std::string state_directory, std::string id);
    Result<void> begin(const std::string& name, const std::string& uuid, Direction direction);
    std::string state_directory_, id_, path_;
    Descriptor journal_;
};

/// Sessions that are not archived, by id. An unreadable journal gives a record with state "unreadable".
[[nodiscard]] std::vector<SessionRecord> list_sessions(const std::string& state_directory);
/// Error (kind usage): no such session.
[[nodiscard]] Result<SessionRecord> find_session(const std::string& state_directory, const std::string& id);
/// Appends to the journal of a session that nobody drives.
Result<void> append_to_journal(const SessionRecord& session, const nlohmann::json& fields);
void archive_session(const std::string& state_directory, const std::string& id);

/// Start time of a process in clock ticks since boot (tells a pid's reuse), 0 if there is none.
[[nodiscard]] std::uint64_t process_start_time(long pid);

}  // namespace vmferry
