// Memory for a new domain, taken from dom0 where xl would: /etc/xen/xl.conf's `autoballoon`, whose default is
// yes unless Xen was started with dom0_mem=. xl's own lock (`lockfile`) is held meanwhile, so that two that
// create domains at once do not both count on the same memory.
#pragma once

#include "parsers/wire/error.hpp"
#include "proxy/descriptor.hpp"
#include "tools/libxl-receive/libxl_context.hpp"

namespace vmferry::libxl_receive {

/// Holds the lock, if there is anything to lock; until it goes, the memory is not given to another.
[[nodiscard]] Result<Descriptor> make_room(libxl_ctx* context, DomainConfig& config);

}  // namespace vmferry::libxl_receive
