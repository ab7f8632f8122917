#include "parsers/wire/error.hpp"

#include <doctest/doctest.h>

#include "parsers/wire/place.hpp"

namespace vmferry {

namespace {

Result<int> half(int value) {
    if (value % 2 != 0)
        return stream_error("test", "NUMBER", "value", 7, std::to_string(value), "an even one");
    return value / 2;
}
Result<void> check(int value) {
    VMFERRY_TRY(half(value));
    return {};
}
Result<int> quarter(int value) {
    VMFERRY_TRY(check(value));
    VMFERRY_ASSIGN(const int once, half(value));
    VMFERRY_ASSIGN(const int twice, half(once));
    return twice;
}

}  // namespace

TEST_CASE("an error is one line that names its place") {
    const Place place{"libxc", "PAGE_DATA", 0x1000};
    CHECK(place.wrong("count", 8, "0", "at least 1").error().text() ==
          "libxc PAGE_DATA.count at offset 0x1008: found 0, expected at least 1");
    CHECK(place.wrong("type", 0, "1", "2", "use the other").error().text() ==
          "libxc PAGE_DATA.type at offset 0x1000: found 1, expected 2 (use the other)");
    const auto length = place.wrong_length(3, "4").error();
    CHECK(length.field == "length");
    CHECK(length.offset == 0xFFC);
    CHECK(length.found == "3");
    const auto environment = environment_error("qemu", "starting", "exit code 1").error();
    CHECK(environment.kind == ErrorKind::environment);
    CHECK(environment.text().find("offset") == std::string::npos);
    CHECK(environment.text().find("exit code 1") != std::string::npos);
}

TEST_CASE("the first error leaves the function, values go on") {
    CHECK(quarter(12) == 3);
    const auto first = quarter(3);
    REQUIRE_FALSE(first);
    CHECK(first.error().found == "3");
    const auto second = quarter(6);
    REQUIRE_FALSE(second);
    CHECK(second.error().found == "3");
    CHECK(second.error().offset == 7);
}

}  // namespace vmferry
