// Every wait of a session, by name, with how long it may last at most.
#pragma once

#include <chrono>

namespace vmferry {

struct TimeLimits {
    using Milliseconds = std::chrono::milliseconds;

    Milliseconds source_silent{60'000};   ///< no byte of the stream from the source
    Milliseconds source_takes{30'000};    ///< the source does not take a message
    Milliseconds go{300'000};             ///< ready sent → permission read whole
    Milliseconds qemu_starts{30'000};     ///< process started → QMP greeting
    Milliseconds qmp_answers{30'000};     ///< any QMP command
    Milliseconds qemu_takes{60'000};      ///< QEMU does not take a byte of the stream
    Milliseconds qemu_loads{120'000};     ///< stream written whole → completed and paused
    Milliseconds qemu_runs{30'000};       ///< cont answered → status running
    Milliseconds qemu_ends{5'000};        ///< SIGTERM → gone; then SIGKILL, and the same again
    Milliseconds qemu_last_words{1'000};  ///< its connection broke → it is gone (for the exit status)
    Milliseconds twin_migrates{120'000};  ///< the twin's stream, whole
};

}  // namespace vmferry
