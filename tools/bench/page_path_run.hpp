// The page path alone, from a source of Xen bytes to a sink for QEMU bytes, and what it costs.
#pragma once

#include <cstddef>

#include "proxy/convert.hpp"
#include "tools/bench/xen_stream_generator.hpp"

namespace vmferry::bench {

/// Carries everything up to the end of the input into destination_for(layout). A generated stream without
/// device state has no end of its own: its pages are what counts, and finish() is never reached.
[[nodiscard]] Result<CrossingCounters> carry_pages(const ByteSource& source, const BatchSink& sink,
                                                   const GuestLayout& layout, std::size_t read_size);

/// Generator → Crossing → StreamChecker within this process. Error: a page is lost or framed wrongly.
[[nodiscard]] Result<CrossingCounters> carry_generated_guest(const GuestLayout& layout);

/// From here on peak_resident_kib() counts anew.
void forget_peak_resident();
/// Peak resident memory of this process so far (VmHWM), in KiB.
[[nodiscard]] unsigned long peak_resident_kib();

}  // namespace vmferry::bench
