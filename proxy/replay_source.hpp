// A recorded migration, played by a source that behaves as xl does, in a thread of its own.
//
//     reads the banner, writes the recording up to libxl's END, reads "ready", writes the permission, reads
//     the report (and the give-back). A recording of `xl migrate` ends with the permission: it is held back.
//     A recording that ends before END ends the connection.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>

#include "parsers/wire/error.hpp"
#include "proxy/descriptor.hpp"
#include "proxy/input_buffer.hpp"
#include "proxy/input_file.hpp"

namespace vmferry {

class ReplaySource {
  public:
    /// Begins at once. `socket`: its end of a connected stream socket.
    ReplaySource(InputFile file, Descriptor socket);
    ~ReplaySource();  ///< waits for the thread; the other end must be closed by then
    ReplaySource(const ReplaySource&) = delete;
    ReplaySource& operator=(const ReplaySource&) = delete;

    /// Bytes of the file read so far; 0 of 0 where its size is not known.
    [[nodiscard]] std::uint64_t position() const { return position_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }

    enum class Outcome {
        resumes,   ///< it never got "ready", or the guest was given back: the guest runs at the source
        lets_go,   ///< report 0: the source destroys its domain
        suspended  ///< xl's "failed badly": the source keeps the domain paused
    };
    struct End {
        Outcome outcome = Outcome::resumes;
        std::optional<Error> file_error;  ///< the recording itself could not be read
    };
    /// Waits for the thread.
    [[nodiscard]] End end();

  private:
    void play();
    /// Further bytes of the recording; 0 at its end, and where it cannot be read.
    std::size_t read_on(InputBuffer& input, std::size_t need);
    /// Whether all of it has been sent, up to libxl's END at least.
    bool send_recording();
    [[nodiscard]] Outcome handshake();

    InputFile file_;
    Descriptor socket_;
    std::atomic<std::uint64_t> position_ = 0;
    std::uint64_t size_ = 0;
    End end_;
    std::thread thread_;
};

}  // namespace vmferry
