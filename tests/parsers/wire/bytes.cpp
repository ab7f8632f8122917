#include "parsers/wire/bytes.hpp"

#include <doctest/doctest.h>

namespace vmferry {

TEST_CASE("integers in both orders, at any alignment") {
    Buffer bytes;
    append_le(bytes, std::uint8_t{0xAA});
    append_le(bytes, std::uint16_t{0x0102});
    append_be(bytes, std::uint16_t{0x0102});
    append_le(bytes, std::uint32_t{0x03040506});
    append_be(bytes, std::uint64_t{0x0102030405060708});
    CHECK(as_text(bytes) ==
          std::string_view("\xAA\x02\x01\x01\x02\x06\x05\x04\x03\x01\x02\x03\x04\x05\x06\x07\x08", 17));
    CHECK(load_le<std::uint16_t>(bytes, 1) == 0x0102);
    CHECK(load_be<std::uint16_t>(bytes, 3) == 0x0102);
    CHECK(load_le<std::uint32_t>(bytes, 5) == 0x03040506);
    CHECK(load_be<std::uint32_t>(bytes, 5) == 0x06050403);
    CHECK(load_be<std::uint64_t>(bytes, 9) == 0x0102030405060708);
}

TEST_CASE("text and structures as bytes") {
    struct Pair {
        std::uint16_t first, second;
    };
    Buffer bytes;
    append(bytes, std::string_view("ab\0", 3));
    append_raw(bytes, Pair{1, 2});
    append(bytes, as_bytes("c"));
    CHECK(bytes.size() == 8);
    const auto pair = load_raw<Pair>(bytes, 3);
    CHECK(pair.first == 1);
    CHECK(pair.second == 2);
    CHECK(as_text(Bytes(bytes).first(2)) == "ab");
    CHECK(as_text(Bytes(bytes).last(1)) == "c");
}

}  // namespace vmferry
