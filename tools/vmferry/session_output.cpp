#include "tools/vmferry/session_output.hpp"

#include <cstdlib>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tools/vmferry/findings.hpp"
#include "tools/vmferry/printable.hpp"
#include "tools/vmferry/progress.hpp"
#include "tools/vmferry/report.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

Json session_document(std::string_view command, const SessionReport& report) {
    auto all = document(command);
    if (!report.id.empty()) all["session"] = report.id;
    all["rules"] = to_json(report.audit);
    if (report.error) set_error(all, *report.error);
    all["direction"] = direction_name(report.direction);
    all["state"] = session_state_name(report.state);
    all["name"] = report.name;
    all["uuid"] = report.uuid;
    all["directory"] = report.directory;
    all["qemu_pid"] = report.qemu_pid;
    all["qmp"] = report.qmp_socket;
    all["adopted"] = report.adopted;
    all["paused"] = report.paused;
    all["dry_run"] = report.dry_run;
    all["recorded"] = report.recorded;
    all["command_line"] = report.command;
    const auto& counters = report.counters;
    all["counters"] = {{"bytes_in", counters.bytes_in},     {"bytes_out", counters.bytes_out},
                       {"pages", counters.pages},           {"zero_pages", counters.zero_pages},
                       {"held_pages", counters.held_pages}, {"dropped_pages", counters.dropped_pages},
                       {"passes", counters.passes}};
    all["total_ms"] = report.total.count();
    all["handover_ms"] = report.handover.count();
    all["notes"] = report.notes;
    return all;
}

void print_session(const SessionReport& report, std::FILE* to) {
    print_notable(report.audit, to);
    const auto name = printable(report.name);
    const auto carried =
        fmt::format("{} in {} passes, {:.1f} s", size_text(report.counters.bytes_in), report.counters.passes,
                    static_cast<double>(report.total.count()) / 1000);
    if (!report.error && report.dry_run) {
        fmt::print(to, "dry run: {} was carried and loaded ({}), then given back{}\n", name, carried,
                   report.recorded ? "" : "; the source goes on");
    } else if (report.state >= SessionState::running && report.direction == Direction::to_xen) {
        fmt::print(to, "{} runs under Xen ({}; {} ms from its last record){}\n", name, carried,
                   report.handover.count(), report.recorded ? "" : "; its QEMU here stands still");
    } else if (report.state >= SessionState::running) {
        fmt::print(to, "{} {} here ({}; {} ms from its last record): QEMU is process {}, QMP at {}\n", name,
                   report.paused ? "is paused, as asked," : "runs", carried, report.handover.count(),
                   report.qemu_pid, report.qmp_socket);
    }
    for (const auto& note : report.notes) fmt::print(to, "note: {}\n", printable(note));
    if (!report.directory.empty()) fmt::print(to, "session {}: {}\n", report.id, report.directory);
}

ExitCode session_exit_code(const SessionReport& report) {
    return report.error ? exit_code(report.error->kind) : ExitCode::done;
}

std::string default_state_directory() {
    if (::geteuid() == 0) return "/var/lib/vmferry";
    // NOLINTNEXTLINE(concurrency-mt-unsafe): read before any thread is started
    if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/')
        return std::string(state) + "/vmferry";
    // NOLINTNEXTLINE(concurrency-mt-unsafe): as above
    const char* home = std::getenv("HOME");
    return std::string(home != nullptr ? home : "/var/tmp") + "/.local/state/vmferry";
}

}  // namespace vmferry::cli
