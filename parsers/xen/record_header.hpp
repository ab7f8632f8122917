// The record header that libxl and libxc streams share, and its padding.
//
//     0  u32 type
//     4  u32 length      of the body, without padding
//     8  body, zero-padded to a multiple of 8
#pragma once

#include <cstdint>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/place.hpp"

namespace vmferry::xen {

struct RecordHeader {
    static constexpr std::size_t size = 8;
    std::uint32_t type = 0;
    std::uint32_t length = 0;

    /// Body and padding.
    [[nodiscard]] std::size_t padded() const { return (std::size_t{length} + 7) & ~std::size_t{7}; }
};

[[nodiscard]] inline RecordHeader load_record_header(Bytes in) {
    return {load_le<std::uint32_t>(in, 0), load_le<std::uint32_t>(in, 4)};
}

/// Xen's receiver ignores what stands in the padding; we don't, as a writer could not reproduce it.
/// `padded` is the body with its padding; `place.offset` its first byte.
[[nodiscard]] inline Result<void> check_padding(Bytes padded, std::uint32_t length, const Place& place) {
    for (std::size_t at = length; at < padded.size(); ++at)
        if (padded[at] != std::byte{0})
            return place.wrong("padding", at, hex(std::to_integer<unsigned>(padded[at])), "zeros");
    return {};
}

}  // namespace vmferry::xen
