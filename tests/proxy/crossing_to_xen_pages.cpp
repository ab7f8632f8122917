// The page path to Xen with generated guests: every frame has the content that the source sent last, zeros
// where it sent none, whatever the reads look like.
#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include "parsers/qemu/format.hpp"
#include "proxy/page_data_output.hpp"
#include "tests/proxy/page_path.hpp"
#include "tools/bench/page_path_to_xen.hpp"
#include "tools/bench/xen_stream_checker.hpp"
#include "translators/xen_memory_map.hpp"

using namespace vmferry;
using namespace vmferry::bench;

namespace {

/// A source that hands out a generated QEMU stream.
ByteSource source_of(QemuStreamGenerator& generator) {
    return [&generator, rest = Bytes()](std::span<std::byte> into) mutable -> Result<std::size_t> {
        if (rest.empty()) rest = generator.next();
        const auto n = std::min(into.size(), rest.size());
        if (n > 0) std::memcpy(into.data(), rest.data(), n);
        rest = rest.subspan(n);
        return n;
    };
}

BatchSink sink_to(XenStreamChecker& checker) {
    return [&checker](const OutputBatch& batch) -> Result<void> {
        REQUIRE(batch.pieces().size() <= OutputBatch::max_pieces);
        for (const auto& piece : batch.pieces())
            VMFERRY_TRY(checker.take({static_cast<const std::byte*>(piece.iov_base), piece.iov_len}));
        return {};
    };
}

constexpr std::uint64_t never = ~0ull;

/// The first word of a page, if the rest is what a generated page has: zeros behind 0, else the filling.
std::uint64_t tag_of(Bytes page) {
    static const Buffer zeros(page_size, std::byte{0});
    const auto tag = load_raw<std::uint64_t>(page);
    const auto rest = page.subspan(8);
    const auto expected = tag == 0 ? Bytes(zeros).first(rest.size()) : frame_filling();
    return std::ranges::equal(rest, expected) ? tag : never;
}

struct Frames {
    std::map<std::uint64_t, std::uint64_t> tags;  ///< by frame, of the last copy
    std::uint64_t pages = 0, damaged = 0;

    void see(std::uint64_t gfn, Bytes page) {
        ++pages;
        const auto tag = gfn == 0xFEFFE ? 0 : tag_of(page);
        if (tag == never) ++damaged;
        tags[gfn] = tag;
    }
    /// Frames of a page that do not hold what they should.
    [[nodiscard]] std::uint64_t wrong(std::uint64_t gfn, std::uint64_t expected) const {
        const auto found = tags.find(gfn);
        return found != tags.end() && found->second == expected ? 0 : 1;
    }
};

struct Outcome {
    CrossingCounters counters;
    Frames frames;
    AuditReport audit;
    Buffer replies;
    std::uint64_t longest = 0;
};

Outcome carry(const QemuGuestLayout& layout, std::size_t read_size) {
    Outcome outcome;
    QemuStreamGenerator generator(layout);
    XenStreamChecker checker([&](std::uint64_t gfn, Bytes page) { outcome.frames.see(gfn, page); });
    ToXenRun run{.plan = [&](const QemuSource&) { return Result<XenPlan>(xen_plan_for(layout)); },
                 .translate = bare_translator(),
                 .read_size = read_size};
    const auto result = carry_to_xen(source_of(generator), sink_to(checker), run, outcome.audit);
    INFO((result ? std::string() : result.error().text()));
    REQUIRE(result.has_value());
    CHECK(checker.complete());
    CHECK(checker.params().size() == 2);
    outcome.counters = *result;
    outcome.replies = run.replies;
    outcome.longest = checker.longest_batch();
    return outcome;
}

// Every page of RAM and of video memory, and the frames that only Xen has.
void check_frames(const QemuGuestLayout& layout, const Outcome& outcome) {
    std::uint64_t wrong = 0, frames = 0;
    const auto expect = [&](std::uint32_t block, std::uint64_t offset, std::uint64_t gfn) {
        const bool sent = qemu_page_sent(layout, block, offset);
        wrong +=
            outcome.frames.wrong(gfn, sent ? qemu_page_tag(layout, block, offset, layout.rounds - 1) : 0);
        ++frames;
    };
    const auto plan = xen_plan_for(layout);
    const XenMemoryMap map(plan, {});
    for (const auto& range : plan.ram)
        for (std::uint64_t i = 0; i < range.frames; ++i)
            expect(0, range.block_offset + i * page_size, range.first_gfn + i);
    for (std::uint64_t offset = 0; offset < layout.vram_bytes; offset += page_size)
        expect(1, offset, (0xE0000000 + offset) / page_size);
    for (const auto& special : map.special_pages()) wrong += outcome.frames.wrong(special.gfn, 0);
    CHECK(wrong == 0);
    CHECK(outcome.frames.damaged == 0);
    CHECK(outcome.frames.tags.size() == frames + map.special_pages().size());
    CHECK(outcome.longest <= PageDataOutput::max_entries);
}

}  // namespace

TEST_CASE("page path to Xen: every page in its place, with any size of reads") {
    QemuGuestLayout layout;
    layout.ram_bytes = 16u << 20;
    layout.vram_bytes = 2u << 20;
    layout.used_of_eight = 5;
    layout.rounds = 3;
    for (const std::size_t read_size : {7u, 4096u, 100'003u, 1u << 20, 8u << 20}) {
        CAPTURE(read_size);
        const auto outcome = carry(layout, read_size);
        check_frames(layout, outcome);
        const auto& counters = outcome.counters;
        CHECK(counters.passes == 3);
        CHECK(counters.populated == (16u << 20) / page_size - 0x60);
        CHECK(counters.held_pages == 3 * (0x40 + (2u << 20) / page_size + 0x20 + 0x20));
        // The window, the tables, the upper half of pc.bios; and the ROMs that RAM hides, once.
        CHECK(counters.dropped_pages == 3 * (0x20 + 0x20 + 0x20) + 0x40);
        CHECK(counters.pages ==
              std::uint64_t{3} * ((16u << 20) + (2u << 20) + 0x20000 + 0x40000 + 0x20000) / page_size);
        CHECK(outcome.replies.size() == 8);
    }
}

TEST_CASE("page path to Xen: one byte at a time") {
    QemuGuestLayout layout;
    layout.ram_bytes = 2u << 20;
    layout.vram_bytes = 64u << 10;
    layout.hinted = 32;
    check_frames(layout, carry(layout, 1));
}

TEST_CASE("page path to Xen: more than 3.5 GiB, of which most is free and not sent") {
    QemuGuestLayout layout;
    layout.ram_bytes = 4ull << 30;
    layout.used_of_eight = 1;
    layout.hinted = 0x8000;  // of 128 MiB
    const auto outcome = carry(layout, 1u << 20);
    check_frames(layout, outcome);
    const auto free = (4ull << 30) / page_size / 2 - 0x100;
    CHECK(outcome.counters.populated == (4ull << 30) / page_size - 0x60 - free);
    const auto& findings = outcome.audit.findings();
    const auto told = std::ranges::count_if(findings, [&](const Finding& finding) {
        return finding.verdict == Verdict::adapted &&
               finding.text.starts_with(fmt::format("{} frames of RAM had no page", free));
    });
    CHECK(told == 1);
}

TEST_CASE("page path to Xen: reads of some MiB give records of whole superpages") {
    QemuGuestLayout layout;
    layout.ram_bytes = 64u << 20;
    layout.used_of_eight = 8;
    layout.vram_bytes = 0;
    QemuStreamGenerator generator(layout);
    Buffer stream;
    for (auto piece = generator.next(); !piece.empty(); piece = generator.next()) append(stream, piece);

    AuditReport audit;
    CrossingToXen crossing({1u << 30, "/tmp"}, audit, bare_translator());
    OutputBatch out;
    auto progress = crossing.advance(stream, out);
    REQUIRE(progress.has_value());
    REQUIRE(crossing.state() == CrossingToXen::State::wants_destination);
    CHECK(progress->need == 0);
    REQUIRE(crossing.set_destination(xen_plan_for(layout), {}, out).has_value());
    std::size_t at = progress->consumed;
    unsigned whole = 0;
    xen::StreamReader reader;
    while (crossing.state() == CrossingToXen::State::pages) {
        progress = crossing.advance(Bytes(stream).subspan(at), out);
        REQUIRE(progress.has_value());
        at += progress->consumed;
        const auto written = test::gathered(out);
        out.clear();
        for (std::size_t from = 0; from < written.size();) {
            const auto step = reader.next(Bytes(written).subspan(from));
            REQUIRE(step.has_value());
            REQUIRE(step->event.has_value());
            from += step->consumed;
            const auto* batch = std::get_if<xen::PageBatch>(&*step->event);
            if (batch != nullptr && batch->entries->size() == 512 && batch->entries->front().gfn % 512 == 0)
                ++whole;
        }
    }
    CHECK(at == stream.size());
    CHECK(whole >= 30);  // of 32, the first has the VGA window
}

namespace {

/// A stream made by hand: pc.ram of 16 MiB and the firmware's blocks.
struct HandMade {
    QemuGuestLayout layout;
    Buffer stream;

    HandMade() {
        layout.ram_bytes = 16u << 20;
        layout.vram_bytes = 0;
        qemu::write_file_header(stream);
        qemu::write_configuration(stream, "pc-i440fx-7.2");
    }
    void command(qemu::Command command, Bytes payload = {}) {
        qemu::write_command(stream, static_cast<std::uint16_t>(command), payload);
    }
    void start() {
        qemu::write_ram_start(stream, blocks_of(layout));
        qemu::write_ram_part_head(stream);
    }
    void page(std::uint64_t number, std::uint64_t tag, std::string_view block = "pc.ram") {
        if (tag == 0) return qemu::write_zero_page(stream, number * page_size, block);
        qemu::write_page_head(stream, number * page_size, block);
        append_le(stream, tag);
        append(stream, frame_filling());
    }
    /// What the generator has behind its pages.
    void end() {
        QemuStreamGenerator other(layout);
        Buffer last;
        for (auto piece = other.next(); !piece.empty(); piece = other.next())
            last.assign(piece.begin(), piece.end());
        qemu::write_ram_tail(stream);
        append(stream, last);
    }
    Result<CrossingCounters> carry(Frames& frames, CrossingToXen::Translator translate = bare_translator(),
                                   Buffer* replies = nullptr) {
        XenStreamChecker checker([&](std::uint64_t gfn, Bytes page) { frames.see(gfn, page); });
        AuditReport audit;
        ToXenRun run{.plan = [&](const QemuSource&) { return Result<XenPlan>(xen_plan_for(layout)); },
                     .translate = std::move(translate)};
        auto result = carry_to_xen(test::source_of(stream), sink_to(checker), run, audit);
        CHECK(checker.complete() == result.has_value());
        if (replies != nullptr) *replies = run.replies;
        return result;
    }
};

std::string failure(const Result<CrossingCounters>& result) {
    return result ? std::string("no error") : result.error().text();
}

}  // namespace

TEST_CASE("page path to Xen: a page that comes twice counts with its last copy, also within one read") {
    HandMade guest;
    guest.start();
    for (const std::uint64_t tag : {1, 2, 3}) guest.page(0x300, tag);
    guest.page(0x301, 7);
    guest.page(0x300, 4);
    guest.page(0x302, 5);
    guest.page(0x302, 0);
    guest.page(0x200, 6);
    guest.end();
    Frames frames;
    const auto result = guest.carry(frames);
    REQUIRE_MESSAGE(result.has_value(), failure(result));
    CHECK(frames.wrong(0x300, 4) == 0);
    CHECK(frames.wrong(0x301, 7) == 0);
    CHECK(frames.wrong(0x302, 0) == 0);
    CHECK(frames.wrong(0x200, 6) == 0);
    CHECK(frames.tags.size() == (16u << 20) / page_size - 0x20 + 16);
}

TEST_CASE("page path to Xen: zeros for what was left out never hide what came") {
    // Whatever the order: from the end downwards, then every seventh page upwards.
    HandMade guest;
    guest.start();
    for (std::uint64_t page = 0xFFF; page > 0xF00; --page) guest.page(page, page);
    for (std::uint64_t page = 0; page < 0xF00; page += 7) guest.page(page, page + 1);
    guest.end();
    Frames frames;
    const auto result = guest.carry(frames);
    REQUIRE_MESSAGE(result.has_value(), failure(result));
    std::uint64_t wrong = 0;
    for (std::uint64_t page = 0; page < 0x1000; ++page) {
        if (page >= 0xA0 && page < 0xC0) continue;
        wrong += frames.wrong(page, page > 0xF00 ? page : page % 7 == 0 ? page + 1 : 0);
    }
    CHECK(wrong == 0);
}

TEST_CASE("page path to Xen: PAM registers decide what is seen at 0xC0000–0xFFFFF") {
    HandMade guest;
    guest.start();
    for (std::uint64_t page = 0xC0; page < 0x100; ++page) guest.page(page, 0x1000 + page);
    for (std::uint64_t page = 0; page < 0x20; ++page) guest.page(page, 0x2000 + page, "pc.rom");
    for (std::uint64_t page = 0; page < 0x40; ++page) guest.page(page, 0x3000 + page, "pc.bios");
    guest.end();
    Frames frames;
    const auto result = guest.carry(
        frames, [](const auto&, const auto&, const auto&, std::uint64_t, auto&) -> Result<XenImage> {
            XenImage image;
            image.memory.reads_dram[0] = true;   // 0xC0000
            image.memory.reads_dram[8] = true;   // 0xE0000
            image.memory.reads_dram[12] = true;  // 0xF0000
            return image;
        });
    REQUIRE_MESSAGE(result.has_value(), failure(result));
    std::uint64_t wrong = 0;
    for (std::uint64_t gfn = 0xC0; gfn < 0x100; ++gfn) {
        const bool dram = gfn < 0xC4 || (gfn >= 0xE0 && gfn < 0xE4) || gfn >= 0xF0;
        wrong += frames.wrong(gfn, dram         ? 0x1000 + gfn
                                   : gfn < 0xE0 ? 0x2000 + gfn - 0xC0
                                                : 0x3000 + gfn - 0xC0);
    }
    CHECK(wrong == 0);
}

TEST_CASE("page path to Xen: each PING is answered, if there is a way for the answer") {
    HandMade guest;
    guest.command(qemu::Command::open_return_path);
    Buffer one, two;
    append_be(one, std::uint32_t{1});
    append_be(two, std::uint32_t{0xA5A50002});
    guest.command(qemu::Command::ping, one);
    guest.command(qemu::Command::ping, two);
    guest.start();
    guest.page(0, 1);
    guest.end();
    Frames frames;
    Buffer replies;
    const auto result = guest.carry(frames, bare_translator(), &replies);
    REQUIRE_MESSAGE(result.has_value(), failure(result));
    Buffer expected;
    for (const auto* value : {&one, &two}) {
        append_be(expected, std::uint16_t{2});
        append_be(expected, std::uint16_t{4});
        append(expected, *value);
    }
    CHECK(replies == expected);

    HandMade deaf;
    deaf.command(qemu::Command::ping, one);
    CHECK(failure(deaf.carry(frames)).find("PING") != std::string::npos);
}

TEST_CASE("page path to Xen: what the audit refuses ends before anything that completes a load") {
    HandMade guest;
    guest.start();
    guest.page(0, 1);
    guest.end();
    XenStreamChecker checker;
    AuditReport audit;
    ToXenRun run{.plan = [&](const QemuSource&) { return Result<XenPlan>(xen_plan_for(guest.layout)); },
                 .translate = [](const auto&, const auto&, const auto&, std::uint64_t,
                                 AuditReport& report) -> Result<XenImage> {
                     report.violated("device-missing", "a test");
                     return XenImage{};
                 }};
    const auto result = carry_to_xen(test::source_of(guest.stream), sink_to(checker), run, audit);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().kind == ErrorKind::refused);
    CHECK(checker.pages() > 0);
    CHECK(checker.context().empty());
    CHECK_FALSE(checker.complete());
}

TEST_CASE("page path to Xen: a source whose RAM blocks are not those of the plan") {
    HandMade guest;
    guest.start();
    const auto refused = [&](auto change) {
        XenStreamChecker checker;
        AuditReport audit;
        ToXenRun run{.plan = [&](const QemuSource&) -> Result<XenPlan> {
                         auto plan = xen_plan_for(guest.layout);
                         change(plan);
                         return plan;
                     },
                     .translate = bare_translator()};
        const auto result = carry_to_xen(test::source_of(guest.stream), sink_to(checker), run, audit);
        REQUIRE_FALSE(result.has_value());
        CHECK(checker.records().empty());
        return result.error();
    };
    CHECK(refused([](XenPlan& plan) { ++plan.ram[1].frames; }).record ==
          "comparing RAM block pc.ram with the plan");
    CHECK(refused([](XenPlan& plan) { --plan.ram[1].frames; }).kind == ErrorKind::environment);
    CHECK(refused([](XenPlan& plan) { plan.vram_block = "vga.vram"; }).found == "no such block");
    CHECK(refused([](XenPlan& plan) { plan.acpi_block = "0000:00:1f.0/xfw"; }).found == "no such block");
}

TEST_CASE("page path to Xen: of hvmloader's area only what it has put there") {
    constexpr std::string_view area = "0000:00:1f.0/xfw";
    HandMade guest;
    auto blocks = blocks_of(guest.layout);
    blocks.push_back({std::string(area), 2u << 20});
    qemu::write_ram_start(guest.stream, blocks);
    qemu::write_ram_part_head(guest.stream);
    guest.page(0, 1);
    guest.page(0, 0x11, area);
    guest.page(1, 0, area);      // empty
    guest.page(0x100, 7, area);  // leaves out what is before it
    guest.page(0x101, 0, area);
    guest.page(0x101, 8, area);  // written later
    guest.page(0x100, 0, area);  // and emptied later
    guest.end();
    Frames frames;
    XenStreamChecker checker([&](std::uint64_t gfn, Bytes page) { frames.see(gfn, page); });
    AuditReport audit;
    ToXenRun run{.plan = [&](const QemuSource&) -> Result<XenPlan> {
                     auto plan = xen_plan_for(guest.layout);
                     plan.acpi_block = area;
                     plan.acpi_bytes = 2u << 20;
                     return plan;
                 },
                 .translate = bare_translator()};
    const auto result = carry_to_xen(test::source_of(guest.stream), sink_to(checker), run, audit);
    REQUIRE_MESSAGE(result.has_value(), failure(result));
    CHECK(frames.wrong(0xFC000, 0x11) == 0);
    CHECK(frames.wrong(0xFC101, 8) == 0);
    CHECK(frames.wrong(0xFC100, 0) == 0);
    const auto in_area = std::ranges::count_if(
        frames.tags, [](const auto& frame) { return frame.first >= 0xFC000 && frame.first < 0xFC200; });
    CHECK(in_area == 3);
}

TEST_CASE("page path to Xen: bytes behind the description are an error") {
    HandMade guest;
    guest.start();
    guest.page(0, 1);
    guest.end();
    AuditReport audit;
    CrossingToXen crossing({1u << 30, "/tmp"}, audit, bare_translator());
    OutputBatch out;
    std::size_t at = 0;
    while (crossing.state() != CrossingToXen::State::translated) {
        if (crossing.state() == CrossingToXen::State::wants_destination)
            REQUIRE(crossing.set_destination(xen_plan_for(guest.layout), {}, out).has_value());
        const auto progress = crossing.advance(Bytes(guest.stream).subspan(at), out);
        REQUIRE(progress.has_value());
        at += progress->consumed;
        out.clear();
    }
    const auto quiet = crossing.advance({}, out);
    REQUIRE(quiet.has_value());
    CHECK(quiet->need == 1);
    const Buffer more(1, std::byte{0});
    const auto error = crossing.advance(more, out);
    REQUIRE_FALSE(error.has_value());
    CHECK(error.error().text().find("behind the description") != std::string::npos);
}
