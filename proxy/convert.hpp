// A whole crossing over plain file descriptors, one step after the other: `vmferry convert`, and the tests.
//
//     read → Crossing::advance → writev, until libxl's END; then finish → writev
//     read → CrossingToXen::advance → writev, until QEMU's description; then finish → writev
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/crossing.hpp"
#include "proxy/crossing_to_xen.hpp"
#include "translators/audit.hpp"
#include "translators/plan.hpp"
#include "translators/xen_source.hpp"

namespace vmferry {

struct Destination {
    Plan plan;
    qemu::Snapshot twin;
};
/// Called once, when the configuration and the CPU policy are known.
using DestinationSupplier = std::function<Result<Destination>(const XenSource&)>;

struct XenDestination {
    XenPlan plan;
    XenTemplate xen;
};
/// Called once, when the machine type and the RAM blocks are known.
using XenDestinationSupplier = std::function<Result<XenDestination>(const QemuSource&)>;

/// Fills some of the span; 0 = end of input.
using ByteSource = std::function<Result<std::size_t>(std::span<std::byte>)>;
/// Takes all pieces of a batch.
using BatchSink = std::function<Result<void>(const OutputBatch&)>;

struct ConvertOptions {
    std::size_t read_size = 1u << 20;  ///< most bytes asked of the source at once, ≥ 1
    /// The wall clock by which the RTC is set right: of the destination when it is going to run (to QEMU), of
    /// the source when it stopped (to Xen).
    std::uint64_t realtime_ns = 0;
    Crossing::Limits limits = {};
    /// Called after each step with the counters so far; may be empty.
    std::function<void(const CrossingCounters&)> progress = {};
};

/// Bytes behind libxl's END (the rest of xl's handshake in a recording) are left unread. After an error
/// nothing that would let QEMU complete the load has gone out.
[[nodiscard]] Result<CrossingCounters> convert(const ByteSource& source, const BatchSink& sink,
                                               const DestinationSupplier& destination, AuditReport& audit,
                                               const ConvertOptions& options);

/// The other direction. Bytes behind QEMU's description are left unread: a file has none.
[[nodiscard]] Result<CrossingCounters> convert_to_xen(const ByteSource& source, const BatchSink& sink,
                                                      const XenDestinationSupplier& destination,
                                                      AuditReport& audit, const ConvertOptions& options);

/// Ends of a conversion that are file descriptors (blocking; not owned).
[[nodiscard]] ByteSource source_from_fd(int fd);
[[nodiscard]] BatchSink sink_to_fd(int fd);

}  // namespace vmferry
