// A destination for a generated guest, without asking any QEMU: enough for the page path.
#pragma once

#include "proxy/convert.hpp"
#include "tools/bench/xen_stream_generator.hpp"

namespace vmferry::bench {

/// Plan and twin with the RAM blocks of this layout and no devices.
[[nodiscard]] Destination destination_for(const GuestLayout& layout);

}  // namespace vmferry::bench
