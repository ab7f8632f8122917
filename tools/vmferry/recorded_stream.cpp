#include "tools/vmferry/recorded_stream.hpp"

#include <chrono>

#include "proxy/crossing.hpp"
#include "proxy/input_file.hpp"
#include "proxy/loop.hpp"
#include "proxy/prepare.hpp"
#include "proxy/template_cache.hpp"
#include "tools/vmferry/input_window.hpp"
#include "tools/vmferry/progress.hpp"
#include "tools/vmferry/recorded_format.hpp"

namespace vmferry::cli {

namespace {

std::uint64_t now_ns() {
    using namespace std::chrono;
    return static_cast<std::uint64_t>(
        duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count());
}

}  // namespace

Result<void> with_head(const std::string& path, const std::function<Result<void>(const XenSource&)>& use) {
    VMFERRY_ASSIGN(auto input, InputWindow::open(path));
    VMFERRY_TRY(check_xen_stream(input.file(), path));
    AuditReport unused;
    Crossing crossing({}, unused);
    OutputBatch nothing;
    while (crossing.state() == Crossing::State::header) {
        VMFERRY_ASSIGN(const auto progress, crossing.advance(input.unread(), nothing));
        input.consume(progress.consumed);
        if (progress.need == 0) continue;
        VMFERRY_ASSIGN(const bool enough, input.fill(progress.need));
        if (!enough) return std::unexpected(crossing.truncated(input.unread().size()));
    }
    return use(crossing.source());
}

Result<Carried> carry_recorded(const std::string& path, const DestinationOptions& options,
                               const BatchSink& sink, const std::string& label, AuditReport& audit) {
    VMFERRY_ASSIGN(auto file, InputFile::open(path));
    VMFERRY_TRY(check_xen_stream(file, path));
    Loop loop;
    Carried carried;
    const auto supply = [&](const XenSource& source) -> Result<Destination> {
        VMFERRY_ASSIGN(auto prepared,
                       prepare_destination(loop, source, options, default_cache_directory(), audit));
        carried.plan = prepared.plan;
        return Destination{std::move(prepared.plan), std::move(prepared.twin)};
    };
    Progress progress(label, !label.empty());
    ConvertOptions conversion;
    conversion.realtime_ns = now_ns();
    conversion.limits = {options.spill_bytes, options.spill_directory};
    conversion.progress = [&](const CrossingCounters& counters) {
        progress.update({counters.bytes_in, file.file_size(), file.file_position(), counters.passes});
    };
    VMFERRY_ASSIGN(carried.counters, convert([&file](std::span<std::byte> into) { return file.read(into); },
                                             sink, supply, audit, conversion));
    return carried;
}

}  // namespace vmferry::cli
