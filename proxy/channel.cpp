#include "proxy/channel.hpp"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

namespace vmferry {

Channel::Channel(Loop& loop, std::string name, Descriptor in, Descriptor out)
    : loop_(loop), name_(std::move(name)) {
    open(in_, std::move(in));
    open(out_, std::move(out));
}

Channel::Channel(Loop& loop, std::string name, Descriptor socket) : loop_(loop), name_(std::move(name)) {
    // Two descriptors of one socket, so that each direction has its own poll handle.
    Descriptor twin(fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
    open(in_, std::move(socket));
    open(out_, std::move(twin));
}

Channel::~Channel() {
    close();
}

void Channel::open(Side& side, Descriptor descriptor) {
    side.descriptor = std::move(descriptor);
    side.old_flags = fcntl(side.descriptor.get(), F_GETFL);
    auto poll = std::make_unique<uv_poll_t>();
    if (uv_poll_init(loop_.uv(), poll.get(), side.descriptor.get()) != 0) return;
    side.poll.reset(poll.release());
    side.poll->data = &side;
}

void Channel::close(Side& side) {
    side.poll.reset();
    // The flag belongs to the open file, which a shell may share with us.
    if (side.descriptor.valid() && side.old_flags >= 0) fcntl(side.descriptor.get(), F_SETFL, side.old_flags);
    side.descriptor.reset();
}

void Channel::close() {
    close(in_);
    close(out_);
}

void Channel::close_output() {
    if (!out_.descriptor.valid()) return;
    ::shutdown(out_.descriptor.get(), SHUT_WR);  // a socket's other direction is open; a pipe has none
    close(out_);
}

Descriptor Channel::duplicate_input() const {
    return Descriptor(fcntl(in_.descriptor.get(), F_DUPFD_CLOEXEC, 0));
}

std::unexpected<Error> Channel::failure(const Wait& wait, const char* call) const {
    return environment_error(name_, wait.awaited, fmt::format("{}: {}", call, errno_text(errno)));
}

Result<void> Channel::await(Side& side, int events, const Wait& wait) {
    if (!side.poll) return {};
    side.ready = false;
    uv_poll_start(side.poll.get(), events, [](uv_poll_t* handle, int, int) {
        if (auto* self = static_cast<Side*>(handle->data)) self->ready = true;
    });
    auto result = loop_.wait(wait, [&side] { return side.ready; });
    uv_poll_stop(side.poll.get());
    return result;
}

Result<std::optional<std::size_t>> Channel::read_now(std::span<std::byte> space) {
    for (;;) {
        const auto count = ::read(in_.descriptor.get(), space.data(), space.size());
        if (count >= 0) return static_cast<std::size_t>(count);
        if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
        // A reset is an end too: what was in flight is lost, and there is nothing more to come.
        if (errno == ECONNRESET) return 0;
        if (errno != EINTR) return failure({name_, "reading", {}}, "read");
    }
}

Result<std::size_t> Channel::read_some(std::span<std::byte> space, const Wait& wait) {
    for (;;) {
        VMFERRY_ASSIGN(const auto count, read_now(space));
        if (count) return *count;
        VMFERRY_TRY(await(in_, UV_READABLE | UV_DISCONNECT, wait));
    }
}

Result<std::size_t> Channel::read_all(std::span<std::byte> space, const Wait& wait) {
    std::size_t have = 0;
    while (have < space.size()) {
        VMFERRY_ASSIGN(const auto count, read_some(space.subspan(have), wait));
        if (count == 0) break;
        have += count;
    }
    return have;
}

Result<void> Channel::write_all(std::span<const iovec> pieces, const Wait& wait, std::size_t* written) {
    std::vector<iovec> rest(pieces.begin(), pieces.end());
    std::size_t first = 0;
    while (first < rest.size()) {
        const auto count = static_cast<int>(std::min<std::size_t>(rest.size() - first, IOV_MAX));
        const auto done = ::writev(out_.descriptor.get(), &rest[first], count);
        if (done < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) return failure(wait, "write");
            VMFERRY_TRY(await(out_, UV_WRITABLE, wait));
            continue;
        }
        auto taken = static_cast<std::size_t>(done);
        if (written != nullptr) *written += taken;
        while (first < rest.size() && taken >= rest[first].iov_len) taken -= rest[first++].iov_len;
        if (first < rest.size()) {
            rest[first].iov_base = static_cast<std::byte*>(rest[first].iov_base) + taken;
            rest[first].iov_len -= taken;
        }
    }
    return {};
}

Result<void> Channel::write_all(Bytes bytes, const Wait& wait, std::size_t* written) {
    const iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return write_all(std::span(&piece, 1), wait, written);
}

}  // namespace vmferry
