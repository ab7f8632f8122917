// What a QEMU says of itself when it is asked: the binary before the plan is made, the twin's CPU after.
#pragma once

#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"
#include "proxy/qmp.hpp"
#include "proxy/time_limits.hpp"
#include "translators/destination.hpp"

namespace vmferry {

/// Starts the binary with `-M none` and asks for its version, its machines, KVM, and the sizes of the
/// mapped images. Errors (kind environment): QEMU does not start, an image cannot be opened as that format.
[[nodiscard]] Result<DestinationFacts> probe_destination(Loop& loop, const DestinationOptions& options,
                                                         const TimeLimits& limits);

/// The first CPU's model and feature words.
[[nodiscard]] Result<CpuFacts> read_cpu_facts(Loop& loop, QmpClient& qmp, const TimeLimits& limits);

/// For the template cache.
[[nodiscard]] std::string write_cpu_facts(const CpuFacts& facts);
[[nodiscard]] Result<CpuFacts> read_cpu_facts(const std::string& text);

/// Error (kind environment) if another process holds QEMU's lock on this image: it writes it, or does not
/// let others write it. What is no local file is left to QEMU's own check.
Result<void> check_image_unlocked(const std::string& path);

}  // namespace vmferry
