#include "tests/parsers/xen/corruption.hpp"

#include <algorithm>

#include <doctest/doctest.h>

namespace vmferry::xen::test {

namespace {

template <typename T>
std::vector<std::uint8_t> little_endian(T value) {
    std::vector<std::uint8_t> bytes(sizeof value);
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

}  // namespace

std::vector<std::uint8_t> u32(std::uint32_t value) {
    return little_endian(value);
}
std::vector<std::uint8_t> u64(std::uint64_t value) {
    return little_endian(value);
}

std::string place_of(const Error& error) {
    return fmt::format("{} {}.{}", error.format, error.record, error.field);
}

void check_corruption(const Corruption& corruption) {
    static const auto good = build_stream();
    CAPTURE(corruption.name);
    auto bytes = good.bytes;
    const auto part = good.at.at(corruption.part);
    std::ranges::copy(std::as_bytes(std::span(corruption.bytes)),
                      bytes.begin() + static_cast<std::ptrdiff_t>(part + corruption.at));
    const auto error_part = corruption.error_part.empty() ? part : good.at.at(corruption.error_part);
    for (const std::size_t step : {bytes.size(), std::size_t{1}}) {
        const auto back = read_all(bytes, [&](std::size_t) { return step; });
        REQUIRE(back.errors.size() == 1);
        const auto& error = back.errors.front();
        CHECK(error.kind == ErrorKind::stream);
        CHECK(place_of(error) == corruption.place);
        CHECK(error.offset == error_part + corruption.error_at.value_or(corruption.at));
        CHECK(error.found == corruption.found);
        CHECK(error.expected == corruption.expected);
    }
}

}  // namespace vmferry::xen::test
