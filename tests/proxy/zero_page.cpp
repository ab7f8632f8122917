#include "proxy/zero_page.hpp"

#include <algorithm>

#include <doctest/doctest.h>

using namespace vmferry;

TEST_CASE("zero page: one bit anywhere makes the difference") {
    Buffer bytes(page_size + 3);
    // The page need not be aligned: it lies in the receive buffer where the record put it.
    const std::span<std::byte> page(bytes.data() + 3, page_size);
    CHECK(is_zero_page(page));
    for (std::size_t at = 0; at < page_size; ++at) {
        page[at] = std::byte{0x80};
        REQUIRE_FALSE(is_zero_page(page));
        page[at] = std::byte{0};
    }
    CHECK(is_zero_page(page));
    std::ranges::fill(page, std::byte{1});
    CHECK_FALSE(is_zero_page(page));
}

TEST_CASE("zero page: a page of equal 16-byte groups that are not zero") {
    Buffer page(page_size);
    for (std::size_t at = 0; at < page_size; at += 16) page[at + 9] = std::byte{1};
    CHECK_FALSE(is_zero_page(page));
}
