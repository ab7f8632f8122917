// What the page path refuses, and how it says so.
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "parsers/xen/stream_writer.hpp"
#include "tests/proxy/page_path.hpp"

using namespace vmferry;
using namespace vmferry::bench;

namespace {

constexpr auto normal = static_cast<std::uint8_t>(xen::PageType::normal);
constexpr auto broken = static_cast<std::uint8_t>(xen::PageType::broken);
constexpr auto xalloc = static_cast<std::uint8_t>(xen::PageType::xalloc);
constexpr auto xtab = static_cast<std::uint8_t>(xen::PageType::xtab);

GuestLayout small() {
    GuestLayout layout;
    layout.ram_bytes = 8u << 20;
    layout.vram_bytes = 1u << 20;
    return layout;
}

// A stream with these entries as its only batch; pages hold their frame's tag.
Buffer stream_with(const std::vector<xen::PageEntry>& entries) {
    auto stream = bare_frame().prelude;
    xen::write_page_batch(stream, entries);
    for (const auto& entry : entries) {
        if (!entry.has_data()) continue;
        append_le(stream, frame_tag(entry.gfn, 0));
        append(stream, frame_filling());
    }
    append(stream, bare_frame().tail);
    return stream;
}

struct Run {
    AuditReport audit;
    ConvertOptions options;
    std::function<void(Destination&)> change = [](Destination&) {};
    StreamChecker checker;

    explicit Run(std::set<std::string, std::less<>> allowed = {}) : audit(std::move(allowed)) {
        options.limits.spill_directory = "/tmp";
    }
    Result<CrossingCounters> operator()(Bytes stream) {
        return convert(
            test::source_of(stream), test::sink_to(checker),
            [&](const XenSource&) -> Result<Destination> {
                auto target = destination_for(small());
                change(target);
                return target;
            },
            audit, options);
    }
};

}  // namespace

TEST_CASE("crossing refuses: a frame outside the guest's memory, with its place in the stream") {
    const auto prelude = bare_frame().prelude.size();
    for (const std::uint64_t gfn : {0xA0ull, 0xBFull, 1ull << 20, (1ull << 40) - 1}) {
        CAPTURE(gfn);
        Run run;
        // The second page of the batch is the wrong one.
        const auto result = run(stream_with({{1, normal}, {gfn, normal}}));
        REQUIRE_FALSE(result);
        const auto& error = result.error();
        CHECK(error.kind == ErrorKind::stream);
        CHECK(error.format == "libxc");
        CHECK(error.record == "PAGE_DATA");
        CHECK(error.field == "pfn[1]");
        CHECK(error.offset == prelude + 16 + 8);
        CHECK(error.found.find(fmt::format("{:#x}", gfn)) != std::string::npos);
    }
}

TEST_CASE("crossing refuses: a poisoned page") {
    Run run;
    const auto result = run(stream_with({{1, normal}, {0x123, broken}}));
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == ErrorKind::refused);
    CHECK(result.error().text().find("broken-page") != std::string::npos);
    CHECK(result.error().text().find("0x123") != std::string::npos);
    CHECK(result.error().offset == bare_frame().prelude.size() + 16 + 8);
}

TEST_CASE("crossing refuses: a hole where the guest has RAM, unless that is allowed") {
    const auto stream = stream_with({{1, normal}, {0x123, xtab}, {0xA5, xtab}, {0xF0000, xtab}});
    Run run;
    const auto result = run(stream);
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == ErrorKind::refused);
    CHECK(result.error().text().find("ram-hole") != std::string::npos);

    Run allowed({"ram-hole"});
    const auto cut = allowed(stream);
    REQUIRE_FALSE(cut);  // the stream has no end; the hole is no longer what stops it
    CHECK(cut.error().kind == ErrorKind::stream);
    CHECK(allowed.checker.pages() == 1);
}

TEST_CASE("crossing: frames that are populated without data become zero pages") {
    Run run;
    CHECK_FALSE(
        run(stream_with({{0, xalloc}, {1, normal}, {2, xalloc}, {3, xalloc}, {4, normal}, {5, xalloc}})));
    CHECK(run.checker.pages() == 6);
    CHECK(run.checker.zero_pages() == 4);
}

TEST_CASE("crossing: many frames without data between two pages") {
    std::vector<xen::PageEntry> entries;
    for (std::uint64_t gfn = 0x100; gfn < 0x800; ++gfn)
        entries.push_back({gfn, gfn % 700 == 0 ? normal : xalloc});
    Run run;
    CHECK_FALSE(run(stream_with(entries)));
    CHECK(run.checker.pages() == entries.size());
}

TEST_CASE("crossing refuses: more held pages than the spill file may have") {
    Run run;
    run.options.limits.spill_bytes = 3 * page_size;
    std::vector<xen::PageEntry> entries;
    for (std::uint64_t gfn = 0xF0000; gfn < 0xF0004; ++gfn) entries.push_back({gfn, normal});
    const auto result = run(stream_with(entries));
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == ErrorKind::environment);
    CHECK(result.error().format == "spill file");
}

TEST_CASE("crossing refuses: a destination that is not the planned one") {
    const auto stream = stream_with({{1, normal}});
    const auto refused = [&](auto change) {
        Run run;
        run.change = change;
        const auto result = run(stream);
        REQUIRE_FALSE(result);
        CHECK(result.error().kind == ErrorKind::environment);
        CHECK(result.error().format == "destination");
        return result.error().record;
    };
    CHECK(refused([](Destination& target) { target.twin.blocks[0].used_length -= page_size; }) ==
          "comparing RAM block pc.ram with the plan");
    CHECK(refused([](Destination& target) { target.twin.blocks[0].used_length += page_size; }) ==
          "comparing RAM block pc.ram with the plan");
    CHECK(refused([](Destination& target) { target.twin.blocks.pop_back(); }) ==
          "comparing RAM block xfw with the plan");
    CHECK(refused([](Destination& target) { target.twin.blocks[1].used_length *= 2; }) ==
          "comparing RAM block 0000:00:02.0/vga.vram with the plan");
}

TEST_CASE("crossing: what the supplier of the destination refuses ends the conversion before a byte is out") {
    AuditReport audit;
    bool written = false;
    const auto result = convert(
        test::source_of(stream_with({{1, normal}})),
        [&](const OutputBatch&) -> Result<void> {
            written = true;
            return {};
        },
        [](const XenSource&) -> Result<Destination> {
            return environment_error("destination", "asking", "no answer");
        },
        audit, {});
    REQUIRE_FALSE(result);
    CHECK(result.error().found == "no answer");
    CHECK_FALSE(written);
}

TEST_CASE("crossing: a sink that fails ends the conversion") {
    AuditReport audit;
    const auto result = convert(
        test::source_of(stream_with({{1, normal}})),
        [](const OutputBatch&) -> Result<void> {
            return environment_error("output", "writing", "disk full");
        },
        [](const XenSource&) -> Result<Destination> { return destination_for(small()); }, audit, {});
    REQUIRE_FALSE(result);
    CHECK(result.error().found == "disk full");
}

TEST_CASE("crossing: a stream that ends too early is told where, at every cut of its small records") {
    const auto stream = stream_with({{1, normal}, {2, xalloc}, {3, normal}});
    for (std::size_t cut = 0; cut <= stream.size(); cut += cut < 2000 ? 1 : 37) {
        CAPTURE(cut);
        Run run;
        const auto result = run(Bytes(stream).first(cut));
        REQUIRE_FALSE(result);
        REQUIRE(result.error().kind == ErrorKind::stream);
        REQUIRE_FALSE(result.error().format.empty());
        REQUIRE_FALSE(result.error().expected.empty());
        REQUIRE_FALSE(run.checker.ram_ended());
    }
}

TEST_CASE("crossing: the first page of an old stream without STATIC_DATA_END asks for the destination") {
    Buffer stream;
    xen::XlHeader header;
    header.config = R"({"c_info":{"type":"hvm","name":"old"},"b_info":{"max_memkb":9216,"type.hvm":{}}})";
    xen::write(stream, header);
    xen::write(stream, xen::LibxlHeader{});
    xen::write(stream, xen::LibxcContext{});
    xen::write(stream, xen::ImageHeader{.version = 2});
    xen::write(stream, xen::DomainHeader{.xen_major = 4, .xen_minor = 13});
    const std::vector<xen::PageEntry> entries{{1, xalloc}, {2, normal}};
    xen::write_page_batch(stream, entries);
    stream.resize(stream.size() + page_size, std::byte{1});
    Run run;
    CHECK_FALSE(run(stream));
    CHECK(run.checker.pages() == 2);
    CHECK(run.checker.zero_pages() == 1);
}
