#include "proxy/replay_as_qemu.hpp"

#include <array>
#include <variant>

#include <poll.h>
#include <sys/socket.h>

#include "parsers/qemu/stream_reader.hpp"

namespace vmferry {
namespace {

class QemuPart {
  public:
    explicit QemuPart(Recording& recording) : recording_(recording) {}

    ReplayOutcome play() {
        const bool whole = send_recording();
        if (whole && return_path_)
            while (!shut_ && hear()) {
            }
        ::shutdown(recording_.socket(), SHUT_WR);
        while (hear()) {
        }
        return whole && (!return_path_ || shut_ == 0u) ? ReplayOutcome::lets_go : ReplayOutcome::resumes;
    }

  private:
    bool send_recording();
    bool send_rest();
    bool send(std::size_t bytes);
    bool hear(int flags = 0);
    void understand(Bytes arrived);

    Recording& recording_;
    Buffer answers_;  ///< from the return path, a part of a message
    std::optional<std::uint32_t> shut_;
    bool return_path_ = false;
};

/// Whether all of it has been sent.
bool QemuPart::send_recording() {
    qemu::StreamReader reader;
    std::size_t parsed = 0;  // of unread(): goes out in one piece, not page by page
    for (;;) {
        const auto step = reader.next(recording_.unread().subspan(parsed));
        if (!step) return send_rest();
        if (!step->event) {
            if (!send(parsed)) return false;
            parsed = 0;
            if (recording_.read_on(step->need) == 0) return send_rest();
            continue;
        }
        parsed += step->consumed;
        const auto* command = std::get_if<qemu::CommandItem>(&*step->event);
        if (command != nullptr && command->command == qemu::Command::open_return_path) return_path_ = true;
        if (!reader.finished()) continue;
        // The last byte hands the guest over. So first it must be known to be the last one of a sound file.
        if (recording_.unread().size() > parsed || recording_.read_on(parsed + 1) > 0) {
            recording_.fail(stream_error("qemu", "stream", "end", reader.offset(),
                                         "further bytes behind it in the recording", "nothing")
                                .error());
            return false;
        }
        return !recording_.error() && send(parsed);
    }
}

/// It is cut or damaged: what is wrong in it is the destination's to say. False.
bool QemuPart::send_rest() {
    while (send(recording_.unread().size()) && !recording_.error() && recording_.read_on(1) > 0) {
    }
    return false;
}

/// As Recording::send; takes the answers that come meanwhile, or both sides could wait for each other.
bool QemuPart::send(std::size_t bytes) {
    const auto piece = recording_.unread().first(bytes);
    std::size_t sent = 0;
    while (sent < bytes) {
        pollfd ready{recording_.socket(), POLLIN | POLLOUT, 0};
        if (::poll(&ready, 1, -1) < 0 && errno != EINTR) return false;
        if ((ready.revents & POLLIN) != 0 && !hear(MSG_DONTWAIT)) return false;
        if ((ready.revents & (POLLOUT | POLLERR | POLLHUP)) == 0) continue;
        const auto count =
            ::send(recording_.socket(), piece.data() + sent, bytes - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (count <= 0) return false;
        sent += static_cast<std::size_t>(count);
    }
    recording_.consume(bytes);
    return true;
}

/// What the return path says next. False: the other side has closed.
bool QemuPart::hear(int flags) {
    std::array<std::byte, 4096> space{};
    const auto count = ::recv(recording_.socket(), space.data(), space.size(), flags);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (count <= 0) return false;
    understand(Bytes(space).first(static_cast<std::size_t>(count)));
    return true;
}

void QemuPart::understand(Bytes arrived) {
    constexpr std::size_t head = 4;
    constexpr std::uint16_t shut = 1;
    append(answers_, arrived);
    Bytes rest = answers_;
    while (rest.size() >= head) {
        const std::size_t length = load_be<std::uint16_t>(rest.subspan(2));
        if (rest.size() < head + length) break;
        if (load_be<std::uint16_t>(rest) == shut && length == sizeof(std::uint32_t))
            shut_ = load_be<std::uint32_t>(rest.subspan(head));
        rest = rest.subspan(head + length);
    }
    answers_ = Buffer(rest.begin(), rest.end());
}

}  // namespace

ReplayOutcome replay_as_qemu(Recording& recording) {
    return QemuPart(recording).play();
}

}  // namespace vmferry
