// The part of a source that behaves as xl does (parsers/xen/handshake.hpp).
//
//     reads the banner, writes the recording up to libxl's END, reads "ready", writes the permission, reads
//     the report (and the give-back). A recording of `xl migrate` ends with the permission: it is held back.
//     A recording that ends before END ends the connection.
#pragma once

#include "proxy/replay_source.hpp"

namespace vmferry {

[[nodiscard]] ReplayOutcome replay_as_xl(Recording& recording);

}  // namespace vmferry
