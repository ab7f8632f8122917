#include "proxy/replay_source.hpp"

#include <array>
#include <variant>

#include <sys/socket.h>

#include "parsers/xen/handshake.hpp"
#include "parsers/xen/stream_reader.hpp"

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

std::size_t ReplaySource::read_on(InputBuffer& input, std::size_t need) {
    const auto count = file_.read(input.space(need));
    if (!count) {
        end_.file_error = count.error();
        return 0;
    }
    position_ = file_.file_position();
    input.arrived(*count);
    return *count;
}

bool ReplaySource::send_recording() {
    InputBuffer input(chunk_size);
    const auto send = [&](std::size_t bytes) {
        const bool sent = send_all(socket_.get(), input.unread().first(bytes));
        input.consume(bytes);
        return sent;
    };
    // A recording that was cut ends as a connection does that breaks off: nobody waits for "ready" then. What
    // is wrong in it is the destination's to say.
    xen::StreamReader reader;
    for (bool whole = false; !whole;) {
        const auto step = reader.next(input.unread());
        if (!step) break;
        if (step->event) {
            if (!send(step->consumed)) return false;
            whole = std::holds_alternative<xen::StreamEnd>(*step->event);
        } else if (read_on(input, step->need) == 0) {
            (void)send(input.unread().size());
            return false;
        }
    }
    constexpr auto permission = xen::go.size();
    while (input.unread().size() <= permission && read_on(input, permission + 1) > 0) {
    }
    if (as_text(input.unread()) == xen::go) return !end_.file_error;
    while (!input.unread().empty()) {
        if (!send(input.unread().size())) return false;
        (void)read_on(input, 1);
    }
    return !end_.file_error;
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
