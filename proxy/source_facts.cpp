#include "proxy/source_facts.hpp"

#include <array>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "proxy/qemu_facts.hpp"
#include "proxy/source_devices.hpp"
#include "proxy/source_questions.hpp"
#include "translators/domain_config.hpp"

namespace vmferry {

using nlohmann::json;

namespace {

constexpr std::string_view machine_suffix = "-machine";
constexpr std::uint64_t hertz_per_khz = 1000;

/// The accelerator is the machine's, whatever else the host could do.
Result<Accel> read_accel(const SourceQuestions& questions) {
    VMFERRY_ASSIGN(const json kvm, questions.ask("query-kvm"));
    const auto enabled = kvm.find("enabled");
    if (enabled == kvm.end() || !enabled->is_boolean())
        return environment_error("QEMU", "query-kvm", kvm.dump(), "whether KVM is enabled");
    return enabled->get<bool>() ? Accel::kvm : Accel::tcg;
}

bool is_pc(std::string_view machine) {
    return machine.starts_with("pc-i440fx-") || machine.starts_with("pc-q35-");
}

Result<void> read_identity(const SourceQuestions& questions, SourceFacts& facts) {
    VMFERRY_ASSIGN(const json version, questions.ask("query-version"));
    VMFERRY_ASSIGN(const auto major, questions.number_in(version, "/qemu/major", "query-version"));
    VMFERRY_ASSIGN(const auto minor, questions.number_in(version, "/qemu/minor", "query-version"));
    facts.qemu_major = static_cast<unsigned>(major);
    facts.qemu_minor = static_cast<unsigned>(minor);
    VMFERRY_ASSIGN(facts.accel, read_accel(questions));
    VMFERRY_ASSIGN(const json status, questions.ask("query-status"));
    VMFERRY_ASSIGN(const auto state, questions.text_in(status, "/status", "query-status"));
    // The other states it may only have come to by migrating.
    facts.stopped = state == "paused" || state == "prelaunch";

    VMFERRY_ASSIGN(facts.machine, questions.text("/machine", "type"));
    if (!facts.machine.ends_with(machine_suffix))
        return environment_error("QEMU", "the type of its machine", facts.machine, "NAME-machine");
    facts.machine.resize(facts.machine.size() - machine_suffix.size());

    VMFERRY_ASSIGN(const json name, questions.ask("query-name"));
    if (name.contains("name")) {
        VMFERRY_ASSIGN(facts.name, questions.text_in(name, "/name", "query-name"));
    }
    VMFERRY_ASSIGN(const json uuid, questions.ask("query-uuid"));
    VMFERRY_ASSIGN(facts.uuid, questions.text_in(uuid, "/UUID", "query-uuid"));
    std::array<std::uint8_t, 16> bytes{};
    if (!parse_uuid(facts.uuid, bytes))
        return environment_error("QEMU", "query-uuid", facts.uuid.substr(0, 100), "a UUID");
    return {};
}

Result<void> read_cpus(Loop& loop, QmpClient& qmp, const TimeLimits& limits, const SourceQuestions& questions,
                       SourceFacts& facts) {
    VMFERRY_ASSIGN(const json cpus, questions.ask("query-cpus-fast"));
    if (!cpus.is_array() || cpus.empty())
        return environment_error("QEMU", "query-cpus-fast", cpus.dump().substr(0, 200), "at least one CPU");
    std::string first;
    for (const auto& cpu : cpus) {
        VMFERRY_ASSIGN(const auto path, questions.text_in(cpu, "/qom-path", "query-cpus-fast"));
        VMFERRY_ASSIGN(const auto id, questions.number(path, "apic-id"));
        facts.apic_ids.push_back(static_cast<unsigned>(id));
        if (first.empty()) first = path;
    }
    facts.vcpus = static_cast<unsigned>(facts.apic_ids.size());

    VMFERRY_ASSIGN(const json slots, questions.ask("query-hotpluggable-cpus"));
    facts.max_vcpus = 0;
    for (const auto& slot : slots) {
        VMFERRY_ASSIGN(const auto count,
                       questions.number_in(slot, "/vcpus-count", "query-hotpluggable-cpus"));
        facts.max_vcpus += static_cast<unsigned>(count);
    }
    if (facts.max_vcpus < facts.vcpus)
        return environment_error("QEMU", "query-hotpluggable-cpus",
                                 fmt::format("{} places for CPUs", facts.max_vcpus),
                                 fmt::format("at least the {} that are there", facts.vcpus));

    VMFERRY_ASSIGN(facts.cpu, read_cpu_facts(loop, qmp, limits));
    // Under TCG the TSC counts QEMU's own clock; the property is then what the command line said, if
    // anything.
    if (facts.accel == Accel::kvm) {
        VMFERRY_ASSIGN(const auto hertz, questions.number(first, "tsc-frequency"));
        if (hertz >= hertz_per_khz) facts.tsc_khz = hertz / hertz_per_khz;
    }
    return {};
}

Result<void> read_memory(const SourceQuestions& questions, SourceFacts& facts) {
    VMFERRY_ASSIGN(const json sizes, questions.ask("query-memory-size-summary"));
    VMFERRY_ASSIGN(facts.ram_bytes, questions.number_in(sizes, "/base-memory", "query-memory-size-summary"));
    // With a backend for each NUMA node this link leads nowhere.
    VMFERRY_ASSIGN(const auto backend, questions.text("/machine", "memory-backend"));
    facts.ram_block = backend.substr(backend.rfind('/') + 1);
    // hw/i386/pc.c makes this alias of the first part of RAM; its length is the split, whatever options and
    // machine type led to it.
    VMFERRY_ASSIGN(facts.low_ram_end, questions.number("/machine/unattached/ram-below-4g[0]", "size"));
    if (facts.low_ram_end > facts.ram_bytes)
        return environment_error(
            "QEMU", "its memory layout",
            fmt::format("{} bytes below 4 GiB of {}", facts.low_ram_end, facts.ram_bytes));
    return {};
}

}  // namespace

Result<SourceFacts> read_source_facts(Loop& loop, QmpClient& qmp, const TimeLimits& limits) {
    const SourceQuestions questions(loop, qmp, limits);
    SourceFacts facts;
    VMFERRY_TRY(read_identity(questions, facts));
    if (!is_pc(facts.machine)) return facts;
    VMFERRY_TRY(read_memory(questions, facts));
    VMFERRY_TRY(read_source_devices(questions, facts));
    VMFERRY_TRY(read_cpus(loop, qmp, limits, questions, facts));
    return facts;
}

}  // namespace vmferry
