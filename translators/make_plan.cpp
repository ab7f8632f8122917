#include "translators/make_plan.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "translators/cpu_policy.hpp"
#include "translators/guest_name.hpp"
#include "translators/plan_arguments.hpp"
#include "translators/plan_parts.hpp"

namespace vmferry {

namespace {

constexpr std::string_view machine_prefix = "pc-i440fx-";
/// QEMU's machines take 255 CPUs; TCG needs one for every APIC id from 0 to 2·(n−1)+1.
constexpr unsigned most_vcpus = 127;
/// Machine property "hpet", and all names of CPU features that a plan may switch off.
constexpr DeviceModelRelease oldest_qemu{7, 2};

struct ReleasePair {
    unsigned xen_minor;
    DeviceModelRelease qemu;
};
/// Xen 4.x and its device model. A domain without the platform device runs on machine "pc", which is the
/// newest pc-i440fx of whatever QEMU the host has; the stream does not name it. Where a distribution's pair
/// is widely used it stands here (Debian 11, 12 and 13: 4.14, 4.17, 4.20), else the QEMU that the Xen project
/// released with that version. The device records are compared with the destination's in any case.
constexpr ReleasePair releases[] = {{8, {2, 6}},  {9, {2, 8}},  {10, {2, 10}}, {11, {2, 11}}, {12, {3, 0}},
                                    {13, {4, 1}}, {14, {5, 2}}, {15, {5, 1}},  {16, {6, 1}},  {17, {7, 2}},
                                    {18, {8, 0}}, {19, {8, 2}}, {20, {10, 0}}};

std::optional<DeviceModelRelease> machine_release(std::string_view machine) {
    if (!machine.starts_with(machine_prefix)) return std::nullopt;
    machine.remove_prefix(machine_prefix.size());
    DeviceModelRelease release;
    const auto* end = machine.data() + machine.size();
    const auto major = std::from_chars(machine.data(), end, release.qemu_major);
    if (major.ec != std::errc{} || major.ptr == end || *major.ptr != '.') return std::nullopt;
    const auto minor = std::from_chars(major.ptr + 1, end, release.qemu_minor);
    if (minor.ec != std::errc{} || minor.ptr != end) return std::nullopt;
    return release;
}

unsigned rank(DeviceModelRelease release) {
    return release.qemu_major * 1000 + release.qemu_minor;
}

Accel choose_accel(const PlanInput& in, AuditReport& audit) {
    if (in.options.accel) return *in.options.accel;
    if (in.facts.kvm) return Accel::kvm;
    audit.violated("tcg-cpu", "KVM is not there or may not be used, and no accelerator was asked for");
    return Accel::tcg;
}

Result<void> check_settings(const DestinationOptions& options) {
    for (const auto& [key, value] : options.set) {
        const auto known = [&](const Setting& setting) { return key == setting.key; };
        if (std::ranges::none_of(known_settings(), known)) {
            std::string keys;
            for (const auto& setting : known_settings())
                keys += fmt::format("{}{}", keys.empty() ? "" : ", ", setting.key);
            return plan_usage_error("--set " + key, "an unknown setting", "one of " + keys);
        }
        if (value.empty()) return plan_usage_error("--set " + key, "no value", "KEY=VALUE");
    }
    return {};
}

std::string setting(const DestinationOptions& options, std::string_view key) {
    const auto found = options.set.find(key);
    return found == options.set.end() ? std::string{} : found->second;
}

void plan_vcpus(const PlanInput& in, Plan& plan, AuditReport& audit) {
    plan.vcpus = in.config.max_vcpus;
    if (plan.vcpus > most_vcpus) {
        audit.violated("vcpu-count", fmt::format("the guest has up to {} virtual CPUs", plan.vcpus));
        plan.vcpus = most_vcpus;
    }
    if (plan.firmware == Firmware::seabios_on_qemu) {
        for (unsigned i = 0; i < plan.vcpus; ++i) plan.vcpu.push_back({i, i});
        audit.carried("CPUs", fmt::format("{} with APIC ids 0, 1, … as QEMU gave them", plan.vcpus));
        return;
    }
    for (unsigned i = 0; i < plan.vcpus; ++i) {
        plan.vcpu.push_back({2 * i, 2 * i});
        if (plan.accel == Accel::tcg && plan.vcpus > 1) plan.fillers.push_back({2 * i + 1, 2 * i + 1});
    }
    audit.carried("CPUs", fmt::format("{} with APIC ids 0, 2, …", plan.vcpus));
    if (!plan.fillers.empty())
        audit.adapted("CPUs", fmt::format("{} more between them, never started: TCG takes no gaps between "
                                          "APIC ids",
                                          plan.fillers.size()));
}

Result<void> plan_machine(const PlanInput& in, DeviceModelRelease release, Plan& plan, AuditReport& audit) {
    const DeviceModelRelease own{in.facts.qemu_major, in.facts.qemu_minor};
    if (rank(own) < rank(oldest_qemu))
        return environment_error(
            in.options.qemu, "version", fmt::format("QEMU {}.{}", own.qemu_major, own.qemu_minor),
            fmt::format("{}.{} or later", oldest_qemu.qemu_major, oldest_qemu.qemu_minor));
    plan.machine = setting(in.options, "machine");
    const auto& machines = in.facts.machines;
    if (!plan.machine.empty()) {
        if (!machine_release(plan.machine) || std::ranges::find(machines, plan.machine) == machines.end())
            return plan_usage_error("--set machine", plan.machine, "a pc-i440fx-X.Y that this QEMU has");
        return {};
    }
    plan.machine = choose_machine(machines, release);
    if (plan.machine.empty())
        return environment_error(in.options.qemu, "machine types", "none of the form pc-i440fx-X.Y",
                                 "a QEMU for x86 PCs");
    if (rank(*machine_release(plan.machine)) > rank(release))
        audit.adapted("machine", fmt::format("{} is newer than the guest's device model (QEMU {}.{})",
                                             plan.machine, release.qemu_major, release.qemu_minor));
    return {};
}

}  // namespace

const std::vector<Setting>& known_settings() {
    static const std::vector<Setting> settings{
        {"machine", "machine type of the destination, pc-i440fx-X.Y; else chosen by the Xen release"},
        {"cpu", "QEMU's -cpu argument; else derived from the CPUID policy"},
        {"firmware",
         "hvmloader or seabios: who set the guest's platform up; else known from its configuration"},
        {"reset-stub", "off: leave Xen's firmware in RAM as it is; a reset then ends in a loop"}};
    return settings;
}

std::unexpected<Error> plan_usage_error(std::string option, std::string found, std::string expected) {
    Error error;
    error.kind = ErrorKind::usage;
    error.format = std::move(option);
    error.found = std::move(found);
    error.expected = std::move(expected);
    return std::unexpected(std::move(error));
}

DeviceModelRelease device_model_release(unsigned xen_major, unsigned xen_minor) {
    const auto newest = std::end(releases) - 1;
    if (xen_major < 4) return std::begin(releases)->qemu;
    if (xen_major > 4 || xen_minor > newest->xen_minor) return {999, 0};  // any: unknown, but newer
    const auto* found = std::ranges::find(releases, xen_minor, &ReleasePair::xen_minor);
    return found == std::end(releases) ? std::begin(releases)->qemu : found->qemu;
}

std::string choose_machine(const std::vector<std::string>& machines, DeviceModelRelease release) {
    std::string best, oldest;
    unsigned best_rank = 0, oldest_rank = 0;
    for (const auto& machine : machines) {
        const auto its_release = machine_release(machine);
        if (!its_release) continue;
        const auto its_rank = rank(*its_release);
        if (its_rank <= rank(release) && (best.empty() || its_rank > best_rank)) {
            best = machine;
            best_rank = its_rank;
        }
        if (oldest.empty() || its_rank < oldest_rank) {
            oldest = machine;
            oldest_rank = its_rank;
        }
    }
    return best.empty() ? oldest : best;
}

Result<Plan> make_plan(const DomainConfig& config, const xen::CpuidPolicy& policy, unsigned xen_major,
                       unsigned xen_minor, const DestinationOptions& options, const DestinationFacts& facts,
                       AuditReport& audit) {
    const PlanInput in{config, options, facts};
    VMFERRY_TRY(check_settings(options));
    Plan plan;
    audit_domain(config, audit);

    plan.accel = choose_accel(in, audit);
    plan.qemu = options.qemu;
    plan.name = options.name.empty() ? plain_name(config.name) : options.name;
    plan.uuid = config.uuid;
    plan.hpet = config.hpet;
    const auto stub = setting(options, "reset-stub");
    if (!stub.empty() && stub != "on" && stub != "off")
        return plan_usage_error("--set reset-stub", stub, "on or off");
    const auto firmware = setting(options, "firmware");
    if (!firmware.empty() && firmware != "hvmloader" && firmware != "seabios")
        return plan_usage_error("--set firmware", firmware, "hvmloader or seabios");
    plan.firmware = firmware.empty()        ? config.firmware
                    : firmware == "seabios" ? Firmware::seabios_on_qemu
                                            : Firmware::hvmloader;
    // QEMU's own firmware needs no help to find itself after a reset.
    plan.reset_stub = stub != "off" && plan.firmware == Firmware::hvmloader;

    VMFERRY_TRY(plan_machine(in, device_model_release(xen_major, xen_minor), plan, audit));
    audit.carried("machine", fmt::format("{}, HPET {}", plan.machine, plan.hpet ? "on" : "off"));
    VMFERRY_ASSIGN(plan.cpu, cpu_argument(policy, plan.accel, setting(options, "cpu")));
    plan_vcpus(in, plan, audit);
    plan_memory(in, plan, audit);
    VMFERRY_TRY(plan_devices(in, plan, audit));
    write_arguments(plan, options);
    return plan;
}

}  // namespace vmferry
