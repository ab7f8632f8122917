// A byte channel over descriptors, for straight-line code: tries at once, turns the loop only when it must.
//
// Backpressure is the order of calls: who writes does not read meanwhile, so what a slow receiver does not
// take stays in the sender's socket buffers. Works on sockets, pipes, terminals and files.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <sys/uio.h>
#include <uv.h>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/descriptor.hpp"
#include "proxy/loop.hpp"

namespace vmferry {

class Channel {
  public:
    /// `in` and `out` may be the two ends of different things (stdin and stdout); they become non-blocking
    /// for as long as the channel lives.
    Channel(Loop& loop, std::string name, Descriptor in, Descriptor out);
    /// A socket: both directions of one descriptor.
    Channel(Loop& loop, std::string name, Descriptor socket);
    ~Channel();
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    [[nodiscard]] const std::string& name() const { return name_; }

    /// Reads what is there, at least one byte, into `space`. 0 = the peer has closed. The wait's limit is for
    /// the first byte.
    [[nodiscard]] Result<std::size_t> read_some(std::span<std::byte> space, const Wait& wait);
    /// Fills `space`. Returns how much came before the end; less than asked = the peer has closed.
    [[nodiscard]] Result<std::size_t> read_all(std::span<std::byte> space, const Wait& wait);
    /// What has already arrived, without waiting: nullopt nothing, 0 closed, else bytes read.
    [[nodiscard]] Result<std::optional<std::size_t>> read_now(std::span<std::byte> space);

    /// Writes all pieces. The limit is for each piece of progress. `written` (may be null) counts what the
    /// kernel has taken, also when it fails.
    Result<void> write_all(std::span<const iovec> pieces, const Wait& wait, std::size_t* written = nullptr);
    Result<void> write_all(Bytes bytes, const Wait& wait, std::size_t* written = nullptr);

    void close();
    /// The peer reads an end; what it still says can be read.
    void close_output();
    /// The peer cannot tell us any more; a pipe's writer then fails.
    void close_input() { close(in_); }
    /// Another descriptor of what is read from, to watch it. Precondition: not closed.
    [[nodiscard]] Descriptor duplicate_input() const;

  private:
    struct Side {
        Descriptor descriptor;
        int old_flags = 0;
        OwnedHandle<uv_poll_t> poll;  ///< empty for what epoll does not know (files): always ready
        bool ready = false;
    };
    void open(Side& side, Descriptor descriptor);
    void close(Side& side);
    Result<void> await(Side& side, int events, const Wait& wait);
    [[nodiscard]] std::unexpected<Error> failure(const Wait& wait, const char* call) const;

    Loop& loop_;
    std::string name_;
    Side in_, out_;
};

}  // namespace vmferry
