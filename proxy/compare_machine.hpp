// Whether a QEMU that somebody else started is the machine that a template describes.
#pragma once

#include "parsers/qemu/snapshot.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"
#include "proxy/qmp.hpp"
#include "proxy/time_limits.hpp"

namespace vmferry {

/// Compares RAM blocks with their lengths, the occupied PCI addresses and the number of CPUs. QEMU's own
/// loader refuses what it lacks, but takes in silence what it has besides: the guest would see new devices.
/// Error (kind environment): the first difference.
Result<void> compare_machine(Loop& loop, QmpClient& qmp, const qemu::Snapshot& twin,
                             const TimeLimits& limits);

}  // namespace vmferry
