// A recorded guest through the whole crossing, into the destination that QEMU's twin describes; the result is
// read by a reader that shares nothing with the writer, and compared with the pages that Xen sent.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/xen/stream_reader.hpp"
#include "parsers/xen/stream_writer.hpp"
#include "tests/proxy/recorded.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

constexpr std::uint64_t realtime_ns = 1'800'000'000'000'000'000;

const char* const whole = "xen-4.17-linux-2vcpu-e1000-ide.up.zst";

// What Xen sent last for each frame; an empty page is a page of zeros.
using Pages = std::map<std::uint64_t, Bytes>;

bool all_zero(Bytes page) {
    return std::ranges::all_of(page, [](std::byte byte) { return byte == std::byte{0}; });
}

Pages last_copies(Bytes stream) {
    Pages pages;
    xen::StreamReader reader;
    std::size_t at = 0;
    for (;;) {
        const auto step = reader.next(stream.subspan(at));
        REQUIRE(step.has_value());
        REQUIRE(step->event.has_value());
        if (const auto* run = std::get_if<xen::PageRun>(&*step->event)) {
            auto entry = run->first;
            for (auto rest = run->pages; !rest.empty(); rest = rest.subspan(page_size)) {
                while (!(*run->entries)[entry].has_data()) ++entry;
                pages[(*run->entries)[entry++].gfn] = rest.first(page_size);
            }
        }
        at += step->consumed;
        if (std::holds_alternative<xen::LibxlEnd>(*step->event)) return pages;
    }
}

// The block and offset of a frame of this guest, written down once more: 88 MiB of RAM, the display's memory
// at 0xF0000000, hvmloader's area at 0xFC000000.
std::optional<std::pair<std::string, std::uint64_t>> place_of(std::uint64_t gfn) {
    const auto address = gfn * page_size;
    if (address < 0xA0000 || (address >= 0xC0000 && address < 88u << 20)) return {{"pc.ram", address}};
    if (address >= 0xF0000000 && address < 0xF0800000)
        return {{"0000:00:02.0/vga.vram", address - 0xF0000000}};
    if (address >= 0xFC000000 && address < 0xFE000000) return {{"0000:00:1f.0/xfw", address - 0xFC000000}};
    return std::nullopt;
}

struct Converted {
    Result<CrossingCounters> counters;
    AuditReport audit;
    Buffer stream;
    bool ram_ended = false;
};

Converted converted(const RecordedGuest& guest, Bytes stream, std::size_t read_size,
                    const bench::StreamChecker::PageSeen& seen = {}) {
    Converted result{{}, AuditReport(), {}, false};
    bench::StreamChecker checker(seen);
    ConvertOptions options;
    options.read_size = read_size;
    options.realtime_ns = realtime_ns;
    options.limits.spill_directory = "/tmp";
    result.counters = convert(
        source_of(stream),
        [&](const OutputBatch& batch) -> Result<void> {
            append(result.stream, gathered(batch));
            return sink_to(checker)(batch);
        },
        [&](const XenSource& source) { return guest.destination(source); }, result.audit, options);
    if (result.counters) CHECK(checker.finish().has_value());
    result.ram_ended = checker.ram_ended();
    return result;
}

}  // namespace

TEST_CASE("crossing, recorded guest: every page equals Xen's last copy, but for the reset stub") {
    const RecordedGuest guest;
    const auto stream = load_capture(whole);
    std::map<std::pair<std::string, std::uint64_t>, Buffer> out;
    const auto result =
        converted(guest, stream, 1u << 20, [&](std::string_view block, std::uint64_t offset, Bytes page) {
            out[{std::string(block), offset}].assign(page.begin(), page.end());
        });
    INFO((result.counters ? std::string() : result.counters.error().text()));
    REQUIRE(result.counters.has_value());
    CHECK_FALSE(result.audit.refused());

    std::uint64_t compared = 0, different_bytes = 0, wrong_pages = 0, without_place = 0;
    for (const auto& [gfn, page] : last_copies(stream)) {
        const auto place = place_of(gfn);
        if (!place) {
            ++without_place;
            continue;
        }
        const auto found = out.find(*place);
        REQUIRE(found != out.end());
        ++compared;
        const auto& theirs = found->second;
        if (theirs.empty()) {
            if (!all_zero(page)) ++wrong_pages;
        } else if (!std::ranges::equal(theirs, page)) {
            // Only the two frames of the reset stub may differ, in as many bytes as the report says at most.
            if (gfn != 0xDF && gfn != 0xFE) ++wrong_pages;
            for (std::size_t i = 0; i < page_size; ++i)
                if (theirs[i] != page[i]) ++different_bytes;
        }
    }
    CHECK(wrong_pages == 0);
    CHECK(different_bytes > 5);
    CHECK(different_bytes <= 47);
    CHECK(compared > 24'000);
    // 80 frames behind option ROMs, 16 special ones; each named in the report.
    CHECK(without_place == 96);
    CHECK(result.counters->dropped_pages >= without_place);
    const auto reported = std::ranges::count_if(result.audit.findings(), [](const Finding& finding) {
        return finding.rule == "memory" && finding.text.find("dropped") != std::string::npos;
    });
    CHECK(reported == 2);
    CHECK(result.counters->populated == (88u << 20) / page_size - 0x20);

    // Firmware for the next reset comes from the twin.
    CHECK(std::ranges::any_of(
        out, [](const auto& entry) { return entry.first.first == "pc.bios" && !entry.second.empty(); }));
}

TEST_CASE("crossing, recorded guest: the same bytes come out whatever the reads look like") {
    const RecordedGuest guest;
    const auto stream = load_small_guest();
    const auto reference = converted(guest, stream, 1u << 20);
    INFO((reference.counters ? std::string() : reference.counters.error().text()));
    REQUIRE(reference.counters.has_value());
    for (const std::size_t read_size : {1u, 7u, 4097u, 65'536u}) {
        CAPTURE(read_size);
        const auto other = converted(guest, stream, read_size);
        REQUIRE(other.counters.has_value());
        CHECK(std::ranges::equal(other.stream, reference.stream));
    }
}

TEST_CASE("crossing, recorded guest: what the audit refuses at the end cannot be completed by QEMU") {
    const RecordedGuest guest;
    const auto stream = load_small_guest();
    AuditReport audit;
    Crossing crossing({1u << 30, "/tmp"}, audit);
    bench::StreamChecker checker;
    OutputBatch out;
    std::size_t at = 0;
    while (crossing.state() != Crossing::State::translated) {
        if (crossing.state() == Crossing::State::wants_destination) {
            auto target = guest.destination(crossing.source());
            REQUIRE(target.has_value());
            REQUIRE(crossing.set_destination(target->plan, target->twin, out).has_value());
        }
        const auto progress = crossing.advance(Bytes(stream).subspan(at), out);
        REQUIRE(progress.has_value());
        REQUIRE(sink_to(checker)(out).has_value());
        out.clear();
        at += progress->consumed;
    }
    audit.violated("device-left-out", "said by this test");
    const auto result = crossing.finish(realtime_ns, out);
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == ErrorKind::refused);
    CHECK(result.error().text().find("said by this test") != std::string::npos);
    CHECK(out.empty());
    CHECK_FALSE(checker.ram_ended());
    // The rest of xl's handshake was left unread.
    CHECK(stream.size() - at <= 64);
}

namespace {

// The small guest's stream with one more record in front of what follows the pages.
Buffer with_extra_pages(const std::vector<xen::PageEntry>& entries, std::byte content, bool verify = false) {
    const auto stream = load_small_guest();
    const auto frame = bench::frame_of(stream);
    REQUIRE(frame.has_value());
    Buffer changed(stream.begin(), stream.end());
    // What is left of the recording behind libxl's END is not needed.
    const auto tail = std::ranges::search(changed, frame->tail);
    changed.erase(tail.begin(), changed.end());
    if (verify) xen::write(changed, xen::Verify{});
    xen::write_page_batch(changed, entries);
    changed.resize(changed.size() + entries.size() * page_size, content);
    append(changed, frame->tail);
    return changed;
}

}  // namespace

TEST_CASE("crossing, recorded guest: the last copy wins, also the one behind VERIFY, also of held pages") {
    const RecordedGuest guest;
    std::map<std::pair<std::string, std::uint64_t>, Buffer> out;
    const auto stream = with_extra_pages({{0x1234, 0}, {0xF0001, 0}}, std::byte{0x77}, true);
    const auto result =
        converted(guest, stream, 1u << 20, [&](std::string_view block, std::uint64_t offset, Bytes page) {
            out[{std::string(block), offset}].assign(page.begin(), page.end());
        });
    INFO((result.counters ? std::string() : result.counters.error().text()));
    REQUIRE(result.counters.has_value());
    const Buffer expected(page_size, std::byte{0x77});
    CHECK(out.at({"pc.ram", 0x1234000}) == expected);
    CHECK(out.at({"0000:00:02.0/vga.vram", 0x1000}) == expected);
}

TEST_CASE("crossing, recorded guest: RAM in the MMIO hole that is nobody's is refused before the end") {
    const RecordedGuest guest;
    for (const std::uint64_t gfn : {0xF0800ull, 0xF8000ull}) {
        CAPTURE(gfn);
        const auto result = converted(guest, with_extra_pages({{gfn, 0}}, std::byte{1}), 1u << 20);
        REQUIRE_FALSE(result.counters);
        CHECK(result.counters.error().kind == ErrorKind::stream);
        CHECK(result.counters.error().field == "pfn");
        CHECK(result.counters.error().found.find(fmt::format("{:#x}", gfn)) != std::string::npos);
        CHECK_FALSE(result.ram_ended);
    }
}

TEST_CASE("crossing, recorded guest: a destination without one of the guest's devices is refused") {
    const RecordedGuest guest;
    const auto stream = load_small_guest();
    for (const std::string device : {"0000:00:03.0/e1000", "0000:00:01.1/ide", "i8259", "cpu"}) {
        CAPTURE(device);
        AuditReport audit;
        bench::StreamChecker checker;
        ConvertOptions options;
        options.limits.spill_directory = "/tmp";
        const auto result = convert(
            source_of(stream), sink_to(checker),
            [&](const XenSource& source) -> Result<Destination> {
                VMFERRY_ASSIGN(auto target, guest.destination(source));
                const auto erased =
                    std::erase_if(target.twin.tree.sections,
                                  [&](const qemu::Section& section) { return section.idstr == device; });
                CHECK(erased > 0);
                return target;
            },
            audit, options);
        REQUIRE_FALSE(result);
        CHECK(result.error().kind != ErrorKind::usage);
        CHECK_FALSE(result.error().text().empty());
        CHECK_FALSE(checker.ram_ended());
    }
}
