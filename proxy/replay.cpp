#include "proxy/replay.hpp"

#include <array>

#include <sys/socket.h>

namespace vmferry {
namespace {

constexpr std::chrono::milliseconds without_limit = std::chrono::hours(24 * 365);

/// Gives the guest its time. A request to end is obeyed, and no error.
void stay(Loop& loop, DestinationQemu& qemu, const ReplayOptions& options) {
    if (qemu.await_end(options.run_for.value_or(without_limit))) return;
    const Loop::Shield shield(loop);
    (void)qemu.end();
}

}  // namespace

Result<ReplayReport> replay(Loop& loop, InputFile file, ReplayOptions options) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return environment_error("replay", "making a socket pair", errno_text(errno));
    Descriptor ours(ends[0]);
    ReplaySource source(std::move(file), Descriptor(ends[1]));
    Channel channel(loop, "source", std::move(ours));
    XlEndpoint endpoint(channel, options.session.limits);
    if (options.progress)
        options.session.progress = [&](const SessionProgress& progress) {
            options.progress(progress, source.position(), source.size());
        };
    Session session(loop, endpoint, options.session);
    ReplayReport report;
    report.session = session.run();
    channel.close();
    auto end = source.end();
    report.source = end.outcome;
    if (end.file_error) report.session.error = std::move(end.file_error);
    if (options.handed_over) options.handed_over(report.session);
    auto* qemu = session.destination();
    if (report.session.state < SessionState::running || qemu == nullptr || options.detach) return report;
    if (qemu->adopted()) return report;
    stay(loop, *qemu, options);
    session.ended();
    report.qemu_ended = true;
    return report;
}

}  // namespace vmferry
