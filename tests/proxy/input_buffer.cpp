#include "proxy/input_buffer.hpp"

#include <algorithm>
#include <random>

#include <doctest/doctest.h>

using namespace vmferry;

TEST_CASE("input buffer: bytes come out as they went in, over growth and shrinking") {
    std::mt19937 random(7);
    InputBuffer buffer(1000);
    std::uint8_t written = 0, taken = 0;
    for (int round = 0; round < 5000; ++round) {
        const std::size_t need = round % 500 == 0 ? 50'000 : random() % 900 + 1;
        while (buffer.unread().size() < need) {
            auto space = buffer.space(need);
            REQUIRE(space.size() + buffer.unread().size() >= need);
            space = space.first(std::min<std::size_t>(space.size(), random() % 1000 + 1));
            for (auto& byte : space) byte = std::byte{written++};
            buffer.arrived(space.size());
        }
        const auto unread = buffer.unread().first(need);
        REQUIRE(std::ranges::all_of(unread, [&](std::byte byte) { return byte == std::byte{taken++}; }));
        buffer.consume(need);
    }
}

TEST_CASE("input buffer: a long record does not keep its memory") {
    InputBuffer buffer(1000);
    buffer.arrived(buffer.space(1'000'000).size());
    CHECK(buffer.unread().size() >= 1'000'000);
    buffer.consume(buffer.unread().size());
    CHECK(buffer.space(1).size() < 10'000);
}
