// Drives a Crossing over a stream in memory and shows what came out of it, for the tests of the page path.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "parsers/wire/bytes.hpp"
#include "proxy/convert.hpp"
#include "tools/bench/generated_destination.hpp"
#include "tools/bench/stream_checker.hpp"
#include "tools/bench/xen_stream_frame.hpp"
#include "tools/bench/xen_stream_generator.hpp"

namespace vmferry::test {

/// A source that hands out the bytes of a buffer.
[[nodiscard]] inline ByteSource source_of(Bytes bytes) {
    return [bytes](std::span<std::byte> into) mutable -> Result<std::size_t> {
        const auto n = std::min(into.size(), bytes.size());
        if (n > 0) std::memcpy(into.data(), bytes.data(), n);
        bytes = bytes.subspan(n);
        return n;
    };
}

/// A source that hands out a generated stream.
[[nodiscard]] inline ByteSource source_of(bench::XenStreamGenerator& generator) {
    return [&generator, rest = Bytes()](std::span<std::byte> into) mutable -> Result<std::size_t> {
        if (rest.empty()) rest = generator.next();
        const auto n = std::min(into.size(), rest.size());
        if (n > 0) std::memcpy(into.data(), rest.data(), n);
        rest = rest.subspan(n);
        return n;
    };
}

[[nodiscard]] inline BatchSink sink_to(bench::StreamChecker& checker) {
    return [&checker](const OutputBatch& batch) -> Result<void> {
        for (const auto& piece : batch.pieces())
            VMFERRY_TRY(checker.take({static_cast<const std::byte*>(piece.iov_base), piece.iov_len}));
        return {};
    };
}

/// A batch as one buffer.
[[nodiscard]] inline Buffer gathered(const OutputBatch& batch) {
    Buffer all;
    for (const auto& piece : batch.pieces())
        append(all, Bytes(static_cast<const std::byte*>(piece.iov_base), piece.iov_len));
    return all;
}

}  // namespace vmferry::test
