// Deciding what became of a guest whose session ended in doubt, or letting one run that was left paused.
//
// It is always a QEMU that is acted on. To Xen that is the source's: `run` continues it (Xen's copy must be
// gone), `destroy` ends it (Xen has the guest). Where its QMP is not known, the operator has done that
// himself, and the session is only closed.
#pragma once

#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"
#include "proxy/session_directory.hpp"
#include "proxy/time_limits.hpp"

namespace vmferry {

enum class Resolution {
    run,      ///< the other side does not have the guest (any more): cont
    destroy,  ///< the other side has it: end our copy
};

/// The record as it is afterwards. Errors: usage (no such session, vmferry still works on it, its guest runs
/// already), environment (QEMU does not do it; the session stays as it was).
[[nodiscard]] Result<SessionRecord> resolve_session(Loop& loop, const std::string& state_directory,
                                                    const std::string& id, Resolution resolution,
                                                    const TimeLimits& limits);

}  // namespace vmferry
