// The Xen host that a session hands its guest over to, as the settings describe it.
#pragma once

#include "parsers/wire/error.hpp"
#include "proxy/session_to_xen.hpp"
#include "tools/vmferry/xen_destination_keys.hpp"

namespace vmferry::cli {

/// For SessionToXenOptions::choose. What can be wrong with the settings is an error now, and not when a guest
/// is under way: no command that leads there (kind usage), no template (usage), one that cannot be read.
[[nodiscard]] Result<decltype(SessionToXenOptions::choose)> choose_xen_host(XenDestinationSettings settings);

}  // namespace vmferry::cli
