#include "proxy/replay_as_xl.hpp"

#include <array>
#include <variant>

#include "parsers/xen/handshake.hpp"
#include "parsers/xen/stream_reader.hpp"

namespace vmferry {
namespace {

bool receive_message(int socket, std::string_view message) {
    std::string got(message.size(), '\0');
    return receive_all(socket, std::as_writable_bytes(std::span(got))) && got == message;
}

/// Whether all of it has been sent, up to libxl's END at least.
bool send_recording(Recording& recording) {
    // A recording that was cut ends as a connection does that breaks off: nobody waits for "ready" then. What
    // is wrong in it is the destination's to say.
    xen::StreamReader reader;
    for (bool whole = false; !whole;) {
        const auto step = reader.next(recording.unread());
        if (!step) break;
        if (step->event) {
            whole = std::holds_alternative<xen::StreamEnd>(*step->event);
            if (!recording.send(step->consumed)) return false;
        } else if (recording.read_on(step->need) == 0) {
            (void)recording.send(recording.unread().size());
            return false;
        }
    }
    constexpr auto permission = xen::go.size();
    while (recording.unread().size() <= permission && recording.read_on(permission + 1) > 0) {
    }
    if (as_text(recording.unread()) == xen::go) return !recording.error();
    while (!recording.unread().empty()) {
        if (!recording.send(recording.unread().size())) return false;
        (void)recording.read_on(1);
    }
    return !recording.error();
}

ReplayOutcome handshake(int socket) {
    // As in xl: an end of the connection before "ready" means that the guest goes on here.
    if (!receive_message(socket, xen::ready)) return ReplayOutcome::resumes;
    if (!send_all(socket, as_bytes(xen::go))) return ReplayOutcome::suspended;
    std::array<std::byte, 1> code{};
    if (!receive_message(socket, xen::report) || !receive_all(socket, code)) return ReplayOutcome::suspended;
    if (code[0] == std::byte{0}) return ReplayOutcome::lets_go;
    return receive_message(socket, xen::go) ? ReplayOutcome::resumes : ReplayOutcome::suspended;
}

}  // namespace

ReplayOutcome replay_as_xl(Recording& recording) {
    if (!receive_message(recording.socket(), xen::banner) || !send_recording(recording))
        return ReplayOutcome::resumes;
    return handshake(recording.socket());
}

}  // namespace vmferry
