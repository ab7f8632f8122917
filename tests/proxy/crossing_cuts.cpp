// A recorded guest whose stream ends too early, through the whole crossing.
#include <random>
#include <set>
#include <variant>

#include "parsers/xen/stream_reader.hpp"
#include "tests/proxy/recorded.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

/// Offsets of all records and of the pages behind a batch's list; the last one is behind libxl's END.
std::vector<std::size_t> record_offsets(Bytes stream) {
    std::vector<std::size_t> offsets;
    xen::StreamReader reader;
    while (true) {
        offsets.push_back(reader.offset());
        const auto step = reader.next(stream.subspan(reader.offset()));
        REQUIRE(step.has_value());
        REQUIRE(step->event.has_value());
        if (std::holds_alternative<xen::StreamEnd>(*step->event)) return offsets;
    }
}

}  // namespace

TEST_CASE(
    "crossing, recorded guest: one byte at a time, and at every byte of the headers it knows what is next") {
    const RecordedGuest guest;
    const auto stream = load_small_guest();
    const auto offsets = record_offsets(stream);
    // All up to the pages, then the 64 bytes at the beginning of each record.
    constexpr std::size_t before_pages = 9;
    std::set<std::size_t> headers;
    for (std::size_t at = 0; at < offsets[before_pages]; ++at) headers.insert(at);
    for (const auto offset : offsets)
        for (std::size_t at = offset; at < offset + 64; ++at) headers.insert(at);

    AuditReport audit;
    Crossing crossing({1u << 30, "/tmp"}, audit);
    bench::StreamChecker checker;
    OutputBatch out;
    std::size_t at = 0, looked = 0;
    for (std::size_t have = 0; have < offsets.back(); ++have) {
        // As long as something is found in what has come.
        for (std::size_t consumed = 1; consumed > 0;) {
            if (crossing.state() == Crossing::State::wants_destination) {
                auto target = guest.destination(crossing.source());
                REQUIRE(target.has_value());
                REQUIRE(crossing.set_destination(target->plan, target->twin, out).has_value());
            }
            const auto progress = crossing.advance(Bytes(stream).subspan(at, have - at), out);
            if (!progress) FAIL(progress.error().text());
            consumed = progress->consumed + (crossing.state() == Crossing::State::wants_destination ? 1 : 0);
            at += progress->consumed;
            if (!out.empty()) REQUIRE(sink_to(checker)(out).has_value());
            if (!out.empty()) ++consumed;
            out.clear();
        }
        if (!headers.contains(have)) continue;
        ++looked;
        const auto error = crossing.truncated(have - at);
        const bool complete = error.kind == ErrorKind::stream && !error.format.empty() &&
                              !error.record.empty() && error.offset == have && !error.found.empty() &&
                              !error.expected.empty();
        if (!complete) FAIL(error.text());
    }
    CHECK(crossing.state() == Crossing::State::pages);
    CHECK_FALSE(checker.ram_ended());
    CHECK(looked > 5'000);
}

TEST_CASE("crossing, recorded guest: cut anywhere, the stream is refused and QEMU gets no end") {
    const RecordedGuest guest;
    const auto stream = load_small_guest();
    const auto needed = record_offsets(stream).back();
    std::mt19937 random(20);
    std::vector<std::size_t> cuts{0, 1, needed - 1, needed - 8, needed - 9};
    while (cuts.size() < 1000) cuts.push_back(random() % needed);
    for (const auto cut : cuts) {
        CAPTURE(cut);
        AuditReport audit;
        bench::StreamChecker checker;
        ConvertOptions options;
        options.limits.spill_directory = "/tmp";
        const auto result = convert(
            source_of(Bytes(stream).first(cut)), sink_to(checker),
            [&](const XenSource& source) { return guest.destination(source); }, audit, options);
        REQUIRE_FALSE(result);
        REQUIRE(result.error().kind == ErrorKind::stream);
        REQUIRE_FALSE(result.error().format.empty());
        REQUIRE_FALSE(result.error().found.empty());
        REQUIRE_FALSE(result.error().expected.empty());
        REQUIRE(result.error().offset <= cut);
        REQUIRE_FALSE(checker.ram_ended());
    }
}
