// The page path with generated guests: every page arrives where it belongs, whatever the reads look like.
#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include "proxy/ram_output.hpp"
#include "tests/proxy/page_path.hpp"

using namespace vmferry;
using namespace vmferry::bench;

namespace {

// Looks at each page that comes out: its content must be that of its frame in the first or a later pass, the
// passes of a frame must not go backwards, and in the end every frame must have come in the last one.
class PageJudge {
  public:
    explicit PageJudge(const GuestLayout& layout) : layout_(layout), passes_(frame_count(layout), 0) {}

    void see(std::string_view block, std::uint64_t offset, Bytes page) {
        const auto gfn = frame_of_page(block, offset);
        if (gfn >= passes_.size()) {
            ++wrong_;
            return;
        }
        unsigned pass = passes_[gfn];
        if (frame_is_used(layout_, gfn)) {
            if (page.size() != page_size) {
                ++wrong_;
                return;
            }
            const auto tag = load_raw<std::uint64_t>(page);
            pass = static_cast<unsigned>(tag & 0xFF);
            if (tag != frame_tag(gfn, pass) || pass != passes_[gfn] ||
                std::memcmp(page.data() + 8, frame_filling().data(), page_size - 8) != 0)
                ++wrong_;
        } else if (!page.empty()) {
            ++wrong_;
        }
        passes_[gfn] = static_cast<std::uint8_t>(pass + 1);
    }

    [[nodiscard]] std::uint64_t wrong() const { return wrong_; }
    // Frames of a kind that did not come in every pass.
    [[nodiscard]] std::uint64_t missing(FrameKind kind) const {
        std::uint64_t count = 0;
        for (std::uint64_t gfn = 0; gfn < passes_.size(); ++gfn)
            if (frame_kind(layout_, gfn) == kind && passes_[gfn] != layout_.passes) ++count;
        return count;
    }

  private:
    [[nodiscard]] static std::uint64_t frame_of_page(std::string_view block, std::uint64_t offset) {
        constexpr std::uint64_t four_gib = 1ull << 32, firmware = 0xFC000000;
        if (block == "pc.ram") return offset / page_size;
        if (block == "hi") return (four_gib + offset) / page_size;
        if (block == "xfw") return (firmware + offset) / page_size;
        return ~0ull;
    }
    GuestLayout layout_;
    std::vector<std::uint8_t> passes_;
    std::uint64_t wrong_ = 0;
};

struct Outcome {
    Error error;
    CrossingCounters counters;
    std::uint64_t pages_out = 0, zero_out = 0, longest_part = 0;
};

// A generated stream ends behind its pages: the conversion must say so, and by then every page has crossed.
Outcome run(const GuestLayout& layout, PageJudge& judge, std::size_t read_size) {
    const auto frame = bare_frame();
    XenStreamGenerator generator(layout, frame.prelude, frame.tail);
    StreamChecker checker(
        [&](std::string_view block, std::uint64_t offset, Bytes page) { judge.see(block, offset, page); });
    AuditReport audit;
    Outcome outcome;
    ConvertOptions options;
    options.read_size = read_size;
    options.limits.spill_directory = "/tmp";
    options.progress = [&](const CrossingCounters& counters) { outcome.counters = counters; };
    const auto result = convert(
        test::source_of(generator), test::sink_to(checker),
        [&](const XenSource&) -> Result<Destination> { return destination_for(layout); }, audit, options);
    REQUIRE_FALSE(result);
    outcome.error = result.error();
    outcome.pages_out = checker.pages();
    outcome.zero_out = checker.zero_pages();
    outcome.longest_part = checker.longest_part();
    return outcome;
}

void check_all(const GuestLayout& layout, std::size_t read_size) {
    CAPTURE(read_size);
    PageJudge judge(layout);
    const auto outcome = run(layout, judge, read_size);
    CHECK(outcome.error.kind == ErrorKind::stream);
    CHECK(judge.wrong() == 0);
    CHECK(judge.missing(FrameKind::ram) == 0);
    CHECK(judge.missing(FrameKind::firmware) == 0);
    const auto& counters = outcome.counters;
    CHECK(counters.passes == layout.passes);
    CHECK(counters.populated == layout.ram_bytes / page_size - 0x20);
    CHECK(counters.held_pages == layout.passes * layout.vram_bytes / page_size);
    CHECK(counters.dropped_pages == layout.passes * layout.special_frames);
    CHECK(counters.pages == outcome.pages_out + counters.held_pages + counters.dropped_pages);
    CHECK(outcome.longest_part == RamOutput::pages_per_part);
}

}  // namespace

TEST_CASE("page path: every page in its place, with any size of reads") {
    GuestLayout layout;
    layout.ram_bytes = 32u << 20;
    layout.used_of_eight = 5;
    layout.passes = 3;
    for (const std::size_t read_size : {7u, 4096u, 100'003u, 1u << 20}) check_all(layout, read_size);
}

TEST_CASE("page path: one byte at a time") {
    GuestLayout layout;
    layout.ram_bytes = 4u << 20;
    layout.vram_bytes = 64u << 10;
    layout.used_of_eight = 1;
    PageJudge judge(layout);
    const auto outcome = run(layout, judge, 1);
    CHECK(judge.wrong() == 0);
    CHECK(judge.missing(FrameKind::ram) == 0);
    CHECK(outcome.counters.passes == 1);
}

TEST_CASE("page path: more than 3 GiB keeps Xen's layout, with RAM on both sides of the hole") {
    GuestLayout layout;
    layout.ram_bytes = 4608ull << 20;
    layout.used_of_eight = 1;
    layout.vram_bytes = 16u << 20;
    check_all(layout, 1u << 20);
}

TEST_CASE("page path: Crossing takes no more pages than the batch has room for") {
    GuestLayout layout;
    layout.ram_bytes = 8u << 20;
    layout.used_of_eight = 8;
    const auto frame = bare_frame();
    XenStreamGenerator generator(layout, frame.prelude, frame.tail);
    Buffer stream;
    for (auto piece = generator.next(); !piece.empty(); piece = generator.next()) append(stream, piece);

    AuditReport audit;
    Crossing crossing({1u << 30, "/tmp"}, audit);
    OutputBatch out;
    auto first = crossing.advance(stream, out);
    REQUIRE(first.has_value());
    CHECK(crossing.state() == Crossing::State::wants_destination);
    CHECK(first->need == 0);
    CHECK(first->consumed == frame.prelude.size());
    CHECK(out.empty());

    auto target = destination_for(layout);
    REQUIRE(crossing.set_destination(target.plan, target.twin, out).has_value());
    std::size_t at = first->consumed;
    unsigned batches = 0;
    for (;;) {
        const auto progress = crossing.advance(Bytes(stream).subspan(at), out);
        REQUIRE(progress.has_value());
        REQUIRE(out.pieces().size() <= OutputBatch::max_pieces);
        at += progress->consumed;
        out.clear();
        ++batches;
        if (progress->need != 0) break;
    }
    CHECK(at == stream.size());
    CHECK(batches >= 4);
}
