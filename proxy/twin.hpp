// The twin: the destination's QEMU asked what its CPU shows and what its own migration stream looks like.
//
//     start (same binary, same guest-visible arguments, -S) → QMP: CPU facts, migrate unix:… → stream → end
//
// It has the guest's full memory size, because layout, tables and block lengths follow from it; memory that
// was never touched costs nothing (4 GiB: 0.25 s, 9 bytes of stream per page).
#pragma once

#include <string>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"
#include "proxy/time_limits.hpp"
#include "translators/destination.hpp"

namespace vmferry {

/// What to run as twin: `arguments` without -S and QMP, with null disks, chardevs and netdevs (the caller's
/// concern: Plan::twin_arguments).
struct TwinRequest {
    std::string qemu;
    std::vector<std::string> arguments;
};

inline constexpr std::size_t max_twin_stream = 1u << 30;  ///< bytes; 9 per page: guests of 400 GiB

/// What a twin told.
struct Twin {
    CpuFacts cpu;
    Buffer stream;
};

/// The twin is gone when this returns, however it returns.
[[nodiscard]] Result<Twin> capture_twin(Loop& loop, const TwinRequest& request, const TimeLimits& limits);

}  // namespace vmferry
