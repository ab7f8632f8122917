#include "tools/bench/page_path_run.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include "proxy/input_buffer.hpp"
#include "tools/bench/generated_destination.hpp"
#include "tools/bench/stream_checker.hpp"
#include "tools/bench/xen_stream_frame.hpp"

namespace vmferry::bench {

Result<CrossingCounters> carry_pages(const ByteSource& source, const BatchSink& sink,
                                     const GuestLayout& layout, std::size_t read_size) {
    AuditReport audit;
    Crossing crossing({}, audit);
    InputBuffer input(read_size);
    OutputBatch out;
    for (;;) {
        if (crossing.state() == Crossing::State::wants_destination) {
            auto target = destination_for(layout);
            VMFERRY_TRY(crossing.set_destination(std::move(target.plan), std::move(target.twin), out));
        }
        VMFERRY_ASSIGN(const auto progress, crossing.advance(input.unread(), out));
        if (!out.empty()) VMFERRY_TRY(sink(out));
        out.clear();
        input.consume(progress.consumed);
        if (progress.need == 0) continue;
        const auto space = input.space(progress.need);
        VMFERRY_ASSIGN(const auto got, source(space.first(std::min(space.size(), read_size))));
        if (got == 0) return crossing.counters();
        input.arrived(got);
    }
}

Result<CrossingCounters> carry_generated_guest(const GuestLayout& layout) {
    const auto frame = bare_frame();
    XenStreamGenerator generator(layout, frame.prelude, frame.tail);
    const ByteSource source = [&generator,
                               rest = Bytes()](std::span<std::byte> into) mutable -> Result<std::size_t> {
        if (rest.empty()) rest = generator.next();
        const auto n = std::min(into.size(), rest.size());
        if (n > 0) std::memcpy(into.data(), rest.data(), n);
        rest = rest.subspan(n);
        return n;
    };
    StreamChecker checker;
    const BatchSink sink = [&checker](const OutputBatch& batch) -> Result<void> {
        for (const auto& piece : batch.pieces())
            VMFERRY_TRY(checker.take({static_cast<const std::byte*>(piece.iov_base), piece.iov_len}));
        return {};
    };
    VMFERRY_ASSIGN(const auto counters, carry_pages(source, sink, layout, 1u << 20));

    constexpr std::uint64_t vga_window = 0x20000;
    if (counters.populated * page_size + vga_window != layout.ram_bytes || counters.passes != layout.passes)
        return environment_error("page path", "counting the guest's RAM",
                                 fmt::format("{} frames in {} passes", counters.populated, counters.passes),
                                 "every frame once");
    if (checker.pages() + counters.held_pages + counters.dropped_pages != counters.pages)
        return environment_error("page path", "counting pages", fmt::format("{} came out", checker.pages()),
                                 fmt::format("{} but for the held and dropped", counters.pages));
    return counters;
}

void forget_peak_resident() {
    std::ofstream("/proc/self/clear_refs") << "5\n";
}

unsigned long peak_resident_kib() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;)
        if (word == "VmHWM:") {
            unsigned long value = 0;
            status >> value;
            return value;
        }
    return 0;
}

}  // namespace vmferry::bench
