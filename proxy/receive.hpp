// `vmferry migrate-receive`: one session on standard input and output, as xl starts it through ssh.
#pragma once

#include "parsers/wire/error.hpp"
#include "proxy/session.hpp"

namespace vmferry {

/// From here on descriptors 0 and 1 are /dev/null and standard error: whatever else is printed by mistake
/// cannot get between the messages, which go over private copies.
[[nodiscard]] Result<SessionReport> migrate_receive(Loop& loop, SessionOptions options);

}  // namespace vmferry
