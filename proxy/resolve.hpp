// Deciding what became of a guest whose session ended in doubt, or letting one run that was left paused.
#pragma once

#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"
#include "proxy/session_directory.hpp"
#include "proxy/time_limits.hpp"

namespace vmferry {

enum class Resolution {
    run,      ///< the source does not have the guest any more: cont, announce-self
    destroy,  ///< the source has it: end our copy
};

/// The record as it is afterwards. Errors: usage (no such session, vmferry still works on it, its guest runs
/// already), environment (QEMU does not do it; the session stays as it was).
[[nodiscard]] Result<SessionRecord> resolve_session(Loop& loop, const std::string& state_directory,
                                                    const std::string& id, Resolution resolution,
                                                    const TimeLimits& limits);

}  // namespace vmferry
