// A session's end, as text and as JSON; used by replay, serve and migrate-receive.
#pragma once

#include <cstdio>
#include <functional>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "proxy/session.hpp"
#include "tools/vmferry/exit_code.hpp"

namespace vmferry::cli {

/// The common document (report.hpp) with session, state, rules, error, and: name, uuid, directory, qemu_pid,
/// qmp, command_line, paused, dry_run, counters, total_ms, handover_ms, notes.
[[nodiscard]] nlohmann::ordered_json session_document(std::string_view command, const SessionReport& report);

/// For people: what was adapted or accepted, what became of the guest, notes. Not the error: fail() says it.
void print_session(const SessionReport& report, std::FILE* to);

[[nodiscard]] ExitCode session_exit_code(const SessionReport& report);

/// Where sessions are kept if nobody says it: /var/lib/vmferry for root, else under $XDG_STATE_HOME or
/// ~/.local/state.
[[nodiscard]] std::string default_state_directory();

}  // namespace vmferry::cli
