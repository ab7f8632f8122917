// The part of a source that behaves as QEMU does: writes the recording, and closes in its turn.
//
//     return path        after its last byte it waits: SHUT(0), it has let go; SHUT(≠ 0) or the end of the
//                        connection, it runs on (how, see proxy/source_qemu.hpp)
//     no return path     it has let go as soon as its last byte is in its socket
//     cut, or damaged    it is sent as far as it goes; then the connection breaks off, and the guest runs on
//
//     ◄── be16 type · be16 length · payload: PONG (2), SHUT (1, be32 how)
//
// It closes its own direction only, and reads on until the other side closes: an answer that is still under
// way then never makes another error of the one that the session found in the stream.
#pragma once

#include "proxy/replay_source.hpp"

namespace vmferry {

[[nodiscard]] ReplayOutcome replay_as_qemu(Recording& recording);

}  // namespace vmferry
