#include "tools/bench/page_path_to_xen.hpp"

#include <algorithm>
#include <utility>

#include "proxy/input_buffer.hpp"
#include "tools/bench/xen_stream_checker.hpp"
#include "translators/xen_memory_map.hpp"

namespace vmferry::bench {

namespace {

Result<void> flush(OutputBatch& out, const BatchSink& sink) {
    if (!out.empty()) VMFERRY_TRY(sink(out));
    out.clear();
    return {};
}

}  // namespace

Result<CrossingCounters> carry_to_xen(const ByteSource& source, const BatchSink& sink, ToXenRun& run,
                                      AuditReport& audit) {
    using State = CrossingToXen::State;
    CrossingToXen crossing(run.limits, audit, run.translate);
    InputBuffer input(run.read_size);
    OutputBatch out;
    while (crossing.state() != State::translated) {
        if (crossing.state() == State::wants_destination) {
            VMFERRY_ASSIGN(auto plan, run.plan(crossing.source()));
            VMFERRY_TRY(crossing.set_destination(std::move(plan), run.xen, out));
        }
        VMFERRY_ASSIGN(const auto progress, crossing.advance(input.unread(), out));
        VMFERRY_TRY(flush(out, sink));
        append(run.replies, crossing.take_replies());
        input.consume(progress.consumed);
        if (progress.need == 0) continue;
        const auto space = input.space(progress.need);
        VMFERRY_ASSIGN(const auto got, source(space.first(std::min(space.size(), run.read_size))));
        if (got == 0) return std::unexpected(crossing.truncated(input.unread()));
        input.arrived(got);
    }
    while (crossing.state() != State::done) {
        VMFERRY_TRY(crossing.finish(0, out));
        VMFERRY_TRY(flush(out, sink));
    }
    return crossing.counters();
}

CrossingToXen::Translator bare_translator() {
    return [](const QemuSource&, const XenPlan&, const XenTemplate&, std::uint64_t,
              AuditReport&) -> Result<XenImage> {
        XenImage image;
        image.memory.vga_bar = 0xE0000000;
        image.memory.reads_dram.fill(true);
        image.params = {{1, 0xFEFFC}, {17, 0xFEFFF}};
        return image;
    };
}

Result<CrossingCounters> carry_generated_guest_to_xen(const QemuGuestLayout& layout) {
    QemuStreamGenerator generator(layout);
    const ByteSource source = [&generator,
                               rest = Bytes()](std::span<std::byte> into) mutable -> Result<std::size_t> {
        if (rest.empty()) rest = generator.next();
        const auto n = std::min(into.size(), rest.size());
        if (n > 0) std::memcpy(into.data(), rest.data(), n);
        rest = rest.subspan(n);
        return n;
    };
    XenStreamChecker checker;
    const BatchSink sink = [&checker](const OutputBatch& batch) -> Result<void> {
        for (const auto& piece : batch.pieces())
            VMFERRY_TRY(checker.take({static_cast<const std::byte*>(piece.iov_base), piece.iov_len}));
        return {};
    };
    AuditReport audit;
    ToXenRun run{.plan = [&](const QemuSource&) { return Result<XenPlan>(xen_plan_for(layout)); },
                 .translate = bare_translator()};
    VMFERRY_ASSIGN(const auto counters, carry_to_xen(source, sink, run, audit));
    if (!checker.complete())
        return environment_error("page path", "reading what came out", "no END", "a whole stream");

    constexpr std::uint64_t window = 0x40, vga_window = 0x20;
    const auto ram = layout.ram_bytes / page_size - window - vga_window;
    const XenMemoryMap map(xen_plan_for(layout), {});
    const auto expected =
        layout.rounds * ram + window + layout.vram_bytes / page_size + map.special_pages().size();
    if (layout.hinted == 0 && (counters.populated != ram || checker.pages() != expected))
        return environment_error(
            "page path", "counting pages",
            fmt::format("{} frames of RAM, {} pages in all", counters.populated, checker.pages()),
            fmt::format("{} and {}", ram, expected));
    return counters;
}

}  // namespace vmferry::bench
