#include "proxy/input_file.hpp"

#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>
#include <unistd.h>
#include <zstd.h>

using namespace vmferry;

namespace {

struct TemporaryFile {
    std::string path = fmt::format("/tmp/vmferry-input-test-{}", ::getpid());
    explicit TemporaryFile(Bytes content) { std::ofstream(path, std::ios::binary) << as_text(content); }
    ~TemporaryFile() { std::filesystem::remove(path); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
};

Buffer packed(Bytes bytes) {
    Buffer result(ZSTD_compressBound(bytes.size()));
    result.resize(ZSTD_compress(result.data(), result.size(), bytes.data(), bytes.size(), 1));
    return result;
}

Result<Buffer> read_all(InputFile& file, std::size_t step) {
    Buffer all, piece(step);
    for (;;) {
        VMFERRY_ASSIGN(const auto n, file.read(piece));
        if (n == 0) return all;
        append(all, Bytes(piece).first(n));
    }
}

Buffer sample() {
    Buffer bytes;
    append(bytes, as_bytes(std::string_view("LibxlFmt\0\0\0\2", 12)));
    for (std::uint32_t i = 0; i < 100'000; ++i) append_le(bytes, i);
    return bytes;
}

}  // namespace

TEST_CASE("input file: plain and compressed give the same bytes, whatever is asked for at once") {
    const auto bytes = sample();
    for (const bool compressed : {false, true})
        for (const std::size_t step : {7u, 4096u, 1u << 20}) {
            const TemporaryFile file(compressed ? packed(bytes) : bytes);
            auto input = InputFile::open(file.path);
            REQUIRE(input.has_value());
            CHECK(input->compressed() == compressed);
            CHECK(input->format() == StreamFormat::xen_libxl);
            CHECK(input->file_size() == std::filesystem::file_size(file.path));
            const auto all = read_all(*input, step);
            REQUIRE(all.has_value());
            CHECK(*all == bytes);
            CHECK(input->file_position() == input->file_size());
        }
}

TEST_CASE("input file: two frames one after the other are one stream") {
    const auto bytes = sample();
    auto twice = packed(Bytes(bytes).first(1000));
    append(twice, packed(Bytes(bytes).subspan(1000)));
    const TemporaryFile file(twice);
    auto input = InputFile::open(file.path);
    REQUIRE(input.has_value());
    CHECK(read_all(*input, 65536) == bytes);
}

TEST_CASE("input file: a truncated or damaged frame is an error of the stream") {
    auto bytes = packed(sample());
    SUBCASE("truncated") {
        bytes.resize(bytes.size() - 1);
        const TemporaryFile file(bytes);
        auto input = InputFile::open(file.path);
        REQUIRE(input.has_value());
        const auto all = read_all(*input, 65536);
        REQUIRE_FALSE(all);
        CHECK(all.error().kind == ErrorKind::stream);
        CHECK(all.error().found == "end of file");
    }
    SUBCASE("damaged") {
        bytes[5] = std::byte{0xFF};
        bytes[6] = std::byte{0xFF};
        const TemporaryFile file(bytes);
        auto input = InputFile::open(file.path);
        auto all = input ? read_all(*input, 65536) : std::unexpected(input.error());
        REQUIRE_FALSE(all);
        CHECK(all.error().format == "zstd");
    }
}

TEST_CASE("input file: formats by their first bytes") {
    const auto format = [](std::string_view text) { return stream_format_of(as_bytes(text)); };
    CHECK(format({"Xen saved domain, xl format\n \0 \r", 32}) == StreamFormat::xen_xl);
    CHECK(format({"LibxlFmt\0\0\0\2", 12}) == StreamFormat::xen_libxl);
    CHECK(format({"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFXENF\0\0\0\3", 16}) == StreamFormat::xen_libxc);
    CHECK(format({"QEVM\0\0\0\3", 8}) == StreamFormat::qemu);
    CHECK(format("LinuxGuestRecord") == StreamFormat::unknown);
    CHECK(format("") == StreamFormat::unknown);
    CHECK(format("Xen saved") == StreamFormat::unknown);
}

TEST_CASE("input file: empty and missing") {
    const TemporaryFile file({});
    auto input = InputFile::open(file.path);
    REQUIRE(input.has_value());
    CHECK(input->format() == StreamFormat::unknown);
    CHECK(read_all(*input, 16) == Buffer{});
    const auto missing = InputFile::open("/nonexistent/stream");
    REQUIRE_FALSE(missing);
    CHECK(missing.error().kind == ErrorKind::environment);
    CHECK(missing.error().record == "opening");
}
