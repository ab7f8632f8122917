#include "proxy/convert.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/uio.h>
#include <unistd.h>

#include "proxy/input_buffer.hpp"

namespace vmferry {

namespace {

std::string message(int code) {
    return std::error_code(code, std::generic_category()).message();
}

Result<void> flush(OutputBatch& out, const BatchSink& sink) {
    if (out.empty()) return {};
    VMFERRY_TRY(sink(out));
    out.clear();
    return {};
}

Result<void> set_destination(Crossing& crossing, const DestinationSupplier& destination, OutputBatch& out) {
    VMFERRY_ASSIGN(auto target, destination(crossing.source()));
    return crossing.set_destination(std::move(target.plan), std::move(target.twin), out);
}
Result<void> set_destination(CrossingToXen& crossing, const XenDestinationSupplier& destination,
                             OutputBatch& out) {
    VMFERRY_ASSIGN(auto target, destination(crossing.source()));
    return crossing.set_destination(std::move(target.plan), std::move(target.xen), out);
}

Error truncated(const Crossing& crossing, Bytes rest) {
    return crossing.truncated(rest.size());
}
Error truncated(const CrossingToXen& crossing, Bytes rest) {
    return crossing.truncated(rest);
}

// Reads and converts until the source's last record has been read.
template <typename Way, typename Supplier>
Result<void> carry_stream(Way& crossing, const ByteSource& source, const BatchSink& sink,
                          const Supplier& destination, const ConvertOptions& options) {
    InputBuffer input(options.read_size);
    OutputBatch out;
    while (crossing.state() != Way::State::translated) {
        if (crossing.state() == Way::State::wants_destination)
            VMFERRY_TRY(set_destination(crossing, destination, out));
        VMFERRY_ASSIGN(const auto progress, crossing.advance(input.unread(), out));
        VMFERRY_TRY(flush(out, sink));
        input.consume(progress.consumed);
        if (options.progress) options.progress(crossing.counters());
        if (progress.need == 0) continue;
        while (input.unread().size() < progress.need) {
            const auto space = input.space(progress.need);
            VMFERRY_ASSIGN(const auto got, source(space.first(std::min(space.size(), options.read_size))));
            if (got == 0) return std::unexpected(truncated(crossing, input.unread()));
            input.arrived(got);
        }
    }
    return {};
}

template <typename Way, typename Supplier>
Result<CrossingCounters> carry(const ByteSource& source, const BatchSink& sink, const Supplier& destination,
                               AuditReport& audit, const ConvertOptions& options) {
    Way crossing(options.limits, audit);
    VMFERRY_TRY(carry_stream(crossing, source, sink, destination, options));
    OutputBatch out;
    while (crossing.state() != Way::State::done) {
        VMFERRY_TRY(crossing.finish(options.realtime_ns, out));
        VMFERRY_TRY(flush(out, sink));
        if (options.progress) options.progress(crossing.counters());
    }
    return crossing.counters();
}

}  // namespace

Result<CrossingCounters> convert(const ByteSource& source, const BatchSink& sink,
                                 const DestinationSupplier& destination, AuditReport& audit,
                                 const ConvertOptions& options) {
    return carry<Crossing>(source, sink, destination, audit, options);
}

Result<CrossingCounters> convert_to_xen(const ByteSource& source, const BatchSink& sink,
                                        const XenDestinationSupplier& destination, AuditReport& audit,
                                        const ConvertOptions& options) {
    return carry<CrossingToXen>(source, sink, destination, audit, options);
}

ByteSource source_from_fd(int fd) {
    return [fd](std::span<std::byte> into) -> Result<std::size_t> {
        for (;;) {
            const auto n = ::read(fd, into.data(), into.size());
            if (n >= 0) return static_cast<std::size_t>(n);
            if (errno != EINTR) return environment_error("input", "reading", message(errno));
        }
    };
}

BatchSink sink_to_fd(int fd) {
    return [fd, rest = std::vector<iovec>()](const OutputBatch& batch) mutable -> Result<void> {
        rest.assign(batch.pieces().begin(), batch.pieces().end());
        std::span<iovec> pieces(rest);
        while (!pieces.empty()) {
            const auto n = ::writev(fd, pieces.data(), static_cast<int>(pieces.size()));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return environment_error("output", "writing", message(errno));
            auto done = static_cast<std::size_t>(n);
            while (!pieces.empty() && done >= pieces.front().iov_len) {
                done -= pieces.front().iov_len;
                pieces = pieces.subspan(1);
            }
            if (done > 0) {
                pieces.front().iov_base = static_cast<std::byte*>(pieces.front().iov_base) + done;
                pieces.front().iov_len -= done;
            }
        }
        return {};
    };
}

}  // namespace vmferry
