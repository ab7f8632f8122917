// A recorded migration, played by a source of its own in a thread of its own: the file at one end, one end of
// a connected socket at the other. What a source of that kind says and waits for besides is a part:
//
//     replay_as_xl      reads the banner, "ready" and the report
//     replay_as_qemu    answers nothing; waits for SHUT where its stream opened a return path
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <thread>

#include "parsers/wire/error.hpp"
#include "proxy/descriptor.hpp"
#include "proxy/input_buffer.hpp"
#include "proxy/input_file.hpp"

namespace vmferry {

/// What a living source would have made of the session.
enum class ReplayOutcome {
    resumes,   ///< the guest runs on at the source
    lets_go,   ///< it has given the guest up: xl destroys its domain, QEMU stands still in postmigrate
    suspended  ///< xl's "failed badly": the source keeps the domain paused
};
/// "runs on", "let go", "suspended".
[[nodiscard]] const char* replay_outcome_name(ReplayOutcome outcome);

/// A recording on its way into a socket: what has been read of the file and not been sent yet.
class Recording {
  public:
    Recording(InputFile file, Descriptor socket);

    [[nodiscard]] int socket() const { return socket_.get(); }
    void close() { socket_.reset(); }

    [[nodiscard]] Bytes unread() const { return input_.unread(); }
    void consume(std::size_t bytes) { input_.consume(bytes); }
    /// Further bytes behind unread(), `need` of them together if the file has them at hand; how many came: 0
    /// at its end, and where it cannot be read. What was lent from unread() is gone.
    std::size_t read_on(std::size_t need);
    /// The first `bytes` of unread() go out and are consumed. False: the connection is broken.
    bool send(std::size_t bytes);

    /// Why the recording cannot be played to its end, where that lies with itself.
    void fail(Error error) { error_ = std::move(error); }
    [[nodiscard]] const std::optional<Error>& error() const { return error_; }

    /// Bytes of the file read so far; 0 of 0 where its size is not known. From any thread.
    [[nodiscard]] std::uint64_t position() const { return position_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }

  private:
    InputFile file_;
    Descriptor socket_;
    InputBuffer input_;
    std::atomic<std::uint64_t> position_ = 0;
    std::uint64_t size_ = 0;
    std::optional<Error> error_;
};

// Blocking, whole or false.
bool send_all(int socket, Bytes bytes);
bool receive_all(int socket, std::span<std::byte> space);

class ReplaySource {
  public:
    /// Run in the thread; the connection ends with it.
    using Part = std::function<ReplayOutcome(Recording&)>;
    /// Begins at once. `socket`: its end of a connected stream socket.
    ReplaySource(InputFile file, Descriptor socket, Part part);
    ~ReplaySource();  ///< waits for the thread; the other end must be closed by then
    ReplaySource(const ReplaySource&) = delete;
    ReplaySource& operator=(const ReplaySource&) = delete;

    /// As Recording's.
    [[nodiscard]] std::uint64_t position() const { return recording_.position(); }
    [[nodiscard]] std::uint64_t size() const { return recording_.size(); }

    struct End {
        ReplayOutcome outcome = ReplayOutcome::resumes;
        std::optional<Error> error;  ///< the recording's own
    };
    /// Waits for the thread.
    [[nodiscard]] End end();

  private:
    Recording recording_;
    ReplayOutcome outcome_ = ReplayOutcome::resumes;
    std::thread thread_;
};

}  // namespace vmferry
