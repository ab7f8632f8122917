// The part of `xl migrate-receive`, on two descriptors (parsers/xen/handshake.hpp,
// parsers/xen/xl_header.hpp):
//
//     banner ──► header, configuration ──► expect() ──► stream: create() ──► "ready" ──► permission
//                                                                                           │
//              the source may run its own ◄── give-back ◄── destroy() ◄── report ≠ 0 ◄──────┴──► start() ──►
//              report 0
//
// What becomes of the copy when something fails:
//
//     before "ready" has left whole       destroyed, nothing is said: no permission can be on its way
//     "ready" has left, no permission     report 0xFF; the source could be told: destroyed, give-back;
//                                         it could not: it stays, paused, as the source may have let go
//     start() fails                       report ≠ 0, destroyed, give-back
//     destroy() fails                     no give-back
//     the report 0 cannot be delivered    it runs
//
// A request to end (SIGTERM, SIGHUP, SIGINT: `stop` is readable) is such a failure until the permission has
// been read; from then on the handover goes on.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "parsers/wire/error.hpp"

namespace vmferry::libxl_receive {

struct StartFailure {
    std::uint8_t code = 0xFF;  ///< of the report; not 0
    Error why{};
};

/// What creates, runs and destroys the one domain.
class DomainMaker {
  public:
    DomainMaker() = default;
    virtual ~DomainMaker() = default;
    DomainMaker(const DomainMaker&) = delete;
    DomainMaker& operator=(const DomainMaker&) = delete;

    /// Before anything is created: the configuration is understood, and its names are free.
    [[nodiscard]] virtual Result<void> expect(const std::string& config) = 0;
    /// From the libxl stream that begins at the next byte of `input`; paused, as NAME--incoming. Error:
    /// nothing of it is left, or the error says what.
    [[nodiscard]] virtual Result<void> create(int input) = 0;
    /// Gives it its name and lets it run. Error: it has not run.
    [[nodiscard]] virtual std::expected<void, StartFailure> start() = 0;
    [[nodiscard]] virtual Result<void> destroy() = 0;
};

struct Ends {
    int input, output;
    int stop = -1;  ///< readable once we are asked to end; -1: never
};

/// Error: the guest does not run here, unless it is of the kind in_doubt.
[[nodiscard]] Result<void> receive(const Ends& ends, DomainMaker& maker);

}  // namespace vmferry::libxl_receive
