#include "proxy/spill_file.hpp"

#include <array>
#include <filesystem>

#include <doctest/doctest.h>
#include <unistd.h>

#include "tests/proxy/file_size_limit.hpp"

using namespace vmferry;
using vmferry::test::FileSizeLimit;

namespace {

Buffer page_of(std::uint8_t value) {
    return Buffer(page_size, std::byte{value});
}

Buffer loaded(const SpillFile& spill, std::uint64_t gfn) {
    Buffer page(page_size, std::byte{0xEE});
    REQUIRE(spill.load(gfn, page).has_value());
    return page;
}

}  // namespace

TEST_CASE("spill file: last copy wins, in any order, and frames come back ascending") {
    SpillFile spill("/tmp", 1u << 20);
    CHECK_FALSE(spill.contains(0));
    CHECK_FALSE(spill.next(0).has_value());

    for (const auto gfn : {0xFBFFFul, 0xF0000ul, 0xF0001ul, 0xDFul}) REQUIRE(spill.store(gfn, page_of(1)));
    REQUIRE(spill.store(0xF0000, page_of(2)));
    CHECK(spill.size() == 4);
    CHECK(loaded(spill, 0xF0000) == page_of(2));
    CHECK(loaded(spill, 0xFBFFF) == page_of(1));
    CHECK(spill.next(0) == 0xDF);
    CHECK(spill.next(0xE0) == 0xF0000);
    CHECK(spill.next(0xF0001) == 0xF0001);
    CHECK(spill.next(0xF0002) == 0xFBFFF);
    CHECK_FALSE(spill.next(0xFC000).has_value());
    CHECK_FALSE(spill.next(SpillFile::frames).has_value());
}

TEST_CASE("spill file: zero pages, also as the last one and over an older copy") {
    SpillFile spill("/tmp", 1u << 20);
    REQUIRE(spill.store(5, page_of(0)));
    CHECK(spill.contains(5));
    CHECK(loaded(spill, 5) == page_of(0));
    REQUIRE(spill.store(9, page_of(3)));
    REQUIRE(spill.store(9, page_of(0)));
    CHECK(loaded(spill, 9) == page_of(0));
    CHECK(spill.size() == 2);
}

TEST_CASE("spill file: the bound counts frames, not copies") {
    SpillFile spill("/tmp", 2 * page_size);
    REQUIRE(spill.store(1, page_of(1)));
    REQUIRE(spill.store(2, page_of(1)));
    REQUIRE(spill.store(2, page_of(2)));
    const auto result = spill.store(3, page_of(1));
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == ErrorKind::environment);
    CHECK(result.error().found == "more than 8192 bytes of pages outside plain RAM");
}

TEST_CASE("spill file: a directory that is not there is named") {
    SpillFile spill("/nonexistent/spill", 1u << 20);
    const auto result = spill.store(1, page_of(1));
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == ErrorKind::environment);
    CHECK(result.error().record == "making a file in /nonexistent/spill");
    CHECK_FALSE(spill.contains(1));
}

TEST_CASE("spill file: a full disk is an error of the environment") {
    SpillFile spill("/tmp", 1u << 30);
    const FileSizeLimit limit(3 * page_size);
    REQUIRE(spill.store(2, page_of(1)));
    const auto result = spill.store(3, page_of(1));
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == ErrorKind::environment);
    CHECK(result.error().record == "writing a page to /tmp");
    CHECK_FALSE(spill.contains(3));
}

TEST_CASE("spill file: leaves no name behind") {
    const auto directory = std::filesystem::path("/tmp") / fmt::format("vmferry-spill-test-{}", ::getpid());
    std::filesystem::create_directory(directory);
    {
        SpillFile spill(directory, 1u << 20);
        REQUIRE(spill.store(7, page_of(1)));
        CHECK(std::filesystem::is_empty(directory));
    }
    std::filesystem::remove(directory);
}
