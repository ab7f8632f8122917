// The stream reader on whole streams: every chunking gives the same records, and writing them the same bytes.
#include "parsers/xen/stream_reader.hpp"

#include <algorithm>
#include <random>

#include <doctest/doctest.h>

#include "parsers/xen/handshake.hpp"
#include "parsers/xen/stream_writer.hpp"
#include "tests/parsers/xen/support.hpp"

namespace vmferry::xen::test {

namespace {

const std::vector<std::string> all_records = {"xl header",
                                              "libxl header",
                                              "libxl LIBXC_CONTEXT",
                                              "libxc image header",
                                              "libxc domain header",
                                              "libxc X86_CPUID_POLICY",
                                              "libxc X86_MSR_POLICY",
                                              "libxc STATIC_DATA_END",
                                              "libxc optional record",
                                              "libxc PAGE_DATA",
                                              "libxc pages",
                                              "libxc PAGE_DATA",
                                              "libxc PAGE_DATA",
                                              "libxc pages",
                                              "libxc VERIFY",
                                              "libxc PAGE_DATA",
                                              "libxc pages",
                                              "libxc X86_TSC_INFO",
                                              "libxc HVM_CONTEXT",
                                              "libxc HVM_PARAMS",
                                              "libxc END",
                                              "libxl EMULATOR_XENSTORE_DATA",
                                              "libxl EMULATOR_CONTEXT",
                                              "libxl END",
                                              "libxl end of the stream"};

void check_identity(const ReadBack& back, Bytes bytes) {
    REQUIRE_MESSAGE(back.errors.empty(), back.errors.front().text());
    CHECK(back.consumed == bytes.size() - go.size());
    CHECK(std::ranges::equal(back.rewritten, bytes.first(bytes.size() - go.size())));
    CHECK(as_text(bytes.last(go.size())) == go);
}

}  // namespace

TEST_CASE("a stream with every record: all at once, byte by byte, in random pieces") {
    const auto stream = build_stream();
    const auto whole = read_all(stream.bytes);
    check_identity(whole, stream.bytes);
    CHECK(whole.records == all_records);

    const auto single = read_all(stream.bytes, [](std::size_t) { return 1; });
    check_identity(single, stream.bytes);
    CHECK(single.records == all_records);

    for (unsigned seed = 0; seed < 50; ++seed) {
        std::mt19937 random(seed);
        const auto pieces =
            read_all(stream.bytes, [&](std::size_t) { return random() % (seed % 2 ? 40 : 9000); });
        check_identity(pieces, stream.bytes);
        CHECK(pieces.records == all_records);
    }
}

TEST_CASE("version 2 has no static data; its end is inferred before the first pages, once") {
    const auto stream = build_stream({.version = 2});
    for (const std::size_t step : {1, 7, 1'000'000}) {
        const auto back = read_all(stream.bytes, [&](std::size_t) { return step; });
        check_identity(back, stream.bytes);
        CHECK(std::count(back.records.begin(), back.records.end(), "libxc STATIC_DATA_END") == 1);
        const auto end = std::find(back.records.begin(), back.records.end(), "libxc STATIC_DATA_END");
        REQUIRE(end != back.records.end());
        CHECK(*(end + 1) == "libxc PAGE_DATA");
    }
}

TEST_CASE("a libxl stream without xl's header, and a libxc stream alone") {
    const auto stream = build_stream();
    const auto end = stream.at.at("go");
    const auto libxl = Bytes(stream.bytes).subspan(stream.at.at("libxl"), end - stream.at.at("libxl"));
    const auto from_libxl = read_all(libxl, {}, StreamReader::Start::libxl_header);
    CHECK(from_libxl.errors.empty());
    CHECK(std::ranges::equal(from_libxl.rewritten, libxl));

    const auto image = stream.at.at("image");
    const auto libxc = Bytes(stream.bytes).subspan(image, stream.at.at("EMULATOR_XENSTORE_DATA") - image);
    const auto from_libxc = read_all(libxc, {}, StreamReader::Start::libxc_header);
    CHECK(from_libxc.errors.empty());
    CHECK(std::ranges::equal(from_libxc.rewritten, libxc));
    CHECK(from_libxc.records.back() == "libxl end of the stream");
}

TEST_CASE("after the end the reader only asks for more") {
    const auto stream = build_stream();
    StreamReader reader;
    std::size_t at = 0;
    bool ended = false;
    while (!ended) {
        const auto step = reader.next(Bytes(stream.bytes).subspan(at));
        REQUIRE(step);
        REQUIRE(step->event);
        at += step->consumed;
        ended = std::holds_alternative<StreamEnd>(*step->event);
    }
    CHECK(at == stream.at.at("go"));
    const auto step = reader.next(Bytes(stream.bytes).subspan(at));
    REQUIRE(step);
    CHECK_FALSE(step->event);
    CHECK(step->need == go.size() + 1);
    CHECK(reader.offset() == at);
}

TEST_CASE("pages are lent in place and with their entries, in pieces of whole pages") {
    const auto stream = build_stream();
    const auto begin = stream.bytes.data();
    for (const std::size_t window : {page_size, 2 * page_size + 100, stream.bytes.size()}) {
        StreamReader reader;
        std::vector<std::uint64_t> frames;
        std::size_t at = 0;
        bool ended = false;
        while (!ended) {
            const auto have = std::min(window, stream.bytes.size() - at);
            auto step = reader.next(Bytes(stream.bytes).subspan(at, have));
            REQUIRE(step);
            if (!step->event) step = reader.next(Bytes(stream.bytes).subspan(at, step->need));
            REQUIRE(step->event);
            if (const auto* run = std::get_if<PageRun>(&*step->event)) {
                CHECK(run->pages.data() == begin + at);
                CHECK(run->pages.size() == step->consumed);
                auto entry = run->first;
                for (std::size_t left = run->pages.size() / page_size; left > 0; ++entry)
                    if ((*run->entries)[entry].has_data()) {
                        frames.push_back((*run->entries)[entry].gfn);
                        --left;
                    }
                CHECK((*run->entries)[run->first].has_data());
            }
            at += step->consumed;
            ended = std::holds_alternative<StreamEnd>(*step->event);
        }
        CHECK(frames == std::vector<std::uint64_t>{0x102, 0x103, 0x105, 0x107, 0xFF'FFFF'FFFC, 0xFF'FFFF'FFFD,
                                                   0xFF'FFFF'FFFE, 0xFF'FFFF'FFFF, 0x102});
    }
}

TEST_CASE("records come back as they were written") {
    const auto stream = build_stream();
    StreamReader reader;
    std::size_t at = 0;
    unsigned seen = 0;
    while (true) {
        const auto step = reader.next(Bytes(stream.bytes).subspan(at));
        REQUIRE(step);
        REQUIRE(step->event);
        at += step->consumed;
        const auto& event = *step->event;
        if (std::holds_alternative<StreamEnd>(event)) break;
        if (const auto* header = std::get_if<XlHeader>(&event)) {
            CHECK(header->config == "{ \"c_info\": { \"name\": \"g\" } }");
            ++seen;
        } else if (const auto* domain = std::get_if<DomainHeader>(&event)) {
            CHECK(domain->xen_major == 4);
            CHECK(domain->xen_minor == 17);
            ++seen;
        } else if (const auto* cpuid = std::get_if<CpuidPolicyRecord>(&event)) {
            REQUIRE(cpuid->leaves.size() == 3);
            const auto* leaf = find_leaf(cpuid->leaves, 7);
            REQUIRE(leaf != nullptr);
            CHECK(leaf->ebx == 4);
            CHECK(leaf->edx == 6);
            ++seen;
        } else if (const auto* msrs = std::get_if<MsrPolicyRecord>(&event)) {
            REQUIRE(msrs->entries.size() == 2);
            CHECK(msrs->entries[0].index == 0xCE);
            CHECK(msrs->entries[0].value == 0x80000000);
            ++seen;
        } else if (const auto* tsc = std::get_if<TscInfo>(&event)) {
            CHECK(tsc->mode == 2);
            CHECK(tsc->khz == 2'596'136);
            CHECK(tsc->nsec == 123'456'789'012);
            CHECK(tsc->incarnation == 1);
            ++seen;
        } else if (const auto* params = std::get_if<HvmParams>(&event)) {
            REQUIRE(params->params.size() == 3);
            CHECK(params->params[1].index == 17);
            CHECK(params->params[1].value == 0xFEFFF);
            ++seen;
        } else if (const auto* data = std::get_if<EmulatorXenstoreData>(&event)) {
            REQUIRE(data->entries.size() == 2);
            CHECK(data->entries[0].first == "physmap/f0000000/name");
            CHECK(data->entries[0].second == "vga.vram");
            CHECK(data->entries[1].second.empty());
            ++seen;
        } else if (const auto* emulator = std::get_if<EmulatorContext>(&event)) {
            CHECK(emulator->emulator == 2);
            CHECK(emulator->blob.size() == 333);
            ++seen;
        }
    }
    CHECK(seen == 8);
}

TEST_CASE("further optional data of xl's header is kept") {
    Buffer bytes;
    write(bytes, XlHeader{3, 0x80, "{}", "later releases"});
    const auto back = read_all(bytes);
    CHECK(back.consumed == bytes.size());
    CHECK(back.rewritten == bytes);
}

TEST_CASE("an optional record of 100 MB is never asked for as a whole") {
    auto stream = build_stream();
    Buffer bytes(stream.bytes.begin(), stream.bytes.begin() + static_cast<long>(stream.at.at("optional")));
    append_le(bytes, std::uint32_t{0x80000042});
    append_le(bytes, std::uint32_t{100'000'001});
    StreamReader reader;
    std::size_t at = 0;
    while (at < stream.at.at("optional")) {
        const auto step = reader.next(Bytes(bytes).subspan(at));
        REQUIRE(step);
        at += step->consumed;
    }
    bytes.resize(at + 8 + 4096);
    auto in = Bytes(bytes).subspan(at);
    std::uint64_t body = 0;
    while (body < 100'000'001) {
        const auto step = reader.next(in);
        REQUIRE(step);
        if (!step->event) {
            REQUIRE(step->need <= 8);
            in = Bytes(bytes).last(4096);
            continue;
        }
        const auto* piece = std::get_if<SkippedOptional>(&*step->event);
        REQUIRE(piece != nullptr);
        CHECK(piece->at == body);
        body += piece->part.size();
        in = in.subspan(step->consumed);
        if (body < 100'000'001 && in.size() < 8)
            in = Bytes(bytes).last(std::min<std::size_t>(4096, 100'000'008 - body));
    }
    CHECK(body == 100'000'001);
}

TEST_CASE("the handshake's messages") {
    CHECK(banner == "xl migration receiver ready, send binary domain data.\n");
    CHECK(ready == std::string("domain received, ready to unpause") + '\0');
    CHECK(go == std::string("domain is yours, you are cleared to unpause") + '\0');
    CHECK(report == std::string("my copy unpause results are as follows") + '\0');
}

}  // namespace vmferry::xen::test
