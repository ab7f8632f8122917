// Recorded streams: byte identity of the whole, every chunking, and cuts.
#include <algorithm>
#include <random>

#include <doctest/doctest.h>

#include "parsers/xen/handshake.hpp"
#include "parsers/xen/stream_writer.hpp"
#include "tests/parsers/xen/support.hpp"

namespace vmferry::xen::test {

namespace {

constexpr auto trimmed_name = "xen-4.17-trimmed.up.zst";

const Buffer& trimmed() {
    static const Buffer bytes = load_capture(trimmed_name);
    return bytes;
}

/// The offsets of all record headers in a stream, and of the pages behind a batch's list.
std::vector<std::size_t> record_offsets(Bytes bytes) {
    std::vector<std::size_t> offsets;
    StreamReader reader;
    while (true) {
        offsets.push_back(reader.offset());
        const auto step = reader.next(bytes.subspan(reader.offset()));
        REQUIRE(step);
        REQUIRE(step->event);
        if (std::holds_alternative<StreamEnd>(*step->event)) return offsets;
    }
}

/// What a reader says of a stream that ends after `size` bytes.
void check_cut(Bytes bytes, std::size_t size) {
    CAPTURE(size);
    StreamReader reader;
    while (true) {
        const auto in = bytes.first(size).subspan(reader.offset());
        const auto step = reader.next(in);
        REQUIRE(step);
        if (step->event) {
            REQUIRE_FALSE(std::holds_alternative<StreamEnd>(*step->event));
            continue;
        }
        REQUIRE(step->need > in.size());
        const auto error = reader.truncated(in.size());
        REQUIRE(error.kind == ErrorKind::stream);
        REQUIRE(error.offset == size);
        REQUIRE_FALSE(error.format.empty());
        REQUIRE_FALSE(error.record.empty());
        REQUIRE(error.found == fmt::format("the end of the stream after {} bytes", in.size()));
        REQUIRE(error.expected == fmt::format("at least {}", step->need));
        return;
    }
}

}  // namespace

TEST_CASE("recorded streams come out as they went in") {
    for (const std::string name : {trimmed_name, "xen-4.17-linux-2vcpu-e1000-ide.up.zst"}) {
        CAPTURE(name);
        const auto bytes = load_capture(name);
        StreamReader reader;
        std::size_t at = 0;
        unsigned contexts = 0;
        Buffer out;
        bool ended = false;
        while (!ended) {
            // A window such as a proxy has.
            const auto have = std::min<std::size_t>(bytes.size() - at, 1U << 20);
            const auto step = reader.next(Bytes(bytes).subspan(at, have));
            REQUIRE(step);
            REQUIRE(step->event);
            out.clear();
            write_record(out, *step->event);
            REQUIRE(out.size() == step->consumed);
            REQUIRE(std::memcmp(out.data(), bytes.data() + at, out.size()) == 0);
            if (const auto* context = std::get_if<HvmContextRecord>(&*step->event)) {
                const auto records = read_hvm_context(context->blob, at + 8);
                REQUIRE(records);
                CHECK(std::ranges::equal(write_hvm_context(*records), context->blob));
                CHECK(find_record<hvm_hw_cpu>(*records, 1) != nullptr);
                ++contexts;
            }
            at += step->consumed;
            ended = std::holds_alternative<StreamEnd>(*step->event);
        }
        CHECK(contexts == 1);
        CHECK(as_text(Bytes(bytes).subspan(at)) == go);
    }
}

TEST_CASE("the trimmed capture byte by byte and in random pieces") {
    const auto whole = read_all(trimmed());
    REQUIRE(whole.errors.empty());
    CHECK(std::count(whole.records.begin(), whole.records.end(), "libxc PAGE_DATA") == 37);
    CHECK(whole.consumed == trimmed().size() - go.size());

    std::vector<std::function<std::size_t(std::size_t)>> chunkings;
    chunkings.emplace_back([](std::size_t) { return 1; });
    for (unsigned seed = 0; seed < 10; ++seed)
        chunkings.emplace_back(
            [random = std::mt19937(seed)](std::size_t) mutable { return std::size_t{1} << random() % 18; });
    for (const auto& chunking : chunkings) {
        const auto back = read_all(trimmed(), chunking);
        REQUIRE(back.errors.empty());
        CHECK(back.records == whole.records);
        CHECK(back.rewritten == whole.rewritten);
    }
}

TEST_CASE("cuts at every byte of the headers") {
    const Bytes bytes(trimmed());
    const auto offsets = record_offsets(bytes);
    // All up to the first pages, then the 32 bytes at the beginning of each record.
    constexpr std::size_t first_pages = 9;
    for (std::size_t size = 0; size < offsets[first_pages]; ++size) check_cut(bytes, size);
    for (const auto offset : offsets)
        for (std::size_t size = offset; size < offset + 32 && size < bytes.size() - go.size(); ++size)
            check_cut(bytes, size);
}

TEST_CASE("cuts at 1,000 seeded offsets") {
    std::mt19937 random(20260818);
    std::uniform_int_distribution<std::size_t> offset(0, trimmed().size() - go.size() - 1);
    for (unsigned i = 0; i < 1000; ++i) check_cut(trimmed(), offset(random));
}

TEST_CASE("the recorded HVM_CONTEXT, cut at every byte") {
    const Bytes bytes(trimmed());
    StreamReader reader;
    while (true) {
        const auto step = reader.next(bytes.subspan(reader.offset()));
        REQUIRE(step);
        REQUIRE(step->event);
        const auto* context = std::get_if<HvmContextRecord>(&*step->event);
        if (context == nullptr) continue;
        REQUIRE(read_hvm_context(context->blob, 0));
        for (std::size_t size = 0; size < context->blob.size(); ++size) {
            const auto cut = read_hvm_context(context->blob.first(size), 0x1000);
            REQUIRE_FALSE(cut);
            const auto& error = cut.error();
            REQUIRE((error.field == "descriptor" || error.field == "length"));
            REQUIRE(error.format == "HVM_CONTEXT");
            REQUIRE_FALSE(error.record.empty());
            REQUIRE(error.offset >= 0x1000);
            REQUIRE(error.offset <= 0x1000 + size);
        }
        return;
    }
}

TEST_CASE("a cut names what was being read") {
    const auto stream = build_stream();
    const auto cut = [&](const char* part, std::size_t further) {
        const auto back = read_all(Bytes(stream.bytes).first(stream.at.at(part) + further));
        REQUIRE(back.errors.size() == 1);
        return back.errors.front().text();
    };
    CHECK(cut("xl", 20) ==
          "xl header at offset 0x14: found the end of the stream after 20 bytes, expected at least 48");
    CHECK(
        cut("xl", 60) ==
        "xl configuration at offset 0x3c: found the end of the stream after 60 bytes, expected at least 82");
    const auto page = cut("PAGE_DATA", 16 + 9 * 8 + 4096 + 5);
    CHECK(page.starts_with("libxc PAGE_DATA.page of frame 0x103 at offset"));
    CHECK(page.ends_with("found the end of the stream after 5 bytes, expected at least 4096"));
    CHECK(cut("HVM_CONTEXT", 100).starts_with("libxc HVM_CONTEXT at offset"));
    CHECK(cut("EMULATOR_CONTEXT", 0).starts_with("libxl record header at offset"));
}

}  // namespace vmferry::xen::test
