#include "proxy/replay.hpp"

#include <array>

#include <sys/socket.h>

#include "proxy/replay_as_qemu.hpp"
#include "proxy/replay_as_xl.hpp"

namespace vmferry {
namespace {

constexpr std::chrono::milliseconds without_limit = std::chrono::hours(24 * 365);

using SocketPair = std::array<Descriptor, 2>;

Result<SocketPair> socket_pair() {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return environment_error("replay", "making a socket pair", errno_text(errno));
    return SocketPair{Descriptor(ends[0]), Descriptor(ends[1])};
}

const char* living_source(ReplayOutcome outcome) {
    switch (outcome) {
        case ReplayOutcome::resumes:
            return "a living source would run on";
        case ReplayOutcome::lets_go:
            return "a living source would have let the guest go";
        case ReplayOutcome::suspended:
            return "a living source would keep the guest suspended";
    }
    return "";
}

/// A source that plays, and the connection that a session has with it.
struct Player {
    Player(Loop& loop, InputFile file, SocketPair ends, ReplaySource::Part part)
        : source(std::move(file), std::move(ends[0]), std::move(part)),
          channel(loop, "source", std::move(ends[1])) {}

    [[nodiscard]] std::function<void(const SessionProgress&)> telling(ReplayProgress progress) const {
        return [this, progress = std::move(progress)](const SessionProgress& now) {
            progress(now, source.position(), source.size());
        };
    }

    /// The session is over: what became of it, and of the source.
    ReplayReport end(SessionReport session) {
        channel.close();
        auto [outcome, error] = source.end();
        ReplayReport report{std::move(session), outcome};
        report.session.recorded = true;
        if (error) report.session.error = std::move(error);
        report.session.notes.emplace_back(living_source(outcome));
        return report;
    }

    ReplaySource source;
    Channel channel;
};

/// Gives the guest its time. A request to end is obeyed, and no error.
void stay(Loop& loop, DestinationQemu& qemu, const ReplayOptions& options) {
    if (qemu.await_end(options.run_for.value_or(without_limit))) return;
    const Loop::Shield shield(loop);
    (void)qemu.end();
}

}  // namespace

Result<ReplayReport> replay(Loop& loop, InputFile file, ReplayOptions options) {
    VMFERRY_ASSIGN(auto ends, socket_pair());
    Player player(loop, std::move(file), std::move(ends), replay_as_xl);
    XlEndpoint endpoint(player.channel, options.session.limits);
    if (options.progress) options.session.progress = player.telling(std::move(options.progress));
    Session session(loop, endpoint, options.session);
    auto report = player.end(session.run());
    if (options.handed_over) options.handed_over(report.session);
    auto* qemu = session.destination();
    if (report.session.state < SessionState::running || qemu == nullptr || options.detach) return report;
    if (qemu->adopted()) return report;
    stay(loop, *qemu, options);
    session.ended();
    report.qemu_ended = true;
    return report;
}

Result<ReplayReport> replay_to_xen(Loop& loop, InputFile file, ReplayToXenOptions options) {
    VMFERRY_ASSIGN(auto ends, socket_pair());
    Player player(loop, std::move(file), std::move(ends), replay_as_qemu);
    options.session.recorded = true;
    if (options.progress) options.session.progress = player.telling(std::move(options.progress));
    return player.end(SessionToXen(loop, player.channel, std::move(options.session)).run());
}

}  // namespace vmferry
