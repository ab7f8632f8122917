#include "proxy/prepare.hpp"

#include <fstream>
#include <iterator>

#include "proxy/qemu_facts.hpp"
#include "proxy/template_cache.hpp"
#include "translators/cpu_policy.hpp"
#include "translators/make_plan.hpp"

namespace vmferry {
namespace {

Result<Buffer> read_template_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) return environment_error("template", "reading " + path, "it cannot be opened");
    const auto size = static_cast<std::size_t>(file.tellg());
    if (size > max_twin_stream)
        return environment_error("template", "reading " + path, fmt::format("{} bytes", size),
                                 fmt::format("at most {}", max_twin_stream));
    Buffer stream(size);
    file.seekg(0);
    file.read(reinterpret_cast<char*>(stream.data()), static_cast<std::streamsize>(size));
    if (!file) return environment_error("template", "reading " + path, "it cannot be read");
    return stream;
}

}  // namespace

TimeLimits time_limits(const DestinationOptions& options, TimeLimits base) {
    TimeLimits limits = base;
    limits.source_silent = options.peer_timeout;
    limits.go = options.permission_timeout;
    limits.qemu_starts = options.start_timeout;
    limits.qemu_loads = options.load_timeout;
    limits.twin_migrates = options.twin_timeout;
    return limits;
}

Result<Plan> prepare_plan(Loop& loop, const XenSource& source, const DestinationOptions& options,
                          AuditReport& audit) {
    VMFERRY_ASSIGN(const auto facts, probe_destination(loop, options, time_limits(options)));
    auto plan =
        make_plan(source.config, source.cpuid, source.xen_major, source.xen_minor, options, facts, audit);
    // What is wrong with the CPUID policy has its place counted from the policy's first leaf.
    if (!plan && plan.error().kind == ErrorKind::stream) plan.error().offset += source.cpuid_offset;
    if (plan && audit.refused()) return std::unexpected(audit.error());
    return plan;
}

Result<Prepared> prepare_destination(Loop& loop, const XenSource& source, const DestinationOptions& options,
                                     const std::string& cache_directory, AuditReport& audit) {
    Prepared prepared;
    VMFERRY_ASSIGN(prepared.plan, prepare_plan(loop, source, options, audit));
    Buffer stream;
    if (options.template_file.empty()) {
        TemplateCache cache(cache_directory);
        VMFERRY_ASSIGN(auto twin, cache.twin(loop, {prepared.plan.qemu, prepared.plan.twin_arguments},
                                             time_limits(options)));
        stream = std::move(twin.stream);
        VMFERRY_TRY(audit_cpu(source, prepared.plan.accel, std::move(twin.cpu), audit));
        prepared.cpu_checked = true;
    } else {
        VMFERRY_ASSIGN(stream, read_template_file(options.template_file));
    }
    VMFERRY_ASSIGN(prepared.twin, qemu::read_snapshot(stream));
    return prepared;
}

Result<void> audit_cpu(const XenSource& source, Accel accel, CpuFacts facts, AuditReport& audit) {
    if (accel == Accel::kvm) facts.xsave = host_xsave_layout();
    check_cpu(source.cpuid, accel, facts, audit);
    if (audit.refused()) return std::unexpected(audit.error());
    return {};
}

}  // namespace vmferry
