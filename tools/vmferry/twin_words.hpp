// A destination's command line made safe for its twin: the same machine for the guest, nothing shared with
// the host.
//
//     -drive file=X,…        → driver=null-co,size=(X's),read-zeroes=on,…     no second writer, no lock
//     -netdev T,id=N,…       → hubport,hubid=…,id=N                           the cable is unplugged
//     -serial, -parallel     → null                                           a file would be truncated
//     -chardev T,id=N,…      → null,id=N
//     -display, -vnc, -spice → -display none
//     -S -incoming -qmp -monitor -mon -daemonize -pidfile -D -gdb -s          dropped
#pragma once

#include <string>
#include <vector>

#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"

namespace vmferry::cli {

/// `words`: binary first; the result has no binary. Errors: usage for options whose images cannot be replaced
/// (-blockdev, -hda, …: give the drive as -drive), environment if an image cannot be opened for its size.
[[nodiscard]] Result<std::vector<std::string>> twin_words(Loop& loop, const std::vector<std::string>& words);

}  // namespace vmferry::cli
