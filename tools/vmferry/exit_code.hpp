// The exit codes of the command: part of its contract, listed in the README.
#pragma once

#include "parsers/wire/error.hpp"

namespace vmferry::cli {

enum class ExitCode : int {
    done = 0,
    refused = 1,      ///< the stream is sound, but the audit or the operator's settings forbid to carry it
    usage = 2,        ///< wrong command line or configuration file
    bad_stream = 3,   ///< truncated, corrupt, or a version that is not understood
    environment = 4,  ///< QEMU, a disk, a peer or a time-out
    in_doubt = 5,     ///< it is not known which side owns the guest: `vmferry sessions`, `vmferry resolve`
};

[[nodiscard]] constexpr ExitCode exit_code(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::stream:
            return ExitCode::bad_stream;
        case ErrorKind::refused:
            return ExitCode::refused;
        case ErrorKind::usage:
            return ExitCode::usage;
        case ErrorKind::environment:
            return ExitCode::environment;
        case ErrorKind::in_doubt:
            return ExitCode::in_doubt;
    }
    return ExitCode::environment;
}

}  // namespace vmferry::cli
