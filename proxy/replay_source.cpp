#include "proxy/replay_source.hpp"

#include <array>

#include <sys/socket.h>

#include "parsers/xen/handshake.hpp"

namespace vmferry {
namespace {

constexpr std::size_t chunk_size = 1u << 20;

bool send_all(int socket, Bytes bytes) {
    while (!bytes.empty()) {
        const auto count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

bool receive(int socket, std::span<std::byte> space) {
    while (!space.empty()) {
        const auto count = ::recv(socket, space.data(), space.size(), 0);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        space = space.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

bool receive_message(int socket, std::string_view message) {
    std::string got(message.size(), '\0');
    return receive(socket, std::as_writable_bytes(std::span(got))) && got == message;
}

}  // namespace

ReplaySource::ReplaySource(InputFile file, Descriptor socket)
    : file_(std::move(file)),
      socket_(std::move(socket)),
      size_(file_.file_size()),
      thread_([this] { play(); }) {}

ReplaySource::~ReplaySource() {
    if (thread_.joinable()) thread_.join();
}

ReplaySource::End ReplaySource::end() {
    if (thread_.joinable()) thread_.join();
    return end_;
}

void ReplaySource::play() {
    if (receive_message(socket_.get(), xen::banner) && send_recording()) end_.outcome = handshake();
    socket_.reset();
}

bool ReplaySource::send_recording() {
    // The last 44 bytes wait until it is known that nothing follows them.
    constexpr auto held_back = xen::go.size();
    Buffer buffer(chunk_size + held_back);
    std::size_t have = 0;
    for (;;) {
        const auto count = file_.read(std::span(buffer).subspan(have));
        if (!count) {
            end_.file_error = count.error();
            return false;
        }
        position_ = file_.file_position();
        have += *count;
        if (*count == 0) break;
        if (have <= held_back) continue;
        const auto sendable = have - held_back;
        if (!send_all(socket_.get(), Bytes(buffer).first(sendable))) return false;
        std::memmove(buffer.data(), buffer.data() + sendable, held_back);
        have = held_back;
    }
    const auto rest = Bytes(buffer).first(have);
    return as_text(rest) == xen::go || send_all(socket_.get(), rest);
}

ReplaySource::Outcome ReplaySource::handshake() {
    // As in xl: an end of the connection before "ready" means that the guest goes on here.
    if (!receive_message(socket_.get(), xen::ready)) return Outcome::resumes;
    if (!send_all(socket_.get(), as_bytes(xen::go))) return Outcome::suspended;
    std::array<std::byte, 1> code{};
    if (!receive_message(socket_.get(), xen::report) || !receive(socket_.get(), code))
        return Outcome::suspended;
    if (code[0] == std::byte{0}) return Outcome::lets_go;
    return receive_message(socket_.get(), xen::go) ? Outcome::resumes : Outcome::suspended;
}

}  // namespace vmferry
