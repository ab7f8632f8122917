// Is a page all zero? On the hot path: one look at most pages that are not, one pass over those that are.
#pragma once

#include <cstdint>
#include <cstring>

#include "parsers/wire/bytes.hpp"

namespace vmferry {

/// Precondition: page.size() == page_size.
[[nodiscard]] inline bool is_zero_page(Bytes page) {
    // Two words tell nearly all used pages apart; then a page is zero if it equals itself shifted by 16 bytes
    // of zero. The C library's memcmp uses the widest registers of this machine and stops at the first
    // difference.
    if (load_raw<std::uint64_t>(page, 0) != 0 || load_raw<std::uint64_t>(page, 8) != 0) return false;
    return std::memcmp(page.data(), page.data() + 16, page_size - 16) == 0;
}

}  // namespace vmferry
