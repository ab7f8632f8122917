// The event loop of one session, and how straight-line code waits on it.
//
// A session is written as a straight line (banner, pages, load, ready, go, cont, report). Everything that
// answers by callback — QMP, process exit, timers, sockets — is served while that line waits:
//
//     line:   … → wait("QEMU", "MIGRATION completed", 60 s, ready) → …
//                    └─ turns the loop until ready() · an alarm · the limit
//
// An alarm is something that no wait may outlast: QEMU has died, the operator wants to stop. It ends the
// present wait, and every later one, with its error until it is taken away. Where the line must go on
// whatever happens (after the source has let go; while cleaning up) it holds a Shield.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <uv.h>

#include "parsers/wire/error.hpp"

namespace vmferry {

/// Closes a libuv handle; its memory lives until the loop has run the close callback.
struct HandleCloser {
    template <typename Handle>
    void operator()(Handle* handle) const {
        handle->data = nullptr;
        uv_close(reinterpret_cast<uv_handle_t*>(handle),
                 [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
    }
};
/// A handle that was given to uv_…_init successfully.
template <typename Handle>
using OwnedHandle = std::unique_ptr<Handle, HandleCloser>;

/// A named wait: who is waited for, for what, and how long at most.
struct Wait {
    std::string component;
    std::string awaited;
    std::chrono::milliseconds limit;
    std::function<std::string()> so_far = {};  ///< how far things were, for the error; may be empty
};

/// One thread's loop. Not thread-safe but for stop().
class Loop {
  public:
    Loop();
    ~Loop();  ///< Precondition: all handles on it have been given to uv_close.
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    [[nodiscard]] uv_loop_t* uv() { return &loop_; }

    /// Turns the loop until `ready` says so. Errors: the alarm; kind environment when the limit has passed.
    Result<void> wait(const Wait& what, const std::function<bool()>& ready);
    /// Serves what is pending, without waiting. Error: the alarm.
    Result<void> turn();

    /// The first alarm counts.
    void raise(Error alarm);
    [[nodiscard]] const std::optional<Error>& alarm() const { return alarm_; }
    void clear_alarm() { alarm_.reset(); }

    /// From any thread or after a signal: raises an alarm in the loop's own thread. `why` has static
    /// lifetime.
    void stop(const char* why);

    /// While one lives, alarms are kept but end no wait.
    class Shield {
      public:
        explicit Shield(Loop& loop) : loop_(loop) { ++loop_.shields_; }
        ~Shield() { --loop_.shields_; }
        Shield(const Shield&) = delete;
        Shield& operator=(const Shield&) = delete;

      private:
        Loop& loop_;
    };

  private:
    [[nodiscard]] bool alarmed() const { return alarm_ && shields_ == 0; }

    uv_loop_t loop_{};
    OwnedHandle<uv_async_t> wake_;
    OwnedHandle<uv_timer_t> deadline_;
    std::optional<Error> alarm_;
    std::atomic<const char*> stop_reason_ = nullptr;
    int shields_ = 0;
};

}  // namespace vmferry
