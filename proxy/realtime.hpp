// The host's clock of day, as the translators take it.
#pragma once

#include <chrono>
#include <cstdint>

namespace vmferry {

/// CLOCK_REALTIME, nanoseconds.
[[nodiscard]] inline std::uint64_t realtime_ns() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace vmferry
