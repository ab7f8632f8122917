// Who sees the domain's end: a process of its own, as xl leaves one behind each domain.
//
//     helper ──fork──► … ──fork──► watch     a session of its own, no descriptor of ours; says what it does
//     in
//                                            /var/log/xen/vmferry-libxl-NAME.log; ends with the domain
//
//     the guest …                       on_poweroff, on_reboot, on_crash, on_watchdog of the configuration
//     say powers off, reboots, crashes      destroy, restart, rename-restart, preserve, and the same after a
//     core dump is suspended (saved, migrated)    nothing; if it is resumed here the watch goes on is
//     destroyed by somebody          the watch ends
//
// A restart makes the domain anew from the configuration that libxl keeps with it, as it is at that moment. A
// soft reset becomes a restart.
#pragma once

#include <cstdint>
#include <string>

#include "parsers/wire/error.hpp"
#include "tools/libxl-receive/libxl_context.hpp"

namespace vmferry::libxl_receive {

/// Returns when somebody watches. `config`: as far as libxl does not know it better; `name`: what it will be
/// called.
[[nodiscard]] Result<void> start_watch(libxl_ctx* context, std::uint32_t id, DomainConfig& config,
                                       const std::string& name);

}  // namespace vmferry::libxl_receive
