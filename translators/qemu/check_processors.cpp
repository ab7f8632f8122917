// What a stock QEMU knows of its processors that no other VMM can be told.
#include <algorithm>

#include "translators/qemu/read_machine.hpp"

namespace vmferry::qemu {
namespace {

constexpr CpuSubsection left_out[] = {
    {"cpu/async_pf_msr", "kvm-paravirtual", "asynchronous page faults"},
    {"cpu/async_pf_int_msr", "kvm-paravirtual", "asynchronous page faults"},
    {"cpu/async_pv_eoi_msr", "kvm-paravirtual", "paravirtual end of interrupt"},
    {"cpu/steal_time_msr", "kvm-paravirtual", "stolen time"},
    {"cpu/xen_vcpu", "kvm-paravirtual", "KVM's emulation of Xen"},
    {"cpu/msr_hyperv_hypercall", "hyperv-enlightenments", "hypercalls"},
    {"cpu/msr_hyperv_vapic", "hyperv-enlightenments", "virtual APIC"},
    {"cpu/msr_hyperv_time", "hyperv-enlightenments", "reference time"},
    {"cpu/msr_hyperv_crash", "hyperv-enlightenments", "crash registers"},
    {"cpu/msr_hyperv_runtime", "hyperv-enlightenments", "run time"},
    {"cpu/msr_hyperv_synic", "hyperv-enlightenments", "synthetic interrupts"},
    {"cpu/msr_hyperv_stimer", "hyperv-enlightenments", "synthetic timers"},
    {"cpu/msr_hyperv_reenlightenment", "hyperv-enlightenments", "changes of the TSC's rate"},
    {"cpu/msr_architectural_pmu", "cpu-msr", "performance counters"},
    {"cpu/xss", "cpu-msr", "supervisor state components"},
    {"cpu/umwait", "cpu-msr", "limits of UMWAIT"},
    {"cpu/intel_pt", "cpu-msr", "processor trace"},
    {"cpu/msr_xfd", "cpu-msr", "AMX"},
    {"cpu/arch_lbr", "cpu-msr", "last branch records"},
    {"cpu/intel_sgx", "cpu-msr", "SGX"},
    {"cpu/nested_state", "nested-virtualization", "a hypervisor in the guest"},
    {"cpu/svm_guest", "nested-virtualization", "a hypervisor in the guest"},
    {"cpu/svn_npt", "nested-virtualization", "a hypervisor in the guest"},
    {"cpu/triple_fault", "pending-event", "a triple fault"},
    {"cpu/poll_control_msr", {}, "KVM's hint whether the host polls; TCG sends its reset value"},
    {"cpu/msr_ia32_misc_enable", {}, "Xen answers with its own"},
    {"cpu/msr_ia32_feature_control", {}, "Xen answers with its own"},
    {"cpu/msr_smi_count", {}, "counts the firmware's entries into SMM"},
    {"cpu/msr_hwcr", {}, "Xen answers with its own"},
    {"cpu/msr_tsx_ctrl", {}, "Xen answers with its own"},
    {"cpu/mcg_ext_ctl", {}, "machine check banks are the destination's"},
    {"cpu/amd_tsc_scale_msr", {}, "for guests of a hypervisor in the guest"},
    {"cpu/pdptrs", {}, "read from memory again when the processor is entered"},
    {"cpu/exception_info", {}, "see env.exception_nr"},
};

/// Those that a table or a semantic translator reads.
constexpr std::string_view carried[] = {
    "cpu/mpx",     "cpu/avx512",          "cpu/fpop_ip_dp",     "cpu/pkru",      "cpu/pkrs",
    "cpu/tsc_khz", "cpu/msr_tscdeadline", "cpu/msr_tsc_adjust", "cpu/spec_ctrl", "cpu/virt_ssbd",
};

void check_subsections(const Section& cpu, const std::string& subject, AuditReport& audit) {
    for (const auto& sub : cpu.root.subsections) {
        if (std::ranges::find(carried, sub.vmsd_name) != std::end(carried)) continue;
        const auto known = std::ranges::find(left_out, sub.vmsd_name, &CpuSubsection::name);
        if (known == std::end(left_out))
            audit.violated("cpu-msr", fmt::format("{}: subsection {}", subject, sub.vmsd_name));
        else if (!known->rule.empty())
            audit.violated(known->rule, fmt::format("{}: {} ({})", subject, known->reason, sub.vmsd_name));
    }
}

/// hflags and hflags2 hold states of the processor that no register shows.
Result<void> check_flags(const Section& cpu, const std::string& subject, AuditReport& audit) {
    constexpr std::uint64_t shadow = 1u << 3, smm = 1u << 19, guest = 1u << 21;
    constexpr std::uint64_t gif = 1, nmi_blocked = 1u << 2;
    VMFERRY_ASSIGN(const auto flags, cpu.get("env.hflags"));
    VMFERRY_ASSIGN(const auto flags2, cpu.get("env.hflags2"));
    if (flags & smm) audit.violated("system-management-mode", subject);
    if (flags & guest || !(flags2 & gif)) audit.violated("nested-virtualization", subject);
    if (flags & shadow) audit.adapted(subject, "the one instruction's shadow behind STI or MOV SS ends here");
    if (flags2 & nmi_blocked) audit.adapted(subject, "non-maskable interrupts are no longer held back");
    return {};
}

Result<void> check_registers(const Section& cpu, const Section& common, const Vcpu& vcpu, Accel accel,
                             const std::string& subject, AuditReport& audit) {
    VMFERRY_ASSIGN(const auto clock, cpu.get("env.system_time_msr"));
    if (clock != 0) audit.violated("kvm-paravirtual", fmt::format("{}: kvmclock at {:#x}", subject, clock));
    VMFERRY_ASSIGN(const auto a20, cpu.get_signed("env.a20_mask"));
    if (a20 != -1) audit.violated("cpu-state", subject + ": the A20 gate is closed");
    VMFERRY_ASSIGN(const auto check, cpu.get("env.mcg_status"));
    if (check != 0)
        audit.violated("cpu-msr", fmt::format("{}: a machine check is under way ({:#x})", subject, check));
    if (cpu.subsection("cpu/exception_info") && vcpu.event.valid &&
        vcpu.event.type == PendingEvent::Type::exception) {
        // A payload (DR6 of a debug exception, CR2 of a page fault) is delivered with the exception. A page
        // fault comes again by itself.
        constexpr std::uint8_t debug = 1;
        VMFERRY_ASSIGN(const auto payload, cpu.get("+cpu/exception_info|env.exception_has_payload"));
        if (payload != 0 && vcpu.event.vector == debug)
            audit.violated("pending-event", subject + ": a debug exception with its DR6");
    }
    if (accel == Accel::tcg) {
        // INIT, SIPI, SMI, machine check: events that no VMM can be told of.
        constexpr std::uint64_t untold = 0x40 | 0x400 | 0x800 | 0x1000;
        VMFERRY_ASSIGN(const auto request, common.get("interrupt_request"));
        if (request & untold)
            audit.violated("pending-event", fmt::format("{}: interrupt_request {:#x}", subject, request));
    }
    return {};
}

/// QEMU's own BIOS extension that patches a guest's accesses to the TPR.
void check_tpr_patch(const DeviceTree& tree, AuditReport& audit) {
    constexpr std::uint64_t active = 1;  // 2: ready, as the BIOS leaves it
    const auto* section = tree.find("kvm-tpr-opt");
    if (section == nullptr) return;
    if (const auto state = section->get("state"); state && *state == active)
        audit.violated("kvm-paravirtual", "the guest's code has been patched for TPR accesses (kvm-tpr-opt)");
}

}  // namespace

std::span<const CpuSubsection> left_out_cpu_subsections() {
    return left_out;
}

Result<void> check_processor_rest(const DeviceTree& tree, const Machine& machine, const Context& context,
                                  AuditReport& audit) {
    std::size_t number = 0;
    for (const auto& section : tree.sections) {
        if (section.idstr != "cpu" || number >= machine.vcpus.size()) continue;
        const auto& vcpu = machine.vcpus[number];
        const auto subject = fmt::format("vCPU {}", number++);
        if (!vcpu.online) continue;
        const auto* common = tree.find("cpu_common", section.instance);
        check_subsections(section, subject, audit);
        VMFERRY_TRY(check_flags(section, subject, audit));
        if (common) VMFERRY_TRY(check_registers(section, *common, vcpu, context.accel, subject, audit));
    }
    check_tpr_patch(tree, audit);
    return {};
}

}  // namespace vmferry::qemu
