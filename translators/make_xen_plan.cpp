// From what the source says, the destination's template and the operator's mapping to the domain:
//
//     facts ──────┬─► memory, devices ─► configuration (or the operator's own, checked against the stream)
//     stream ─────┤
//     template ───┼─► CPUID and MSR policy, release, TSC
//     operator ───┘
#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <uuid/uuid.h>

#include "translators/guest_name.hpp"
#include "translators/xen_plan_parts.hpp"

namespace vmferry {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view machine_prefix = "pc-i440fx-";
constexpr unsigned most_vcpus = 128;  ///< HVM_MAX_VCPUS of Xen's public headers
constexpr std::uint64_t kib = 1u << 10;

/// For a guest that has none, as libxl wants one.
std::string random_uuid() {
    uuid_t bytes;
    uuid_generate_random(bytes);
    std::array<char, UUID_STR_LEN> text{};
    uuid_unparse_lower(bytes, text.data());
    return text.data();
}

Result<void> check_machine(const XenPlanInput& in, AuditReport& audit) {
    const auto& machine = in.source.machine;
    if (in.facts && in.facts->machine != machine)
        return xen_plan_usage_error("--source-qmp", "a QEMU with the machine " + in.facts->machine,
                                    "the QEMU whose stream this is, with " + machine);
    if (!machine.starts_with(machine_prefix))
        audit.violated("source-machine", fmt::format("the machine is {}", plain_name(machine)));
    return {};
}

// ---- CPUs ----

/// Guests that came from Xen have a CPU for each even APIC id, as there; under TCG the odd ones exist too,
/// and only fill the gaps (they wait for SIPI for ever). hvmloader's area is what such a guest is known by.
unsigned count_vcpus(const SourceFacts& facts, Firmware firmware) {
    if (firmware == Firmware::seabios_on_qemu) return facts.vcpus;
    return static_cast<unsigned>(
        std::ranges::count_if(facts.apic_ids, [](unsigned id) { return id % 2 == 0; }));
}

void plan_vcpus(const XenPlanInput& in, const DomainConfig* given, XenPlan& plan, AuditReport& audit) {
    plan.vcpus = given != nullptr ? given->max_vcpus : 1;
    if (in.facts) {
        const auto real = count_vcpus(*in.facts, plan.firmware());
        if (given != nullptr && given->max_vcpus != real)
            audit.violated("domain-config",
                           fmt::format("max_vcpus is {}, the guest has {} vCPUs", given->max_vcpus, real));
        plan.vcpus = real;
        if (in.facts->vcpus > real)
            audit.adapted("CPUs", fmt::format("{} CPUs that only fill gaps between APIC ids are left out",
                                              in.facts->vcpus - real));
        if (in.facts->max_vcpus > in.facts->vcpus && plan.firmware() == Firmware::seabios_on_qemu)
            audit.adapted("CPUs", "no more CPUs can be plugged in on the destination");
    }
    if (plan.vcpus == 0 || plan.vcpus > most_vcpus) {
        audit.violated("vcpu-count", fmt::format("the guest has {} virtual CPUs", plan.vcpus));
        plan.vcpus = std::clamp(plan.vcpus, 1U, most_vcpus);
    }
    audit.carried("CPUs", fmt::format("{}", plan.vcpus));
}

// ---- name and clock ----

Result<void> plan_identity(const XenPlanInput& in, const DomainConfig* given, XenPlan& plan) {
    plan.name = in.options.name;
    if (plan.name.empty() && given != nullptr) plan.name = given->name;
    if (plan.name.empty() && in.facts) plan.name = plain_name(in.facts->name);
    if (plan.name.empty())
        return xen_plan_usage_error("--name", "the source has no name", "--name NAME for the domain");
    if (plain_name(plan.name) != plan.name || plan.name.size() > domain_config_limit::name_bytes)
        return xen_plan_usage_error("--name", plan.name.substr(0, domain_config_limit::name_bytes),
                                    "letters, digits, '.', '_' and '-'");
    plan.uuid = given != nullptr ? given->uuid : in.facts ? in.facts->uuid : std::string{};
    const bool none = std::ranges::all_of(plan.uuid, [](char c) { return c == '0' || c == '-'; });
    if (none) plan.uuid = random_uuid();
    return {};
}

/// The record about the TSC in the stream has the last word, so it says what the configuration says.
TscMode configured_tsc_mode(const DomainConfig* given) {
    if (given == nullptr || given->tsc_mode == "default") return TscMode::automatic;
    return given->tsc_mode == "always_emulate" ? TscMode::always_emulate : TscMode::never_emulate;
}

Result<void> plan_clock(const XenPlanInput& in, const DomainConfig* given, XenPlan& plan,
                        AuditReport& audit) {
    plan.tsc_mode = in.options.tsc_mode ? *in.options.tsc_mode : configured_tsc_mode(given);
    const auto* header = xen::find_record<hvm_save_header>(in.xen.context);
    const std::uint64_t there = header == nullptr ? 0 : header->gtsc_khz;
    std::uint64_t khz = there;
    if (in.facts && in.facts->tsc_khz) khz = *in.facts->tsc_khz;
    if (in.options.tsc_khz) khz = *in.options.tsc_khz;
    if (khz > 0xFFFFFFFF)
        return xen_plan_usage_error("--set tsc_khz", fmt::format("{}", khz), "a rate in kHz");
    plan.tsc_khz = static_cast<std::uint32_t>(khz);
    if (!in.options.tsc_khz && (!in.facts || !in.facts->tsc_khz))
        audit.adapted("TSC",
                      fmt::format("the source does not say its rate; the template's {} kHz are taken (see "
                                  "--set tsc_khz=…)",
                                  khz));
    else
        audit.carried("TSC", fmt::format("{} kHz", khz));
    return {};
}

// ---- what the device model cannot load ----

/// The last release whose device model was seen to load a virtio-blk disk. A template does not say which QEMU
/// that is.
constexpr unsigned loads_virtio_disks = 17;

void check_virtio_disks(const XenPlanInput& in, AuditReport& audit) {
    if (!in.facts || (in.xen.xen_major == 4 && in.xen.xen_minor <= loads_virtio_disks)) return;
    for (const auto& disk : in.facts->disks)
        if (disk.model == "virtio-blk-pci")
            audit.violated("virtio-disk-load",
                           fmt::format("the disk at 00:{:02x}.{}, on Xen {}.{}", disk.slot.device,
                                       disk.slot.function, in.xen.xen_major, in.xen.xen_minor));
}

// ---- what the source does not send ----

/// Where RAM fills whole words of its dirty bitmap (64 pages each), QEMU before 9.0 takes a short way through
/// it that leaves writable pages in TCG's TLBs: what the guest writes there afterwards is not seen, and not
/// sent.
void check_missed_writes(const SourceFacts& facts, AuditReport& audit) {
    constexpr unsigned mended = 9;
    constexpr std::uint64_t page = 4096, word = 64 * page;
    if (facts.accel != Accel::tcg || facts.stopped || facts.qemu_major >= mended ||
        facts.ram_bytes % word != 0)
        return;
    audit.violated("tcg-missed-writes", fmt::format("QEMU {}.{}, {} KiB of RAM", facts.qemu_major,
                                                    facts.qemu_minor, facts.ram_bytes / 1024));
}

// ---- the operator's configuration ----

/// What it says must be what the stream has: libxl builds the domain from it and nothing else.
void check_given(const DomainConfig& given, const XenPlan& plan, AuditReport& audit) {
    const auto differs = [&](std::string text) { audit.violated("domain-config", std::move(text)); };
    if (given.type != "hvm") differs("type is " + given.type + ", not hvm");
    if (given.device_model != "qemu_xen" || given.stubdomain)
        differs("the device model is not qemu_xen in the control domain");
    if (given.xen_platform_pci) differs("xen_platform_pci is on; the guest does not have that device");
    if (given.viridian) differs("viridian is on; the guest did not have it");
    if (given.bios != "seabios") differs("bios is not seabios");
    if (given.tsc_mode != "default" && given.tsc_mode != "always_emulate" && given.tsc_mode != "native")
        differs("tsc_mode is none of default, always_emulate and native");
    if (given.msr_relaxed == false)
        differs("msr_relaxed is off; the guest reads registers that Xen then refuses");
    const auto ram = (given.max_memkb - given.video_memkb) * kib;
    if (ram != plan.configured_ram_bytes())
        differs(
            fmt::format("max_memkb − video_memkb is {} KiB, the guest has {} KiB of RAM (in whole MiB: {})",
                        ram / kib, plan.ram_bytes / kib, plan.configured_ram_bytes() / kib));
    if (given.video_memkb * kib < plan.vram_bytes)
        differs(fmt::format("video_memkb is {}, the guest's adapter has {} KiB", given.video_memkb,
                            plan.vram_bytes / kib));
}

/// The text as it is, but for the name, for the mark by which the way back knows a guest of SeaBIOS, and for
/// msr_relaxed (xl.cfg(5)): a guest of QEMU reads model-specific registers that Xen refuses otherwise.
std::string completed(const std::string& text, const DomainConfig& given, const XenPlan& plan,
                      AuditReport& audit) {
    auto json = Json::parse(text);
    json["c_info"]["name"] = plan.name;
    if (!given.msr_relaxed) {
        json["b_info"]["arch_x86"]["msr_relaxed"] = "True";
        audit.adapted("domain configuration",
                      "msr_relaxed is added: the guest reads registers that Xen refuses");
    }
    if (plan.firmware() == Firmware::seabios_on_qemu)
        json["c_info"]["platformdata"][firmware_mark] = seabios_mark;
    return json.dump(4);
}

}  // namespace

std::unexpected<Error> xen_plan_usage_error(std::string option, std::string found, std::string expected) {
    Error error;
    error.kind = ErrorKind::usage;
    error.format = std::move(option);
    error.found = std::move(found);
    error.expected = std::move(expected);
    return std::unexpected(std::move(error));
}

Result<XenPlan> make_xen_plan(const std::optional<SourceFacts>& facts, const QemuSource& source,
                              const XenTemplate& xen, const XenDestinationOptions& options,
                              AuditReport& audit) {
    const XenPlanInput in{facts, source, xen, options};
    XenPlan plan;
    std::optional<DomainConfig> given;
    if (!options.domain_config.empty()) {
        if (!options.disks.empty() || !options.nics.empty() || !options.serial.empty())
            return xen_plan_usage_error("--domain-config", "--disk, --nic or --serial beside it",
                                        "one or the other: the file says all of its devices");
        VMFERRY_ASSIGN(given, read_domain_config(options.domain_config, 0));
    } else if (!facts) {
        return xen_plan_usage_error("--domain-config", "nothing describes the guest's devices",
                                    "--source-qmp SOCKET of the source, or --domain-config FILE");
    }
    const DomainConfig* config = given ? &*given : nullptr;
    if (!facts && !options.accel)
        return xen_plan_usage_error("--set accel", "nothing says what accelerates the source",
                                    "--source-qmp SOCKET of the source, or --set accel=kvm (or tcg)");
    plan.accel = facts ? facts->accel : *options.accel;

    VMFERRY_TRY(check_machine(in, audit));
    VMFERRY_TRY(plan_identity(in, config, plan));
    const auto hole = plan_xen_memory(in, config, plan, audit);
    plan_vcpus(in, config, plan, audit);
    VMFERRY_TRY(plan_clock(in, config, plan, audit));
    plan.xen_major = xen.xen_major;
    plan.xen_minor = xen.xen_minor;
    plan_cpu_policy(in, plan, audit);
    check_virtio_disks(in, audit);
    if (facts) check_missed_writes(*facts, audit);
    if (config != nullptr) {
        check_given(*config, plan, audit);
        plan.config = completed(options.domain_config, *config, plan, audit);
        return plan;
    }
    VMFERRY_ASSIGN(plan.config, derive_domain_config(in, plan, hole, audit));
    // What cannot be read back, no libxl would understand.
    if (!audit.refused()) VMFERRY_TRY(read_domain_config(plan.config, 0));
    return plan;
}

}  // namespace vmferry
