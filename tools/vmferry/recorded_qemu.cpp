#include "tools/vmferry/recorded_qemu.hpp"

#include <chrono>

#include "proxy/crossing_to_xen.hpp"
#include "proxy/input_file.hpp"
#include "proxy/loop.hpp"
#include "proxy/prepare_xen.hpp"
#include "tools/vmferry/input_window.hpp"
#include "tools/vmferry/progress.hpp"
#include "tools/vmferry/recorded_format.hpp"

namespace vmferry::cli {

namespace {

Result<XenDestination> destination_for(const QemuSource& source, XenDestinationSettings settings,
                                       AuditReport& audit) {
    Loop loop;
    VMFERRY_ASSIGN(const auto facts, ask_source(loop, settings.source_qmp, {}));
    auto& options = settings.options;
    const auto name = !options.name.empty() ? options.name : facts ? facts->name : std::string();
    VMFERRY_TRY(fill_placeholders(options, name, facts ? facts->uuid : std::string()));
    return prepare_xen(facts, source, options, settings.xen_template, audit);
}

std::uint64_t now_ns() {
    using namespace std::chrono;
    return static_cast<std::uint64_t>(
        duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count());
}

}  // namespace

Result<XenPlan> plan_recorded_to_xen(const std::string& path, const XenDestinationSettings& settings,
                                     AuditReport& audit) {
    VMFERRY_ASSIGN(auto input, InputWindow::open(path));
    VMFERRY_TRY(check_qemu_stream(input.file(), path));
    AuditReport unused;
    CrossingToXen crossing({}, unused);
    OutputBatch nothing;
    while (crossing.state() == CrossingToXen::State::header) {
        VMFERRY_ASSIGN(const auto progress, crossing.advance(input.unread(), nothing));
        input.consume(progress.consumed);
        if (progress.need == 0) continue;
        VMFERRY_ASSIGN(const bool enough, input.fill(progress.need));
        if (!enough) return std::unexpected(crossing.truncated(input.unread()));
    }
    VMFERRY_ASSIGN(auto destination, destination_for(crossing.source(), settings, audit));
    return std::move(destination.plan);
}

Result<CarriedToXen> carry_recorded_to_xen(const std::string& path, const XenDestinationSettings& settings,
                                           const BatchSink& sink, const std::string& label,
                                           AuditReport& audit) {
    VMFERRY_ASSIGN(auto file, InputFile::open(path));
    VMFERRY_TRY(check_qemu_stream(file, path));
    CarriedToXen carried;
    const auto supply = [&](const QemuSource& source) -> Result<XenDestination> {
        VMFERRY_ASSIGN(auto destination, destination_for(source, settings, audit));
        carried.plan = destination.plan;
        return destination;
    };
    Progress progress(label, !label.empty());
    ConvertOptions conversion;
    conversion.realtime_ns = now_ns();
    conversion.limits = {settings.spill_bytes, settings.spill_directory};
    conversion.progress = [&](const CrossingCounters& counters) {
        progress.update({counters.bytes_in, file.file_size(), file.file_position(), counters.passes});
    };
    VMFERRY_ASSIGN(carried.counters,
                   convert_to_xen([&file](std::span<std::byte> into) { return file.read(into); }, sink,
                                  supply, audit, conversion));
    return carried;
}

}  // namespace vmferry::cli
