// SIGTERM, SIGHUP and SIGINT as a descriptor that becomes readable. Handled and not blocked: a program that
// libxl executes starts with a signal's default again, but would inherit a blocked one.
#pragma once

#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <unistd.h>

#include "parsers/wire/error.hpp"
#include "proxy/descriptor.hpp"

namespace vmferry::libxl_receive {

/// One per process.
class StopPipe {
  public:
    [[nodiscard]] static Result<StopPipe> create() {
        std::array<int, 2> ends{};
        if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0)
            return environment_error("vmferry-libxl-receive", "making a pipe", errno_text(errno));
        StopPipe self;
        self.readable_ = Descriptor(ends[0]);
        self.writable_ = Descriptor(ends[1]);
        written_by_handler = ends[1];
        struct sigaction action {};
        action.sa_handler = [](int) {
            const int kept = errno;
            const char byte = 1;
            (void)!::write(written_by_handler, &byte, 1);
            errno = kept;
        };
        action.sa_flags = SA_RESTART;
        for (const int number : numbers) sigaction(number, &action, nullptr);
        return self;
    }
    [[nodiscard]] int get() const { return readable_.get(); }

    /// In a process that has nothing left to destroy.
    static void back_to_default() {
        struct sigaction action {};
        action.sa_handler = SIG_DFL;
        for (const int number : numbers) sigaction(number, &action, nullptr);
    }

  private:
    StopPipe() = default;
    static constexpr std::array numbers{SIGTERM, SIGHUP, SIGINT};
    static inline volatile sig_atomic_t written_by_handler = -1;
    Descriptor readable_, writable_;
};

}  // namespace vmferry::libxl_receive
