#include "proxy/resolve.hpp"

#include <csignal>

#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/syscall.h>

#include "proxy/qmp_call.hpp"

namespace vmferry {

using nlohmann::json;

namespace {

std::unexpected<Error> not_possible(const SessionRecord& session, std::string found, std::string expected) {
    return std::unexpected(
        Error{ErrorKind::usage, "session", session.id, {}, 0, std::move(found), std::move(expected)});
}

Result<void> run_guest(Loop& loop, const SessionRecord& session, const TimeLimits& limits) {
    if (!session.qemu_alive)
        return environment_error("QEMU", "session " + session.id,
                                 fmt::format("process {} is gone, and its copy with it", session.qemu_pid),
                                 "a QEMU that holds the guest; the source's copy is the only one");
    QmpClient qmp(loop.uv(), "QEMU");
    VMFERRY_TRY(qmp_connect(loop, qmp, session.qmp_socket, limits.qemu_starts));
    VMFERRY_TRY(qmp_call(loop, qmp, "cont", nullptr, limits.qmp_answers));
    VMFERRY_ASSIGN(const json status, qmp_call(loop, qmp, "query-status", nullptr, limits.qmp_answers));
    if (!status.value("running", false))
        return environment_error("QEMU", "cont", "its state is " + status.value("status", ""), "running");
    const json rounds = {{"initial", 50}, {"max", 550}, {"rounds", 5}, {"step", 100}};
    (void)qmp_call(loop, qmp, "announce-self", rounds, limits.qmp_answers);
    return {};
}

Result<void> destroy_copy(const SessionRecord& session, const TimeLimits& limits) {
    if (!session.qemu_alive) return {};
    if (session.adopted)
        return environment_error("QEMU", "session " + session.id,
                                 fmt::format("process {} was adopted", session.qemu_pid),
                                 "its owner to end it; then repeat this");
    const Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, session.qemu_pid, 0)));
    // It has not run: nothing in it is worth an orderly end.
    if (process.valid() && syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) == 0) {
        pollfd end{process.get(), POLLIN, 0};
        if (poll(&end, 1, static_cast<int>(limits.qemu_ends.count())) == 1) return {};
    }
    return environment_error("QEMU", "ending it", fmt::format("process {} is still there", session.qemu_pid));
}

// ---- to Xen: the QEMU is the source's ----

Result<void> continue_source(Loop& loop, const SessionRecord& session, const TimeLimits& limits) {
    if (session.qmp_socket.empty()) return {};
    if (!session.qemu_alive)
        return environment_error("source", "session " + session.id,
                                 fmt::format("process {} is gone, and its copy with it", session.qemu_pid),
                                 "a QEMU that holds the guest; Xen's copy is the only one");
    QmpClient qmp(loop.uv(), "source");
    VMFERRY_TRY(qmp_connect(loop, qmp, session.qmp_socket, limits.qmp_answers));
    VMFERRY_ASSIGN(const json before, qmp_call(loop, qmp, "query-status", nullptr, limits.qmp_answers));
    if (!before.value("running", false))
        VMFERRY_TRY(qmp_call(loop, qmp, "cont", nullptr, limits.qmp_answers));
    VMFERRY_ASSIGN(const json status, qmp_call(loop, qmp, "query-status", nullptr, limits.qmp_answers));
    if (!status.value("running", false))
        return environment_error("source", "cont", "its state is " + status.value("status", ""), "running");
    return {};
}

Result<void> end_source(Loop& loop, const SessionRecord& session, const TimeLimits& limits) {
    if (session.qmp_socket.empty() || !session.qemu_alive) return {};
    QmpClient qmp(loop.uv(), "source");
    VMFERRY_TRY(qmp_connect(loop, qmp, session.qmp_socket, limits.qmp_answers));
    VMFERRY_ASSIGN(const json status, qmp_call(loop, qmp, "query-status", nullptr, limits.qmp_answers));
    if (status.value("running", false))
        return not_possible(session, "the source runs the guest",
                            "a source that stands still; or end QEMU yourself, if Xen really has the guest");
    const Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, session.qemu_pid, 0)));
    VMFERRY_TRY(qmp_call(loop, qmp, "quit", nullptr, limits.qmp_answers));
    pollfd end{process.get(), POLLIN, 0};
    if (!process.valid() || poll(&end, 1, static_cast<int>(limits.qemu_ends.count())) == 1) return {};
    return environment_error("source", "quit", fmt::format("process {} is still there", session.qemu_pid));
}

Result<SessionRecord> resolve_to_xen(Loop& loop, const std::string& state_directory, SessionRecord session,
                                     Resolution resolution, const TimeLimits& limits) {
    if (session.state != "in doubt") return not_possible(session, "state " + session.state, "in doubt");
    const bool run = resolution == Resolution::run;
    VMFERRY_TRY(run ? continue_source(loop, session, limits) : end_source(loop, session, limits));
    VMFERRY_TRY(append_to_journal(session, {{"note", run ? "resolved: run" : "resolved: destroy"}}));
    archive_session(state_directory, session.id);
    session.state = run ? "running" : "destroyed";
    session.qemu_alive = session.qemu_alive && run;
    session.directory = state_directory + "/ended/" + session.id;
    return session;
}

}  // namespace

Result<SessionRecord> resolve_session(Loop& loop, const std::string& state_directory, const std::string& id,
                                      Resolution resolution, const TimeLimits& limits) {
    VMFERRY_ASSIGN(auto session, find_session(state_directory, id));
    if (session.driven)
        return not_possible(session, fmt::format("process {} still works on it", session.vmferry_pid),
                            "a session that nobody works on");
    if (session.direction == Direction::to_xen)
        return resolve_to_xen(loop, state_directory, std::move(session), resolution, limits);
    const bool in_doubt = session.state == "in doubt";
    if (resolution == Resolution::run) {
        if (!in_doubt && !session.paused)
            return not_possible(session, "state " + session.state, "in doubt, or left paused");
        VMFERRY_TRY(run_guest(loop, session, limits));
        const json fields = {{"state", "running"}, {"paused", false}, {"note", "resolved: run"}};
        VMFERRY_TRY(append_to_journal(session, fields));
        return find_session(state_directory, id);
    }
    if (session.permission && session.qemu_alive)
        return not_possible(session, "the source has let the guest go: this is the only copy",
                            "run; or end QEMU yourself if the guest shall be lost");
    if (!in_doubt && session.qemu_alive) return not_possible(session, "state " + session.state, "in doubt");
    VMFERRY_TRY(destroy_copy(session, limits));
    VMFERRY_TRY(append_to_journal(session, {{"note", "resolved: destroy"}}));
    archive_session(state_directory, id);
    session.state = "destroyed";
    session.qemu_alive = false;
    session.directory = state_directory + "/ended/" + id;
    return session;
}

}  // namespace vmferry
