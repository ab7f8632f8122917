#include "proxy/loop.hpp"

#include <csignal>

namespace vmferry {

Loop::Loop() {
    // A peer that goes away and a file that may not grow shall be error values; libuv, writev and write have
    // no flag against the signals.
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    uv_loop_init(&loop_);
    wake_.reset(new uv_async_t);
    uv_async_init(&loop_, wake_.get(), [](uv_async_t* handle) {
        auto* self = static_cast<Loop*>(handle->data);
        if (self == nullptr) return;
        if (const char* why = self->stop_reason_.load())
            self->raise({ErrorKind::environment, "vmferry", "asked to end", {}, 0, why, {}});
    });
    wake_->data = this;
    deadline_.reset(new uv_timer_t);
    uv_timer_init(&loop_, deadline_.get());
}

Loop::~Loop() {
    wake_.reset();
    deadline_.reset();
    while (uv_run(&loop_, UV_RUN_DEFAULT) != 0) {
    }
    uv_loop_close(&loop_);
}

Result<void> Loop::wait(const Wait& what, const std::function<bool()>& ready) {
    bool expired = false;
    deadline_->data = &expired;
    // libuv counts from its cached clock, which is old when the line has computed for a while.
    uv_update_time(&loop_);
    uv_timer_start(
        deadline_.get(),
        [](uv_timer_t* timer) {
            if (timer->data != nullptr) *static_cast<bool*>(timer->data) = true;
        },
        static_cast<std::uint64_t>(what.limit.count()), 0);
    while (!ready() && !expired && !alarmed()) uv_run(&loop_, UV_RUN_ONCE);
    uv_timer_stop(deadline_.get());
    deadline_->data = nullptr;
    if (alarmed()) return std::unexpected(*alarm_);
    if (ready()) return {};
    std::string found =
        fmt::format("nothing within {:.3g} s", static_cast<double>(what.limit.count()) / 1000);
    if (what.so_far) found += "; so far: " + what.so_far();
    return environment_error(what.component, "waiting for " + what.awaited, found);
}

Result<void> Loop::turn() {
    uv_run(&loop_, UV_RUN_NOWAIT);
    if (alarmed()) return std::unexpected(*alarm_);
    return {};
}

void Loop::raise(Error alarm) {
    if (!alarm_) alarm_ = std::move(alarm);
}

void Loop::stop(const char* why) {
    stop_reason_ = why;
    uv_async_send(wake_.get());
}

}  // namespace vmferry
