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

    // Towards Xen.
    Milliseconds xl_starts{60'000};          ///< command started or peer connected → banner whole
    Milliseconds xl_takes{60'000};           ///< xl does not take a byte of the stream
    Milliseconds xl_loads{300'000};          ///< stream written whole → "ready"
    Milliseconds xl_reports{120'000};        ///< permission sent → report read
    Milliseconds xl_gives_back{60'000};      ///< report of a failure read → give-back read
    Milliseconds xl_ends{30'000};            ///< its input closed → its copy is gone, and it has ended
    Milliseconds source_confirms{30'000};    ///< told that all is loaded → the source says completed
    Milliseconds source_runs_again{30'000};  ///< given back → the source says that it runs
};

}  // namespace vmferry
