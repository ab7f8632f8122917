// One named corruption of a good Xen stream, and exactly what the reader must say of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/parsers/xen/support.hpp"

namespace vmferry::xen::test {

/// `bytes` overwrite what stands `at` bytes into a part of build_stream().
struct Corruption {
    std::string name;
    std::string part;
    std::size_t at;
    std::vector<std::uint8_t> bytes;
    std::string place;  ///< format, record and field: "libxc PAGE_DATA.count"
    std::string found, expected;
    std::optional<std::size_t> error_at =
        {};                       ///< in the part; the place of the change unless it says otherwise
    std::string error_part = {};  ///< the changed part unless it says otherwise
};

/// Little-endian, as everything behind the headers is.
[[nodiscard]] std::vector<std::uint8_t> u32(std::uint32_t value);
[[nodiscard]] std::vector<std::uint8_t> u64(std::uint64_t value);

/// Reads the corrupted stream all at once and byte by byte: one error, at this place, in these words.
void check_corruption(const Corruption& corruption);

/// "libxc PAGE_DATA.count".
[[nodiscard]] std::string place_of(const Error& error);

}  // namespace vmferry::xen::test
