// SIGINT, SIGTERM and SIGHUP as a request that straight-line code sees: an alarm of the loop.
#pragma once

#include <array>

#include "proxy/loop.hpp"

namespace vmferry {

/// One per process, in the thread whose loop it is given.
class StopSignals {
  public:
    explicit StopSignals(Loop& loop) {
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            signals_[i].reset(new uv_signal_t);
            uv_signal_init(loop.uv(), signals_[i].get());
            signals_[i]->data = &loop;
            uv_signal_start(
                signals_[i].get(),
                [](uv_signal_t* handle, int number) {
                    auto* target = static_cast<Loop*>(handle->data);
                    if (target == nullptr) return;
                    target->raise({ErrorKind::environment,
                                   "vmferry",
                                   "asked to end",
                                   {},
                                   0,
                                   number == SIGINT ? "interrupted" : "terminated",
                                   {}});
                },
                numbers[i]);
            // Waiting for a signal alone keeps no loop alive.
            uv_unref(reinterpret_cast<uv_handle_t*>(signals_[i].get()));
        }
    }

  private:
    static constexpr std::array numbers{SIGINT, SIGTERM, SIGHUP};
    std::array<OwnedHandle<uv_signal_t>, numbers.size()> signals_;
};

}  // namespace vmferry
