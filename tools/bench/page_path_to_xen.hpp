// The way from QEMU to Xen, from a source of bytes to a sink, and what it costs.
#pragma once

#include <cstddef>
#include <functional>

#include "proxy/convert.hpp"
#include "proxy/crossing_to_xen.hpp"
#include "tools/bench/qemu_stream_generator.hpp"

namespace vmferry::bench {

struct ToXenRun {
    std::function<Result<XenPlan>(const QemuSource&)> plan;
    XenTemplate xen = {};
    CrossingToXen::Translator translate;
    std::size_t read_size = 1u << 20;
    Crossing::Limits limits = {1u << 30, "/tmp"};
    Buffer replies = {};  ///< out: what went back to the source
};

/// Carries a whole stream to its end. A source that ends too early is the error that says what is missing.
[[nodiscard]] Result<CrossingCounters> carry_to_xen(const ByteSource& source, const BatchSink& sink,
                                                    ToXenRun& run, AuditReport& audit);

/// A translation without content: an empty context, video memory at 0xE0000000, PAM registers that say RAM.
[[nodiscard]] CrossingToXen::Translator bare_translator();

/// Generator → CrossingToXen → XenStreamChecker within this process. Error: a frame is lost or the stream is
/// not one that Xen takes.
[[nodiscard]] Result<CrossingCounters> carry_generated_guest_to_xen(const QemuGuestLayout& layout);

}  // namespace vmferry::bench
