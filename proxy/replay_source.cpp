#include "proxy/replay_source.hpp"

#include <sys/socket.h>

namespace vmferry {

const char* replay_outcome_name(ReplayOutcome outcome) {
    switch (outcome) {
        case ReplayOutcome::resumes:
            return "runs on";
        case ReplayOutcome::lets_go:
            return "let go";
        case ReplayOutcome::suspended:
            return "suspended";
    }
    return "";
}

bool send_all(int socket, Bytes bytes) {
    while (!bytes.empty()) {
        const auto count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

bool receive_all(int socket, std::span<std::byte> space) {
    while (!space.empty()) {
        const auto count = ::recv(socket, space.data(), space.size(), 0);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        space = space.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

// ---- the recording ----

Recording::Recording(InputFile file, Descriptor socket)
    : file_(std::move(file)), socket_(std::move(socket)), size_(file_.file_size()) {}

std::size_t Recording::read_on(std::size_t need) {
    const auto count = file_.read(input_.space(need));
    if (!count) {
        fail(count.error());
        return 0;
    }
    position_ = file_.file_position();
    input_.arrived(*count);
    return *count;
}

bool Recording::send(std::size_t bytes) {
    const bool sent = send_all(socket(), unread().first(bytes));
    consume(bytes);
    return sent;
}

// ---- its thread ----

ReplaySource::ReplaySource(InputFile file, Descriptor socket, Part part)
    : recording_(std::move(file), std::move(socket)), thread_([this, part = std::move(part)] {
          outcome_ = part(recording_);
          recording_.close();
      }) {}

ReplaySource::~ReplaySource() {
    if (thread_.joinable()) thread_.join();
}

ReplaySource::End ReplaySource::end() {
    if (thread_.joinable()) thread_.join();
    return {outcome_, recording_.error()};
}

}  // namespace vmferry
