// Recorded QEMU streams on their way to Xen: the same output however they are cut, and the right words for
// those that cannot be carried.
#include <algorithm>
#include <optional>
#include <random>
#include <variant>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/qemu/stream_reader.hpp"
#include "proxy/zero_page.hpp"
#include "tests/proxy/recorded.hpp"
#include "tools/bench/page_path_to_xen.hpp"
#include "tools/bench/xen_stream_checker.hpp"
#include "translators/xen_memory_map.hpp"

using namespace vmferry;
using namespace vmferry::test;
using bench::XenStreamChecker;

namespace {

/// What make_xen_plan would say of a machine of up to 3 GiB.
Result<XenPlan> plan_of(const QemuSource& source) {
    XenPlan plan;
    plan.name = "recorded";
    plan.config = R"({"c_info":{"type":"hvm","name":"recorded"},"b_info":{"type.hvm":{}}})";
    plan.xen_major = 4;
    plan.xen_minor = 17;
    plan.cpuid = {{.leaf = 0, .subleaf = 0xFFFFFFFF, .eax = 1}};
    plan.msrs = {{.index = 0xCE, .value = 0}};
    for (const auto& block : source.blocks) {
        if (block.idstr == "pc.ram") {
            plan.ram_bytes = block.used_length;
            plan.ram = {{0, 0xA0, "pc.ram", 0},
                        {0xC0, block.used_length / page_size - 0xC0, "pc.ram", 0xC0000}};
        }
        if (block.idstr.ends_with("vga.vram")) {
            plan.vram_block = block.idstr;
            plan.vram_bytes = block.used_length;
        }
    }
    return plan;
}

/// The stream with no more than the first pages of each round: what is left out is zero in the result.
Buffer trimmed(Bytes stream, std::size_t pages_per_part) {
    Buffer out;
    qemu::StreamReader reader;
    std::vector<qemu::RamBlock> blocks;
    std::size_t pages = 0;
    for (std::size_t at = 0; !reader.finished();) {
        const auto step = reader.next(stream.subspan(at));
        REQUIRE(step.has_value());
        REQUIRE(step->event.has_value());
        const auto raw = stream.subspan(at, step->consumed);
        at += step->consumed;
        if (const auto* start = std::get_if<qemu::RamStart>(&*step->event)) blocks = start->blocks;
        if (std::holds_alternative<qemu::RamPart>(*step->event)) pages = 0;
        if (const auto* page = std::get_if<qemu::RamPage>(&*step->event)) {
            if (++pages > pages_per_part) continue;
            const auto& name = blocks[page->block].idstr;
            if (page->data.empty()) {
                qemu::write_zero_page(out, page->offset, name);
            } else {
                qemu::write_page_head(out, page->offset, name);
                append(out, page->data);
            }
            continue;
        }
        append(out, raw);
    }
    return out;
}

BatchSink sink_to(XenStreamChecker& checker) {
    return [&checker](const OutputBatch& batch) -> Result<void> {
        for (const auto& piece : batch.pieces())
            VMFERRY_TRY(checker.take({static_cast<const std::byte*>(piece.iov_base), piece.iov_len}));
        return {};
    };
}

using Memory = std::map<std::uint64_t, std::uint64_t>;  ///< digest of each frame's last copy

std::uint64_t digest(Bytes page) {
    return is_zero_page(page) ? 0 : std::hash<std::string_view>{}(as_text(page));
}

struct Carried {
    Memory memory;
    std::vector<Buffer> records;
    Buffer device_model;
    CrossingCounters counters;
};

/// Hands the source's own sections through as the device model's.
CrossingToXen::Translator sections_through() {
    return [](const QemuSource& source, const XenPlan&, const XenTemplate&, std::uint64_t,
              AuditReport&) -> Result<XenImage> {
        XenImage image;
        image.memory.vga_bar = 0xFD000000;
        image.memory.reads_dram.fill(true);
        image.device_model = source.tree;
        return image;
    };
}

Result<Carried> carry(Bytes stream, std::size_t read_size) {
    Carried carried;
    XenStreamChecker checker([&](std::uint64_t gfn, Bytes page) { carried.memory[gfn] = digest(page); });
    AuditReport audit;
    bench::ToXenRun run{.plan = plan_of, .translate = sections_through(), .read_size = read_size};
    VMFERRY_ASSIGN(carried.counters, bench::carry_to_xen(source_of(stream), sink_to(checker), run, audit));
    REQUIRE(checker.complete());
    carried.records = checker.records();
    carried.device_model = checker.device_model();
    return carried;
}

/// What the source's RAM holds at the end, read another way.
Memory expected_memory(const qemu::Snapshot& snapshot) {
    Memory memory;
    QemuSource source;
    source.blocks = snapshot.blocks;
    const auto plan = plan_of(source);
    REQUIRE(plan.has_value());
    const auto fill = [&](const std::string& block, std::uint64_t offset, std::uint64_t gfn) {
        memory[gfn] = 0;
        const auto pages = snapshot.pages.find(block);
        if (pages == snapshot.pages.end()) return;
        if (const auto page = pages->second.find(offset); page != pages->second.end())
            memory[gfn] = digest(page->second);
    };
    for (const auto& range : plan->ram)
        for (std::uint64_t i = 0; i < range.frames; ++i)
            fill(range.block, range.block_offset + i * page_size, range.first_gfn + i);
    for (std::uint64_t i = 0; i < plan->vram_bytes / page_size; ++i)
        fill(plan->vram_block, i * page_size, 0xFD000 + i);
    for (std::uint64_t gfn = 0xFEFF0; gfn < 0xFF000; ++gfn) memory[gfn] = 0;
    memory[0xFEFFE] = digest(XenMemoryMap::identity_table());
    return memory;
}

}  // namespace

TEST_CASE("crossing to Xen, recorded sources: every frame as the source had it, all records in their order") {
    for (const auto* name : {"qemu-7.2/m1-tcp-plain-events.c0.s2d.zst", "qemu-7.2/m2b-live-rounds.c0.s2d.zst",
                             "qemu-7.2/q6-i440fx-nics-run.bin.zst", "qemu-10.0/kvm-i440fx.bin.zst",
                             "qemu-10.0/tcg-i440fx-10.0.bin.zst"}) {
        CAPTURE(name);
        const auto stream = load_capture(name);
        const auto snapshot = qemu::read_snapshot(stream);
        REQUIRE(snapshot.has_value());
        const auto carried = carry(stream, 1u << 20);
        INFO((carried ? std::string() : carried.error().text()));
        REQUIRE(carried.has_value());
        CHECK(carried->memory == expected_memory(*snapshot));
        CHECK(carried->device_model == qemu::write_device_model(snapshot->tree));
        CHECK(carried->counters.bytes_in == stream.size());

        // xl header, libxl header, LIBXC_CONTEXT, image and domain header come without a type of 32 bits.
        std::vector<std::uint32_t> types;
        for (std::size_t i = 5; i < carried->records.size(); ++i)
            types.push_back(load_le<std::uint32_t>(carried->records[i]));
        CHECK(types == std::vector<std::uint32_t>{0x11, 0x12, 0x10, 0x08, 0x09, 0x0A, 0, 3, 0});
    }
}

TEST_CASE("crossing to Xen, recorded source: the same frames and records, however the stream is cut") {
    const auto stream = trimmed(load_capture("qemu-7.2/q6-i440fx-nics-run.bin.zst"), 700);
    const auto whole = carry(stream, stream.size());
    REQUIRE(whole.has_value());
    for (const std::size_t read_size : {7u, 4096u, 1u << 20}) {
        CAPTURE(read_size);
        const auto cut = carry(stream, read_size);
        REQUIRE(cut.has_value());
        CHECK(cut->memory == whole->memory);
        CHECK(cut->records == whole->records);
    }
    const auto small = trimmed(load_capture("qemu-7.2/m1-tcp-plain-events.c0.s2d.zst"), 40);
    const auto at_once = carry(small, small.size()), by_bytes = carry(small, 1);
    REQUIRE((at_once.has_value() && by_bytes.has_value()));
    CHECK(by_bytes->memory == at_once->memory);
    CHECK(by_bytes->records == at_once->records);
    CHECK(by_bytes->counters.populated == at_once->counters.populated);
}

TEST_CASE("crossing to Xen, recorded source: cut anywhere, Xen gets no end") {
    const auto stream = trimmed(load_capture("qemu-7.2/m1-tcp-plain-events.c0.s2d.zst"), 60);
    std::mt19937 random(21);
    std::vector<std::size_t> cuts{0, 1, 7, 8, stream.size() - 1};
    while (cuts.size() < 200) cuts.push_back(random() % stream.size());
    for (const auto cut : cuts) {
        CAPTURE(cut);
        XenStreamChecker checker;
        AuditReport audit;
        bench::ToXenRun run{.plan = plan_of, .translate = sections_through()};
        const auto result =
            bench::carry_to_xen(source_of(Bytes(stream).first(cut)), sink_to(checker), run, audit);
        REQUIRE_FALSE(result.has_value());
        REQUIRE(result.error().kind == ErrorKind::stream);
        REQUIRE(result.error().format == "qemu");
        REQUIRE_FALSE(result.error().found.empty());
        REQUIRE_FALSE(result.error().expected.empty());
        REQUIRE(checker.context().empty());
        REQUIRE_FALSE(checker.complete());
    }
}

TEST_CASE(
    "crossing to Xen refuses by name what needs two QEMUs, and says what is missing of a cancelled stream") {
    struct Case {
        const char* file;
        ErrorKind kind;
        const char* words;  ///< in the message
    };
    for (const auto& [file, kind, words] :
         {Case{"m3-multifd2.c0.s2d.zst", ErrorKind::refused, "capability multifd off"},
          Case{"m3-multifd2.c1.s2d.zst", ErrorKind::refused, "capability multifd off"},
          Case{"m4b-postcopy-run.c0.s2d.zst", ErrorKind::refused, "capability postcopy-ram off"},
          Case{"m5b-xbzrle-rounds.c0.s2d.zst", ErrorKind::refused, "capability xbzrle off"},
          Case{"m6-compress.c0.s2d.zst", ErrorKind::refused, "capability compress off"},
          Case{"m7-ignore-shared.c0.s2d.zst", ErrorKind::refused, "capability x-ignore-shared off"},
          Case{"m14-cancel.c0.s2d.zst", ErrorKind::stream, "found the end of the stream"}}) {
        CAPTURE(file);
        const auto stream = load_capture(fmt::format("qemu-7.2/{}", file));
        XenStreamChecker checker;
        AuditReport audit;
        bench::ToXenRun run{.plan = plan_of, .translate = sections_through()};
        const auto result = bench::carry_to_xen(source_of(Bytes(stream)), sink_to(checker), run, audit);
        REQUIRE_FALSE(result.has_value());
        CHECK(result.error().kind == kind);
        CAPTURE(result.error().text());
        CHECK(result.error().text().find(words) != std::string::npos);
        CHECK(checker.context().empty());
    }
}

TEST_CASE(
    "crossing to Xen, recorded source: whatever is changed in it, an error or a whole stream comes out") {
    const auto stream = trimmed(load_capture("qemu-7.2/m1-tcp-plain-events.c0.s2d.zst"), 60);
    std::mt19937 random(22);
    const auto pick = [&](std::size_t below) { return random() % below; };
    constexpr std::size_t behind_block_list = 0x100;
    unsigned errors = 0, whole = 0;
    for (unsigned i = 0; i < 24; ++i) {
        auto changed = stream;
        for (auto times = 1 + i % 2; times > 0; --times) {
            const auto at = behind_block_list + pick(changed.size() - behind_block_list);
            const auto here = changed.begin() + static_cast<std::ptrdiff_t>(at);
            switch (pick(4)) {
                case 0:
                    changed[at] ^= static_cast<std::byte>(1u << pick(8));
                    break;
                case 1:
                    changed[at] = static_cast<std::byte>(pick(256));
                    break;
                case 2:
                    changed.erase(here);
                    break;
                default:
                    changed.insert(here, static_cast<std::byte>(pick(256)));
            }
        }
        XenStreamChecker checker;
        AuditReport audit;
        bench::ToXenRun run{.plan = plan_of, .translate = sections_through(), .read_size = 1 + pick(100'000)};
        const auto result = bench::carry_to_xen(source_of(changed), sink_to(checker), run, audit);
        REQUIRE(result.has_value() == checker.complete());
        if (result) {
            ++whole;
        } else {
            ++errors;
            REQUIRE_FALSE(result.error().text().empty());
            REQUIRE(checker.context().empty());
        }
    }
    CHECK(errors > 6);
    CHECK(whole > 0);  // inside a page a change is no error
}
