// Which process of this host holds the other end of a TCP connection.
//
//     /proc/net/tcp, tcp6    local address, remote address, inode of every connection
//     /proc/PID/fd/N         → socket:[inode]
#pragma once

#include <optional>

#include <sys/types.h>

namespace vmferry {

/// `socket`: our end. `likely` is looked at first: where several processes hold that end, it counts. Nothing:
/// the other end is not on this host (or in another network namespace of it), or it may not be seen by whom.
[[nodiscard]] std::optional<pid_t> peer_process(int socket, pid_t likely);

}  // namespace vmferry
