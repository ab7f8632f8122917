// What stands around the pages of a generated Xen stream: taken from a recorded one, with the memory size of
// its domain configuration changed.
#pragma once

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "tools/bench/xen_stream_generator.hpp"

namespace vmferry::bench {

struct StreamFrame {
    Buffer prelude;  ///< up to the first PAGE_DATA
    Buffer tail;     ///< behind the last one, up to libxl's END
};

/// Cuts a recorded stream around its pages.
[[nodiscard]] Result<StreamFrame> frame_of(Bytes recorded);

/// The same with a configuration for another memory size (max_memkb, target_memkb, video_memkb).
[[nodiscard]] Result<StreamFrame> resized(const StreamFrame& frame, const GuestLayout& layout);

/// The least that a reader accepts, when no device state is needed: no configuration worth planning with.
[[nodiscard]] StreamFrame bare_frame();

}  // namespace vmferry::bench
