// Against the real QEMU: a twin's stream, and the cache that keeps it.
#include "proxy/twin.hpp"

#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "proxy/template_cache.hpp"
#include "proxy/temporary_directory.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/machines.hpp"

using namespace vmferry;
using vmferry::test::error_text;
using vmferry::test::small_machine;

namespace {

TEST_CASE("a twin sends its stream") {
    Loop loop;
    const auto twin = capture_twin(loop, small_machine(), {});
    REQUIRE_MESSAGE(twin.has_value(), error_text(twin));
    CHECK(twin->cpu.vendor.size() == 12);
    CHECK(twin->cpu.words.size() > 10);
    const auto* stream = &twin->stream;
    CHECK(stream->size() > 100'000);
    CHECK(as_text(Bytes(*stream).first(4)) == "QEVM");
    CHECK(as_text(*stream).find("pc-i440fx-7.2") != std::string_view::npos);
    CHECK(stream->back() == std::byte{'}'});  // the end of the description
}

TEST_CASE("a twin that refuses its arguments is quoted") {
    Loop loop;
    auto request = small_machine();
    request.arguments.emplace_back("-no-such-option");
    const auto stream = capture_twin(loop, request, {});
    REQUIRE(!stream);
    CHECK(stream.error().kind == ErrorKind::environment);
    CHECK(stream.error().found.find("ended with status 1") != std::string::npos);
    CHECK(stream.error().found.find("no-such-option") != std::string::npos);
}

TEST_CASE("a binary that is not there is said at once") {
    Loop loop;
    const auto stream = capture_twin(loop, {"/nonexistent/qemu", {}}, {});
    REQUIRE(!stream);
    CHECK(stream.error().found.find("exec: No such file") != std::string::npos);
}

TEST_CASE("templates are kept, and a spoiled one is made anew") {
    Loop loop;
    auto directory = TemporaryDirectory::create();
    REQUIRE(directory);
    TemplateCache cache(directory->file("cache"));
    const auto request = small_machine();
    const auto key = cache.key(loop, request, {});
    REQUIRE(key);
    CHECK(!cache.load(*key));
    const auto first = cache.twin(loop, request, {});
    REQUIRE_MESSAGE(first.has_value(), error_text(first));
    const auto kept = cache.load(*key);
    REQUIRE(kept);
    CHECK(kept->stream == first->stream);
    CHECK(kept->cpu.words.size() == first->cpu.words.size());
    CHECK(kept->cpu.vendor == first->cpu.vendor);

    auto other = request;
    other.arguments.back() = "cirrus-vga,addr=2,vgamem_mb=16";
    CHECK(cache.key(loop, other, {}).value() != *key);

    const auto file = directory->file("cache") + "/" + *key + ".twin";
    const auto size = std::filesystem::file_size(file);
    std::fstream(file, std::ios::in | std::ios::out | std::ios::binary)
        .seekp(static_cast<long>(size / 2))
        .put('!');
    CHECK(!cache.load(*key));
    std::filesystem::resize_file(file, 10);
    CHECK(!cache.load(*key));
    CHECK(cache.twin(loop, request, {}));
    CHECK(cache.load(*key));
}

}  // namespace
