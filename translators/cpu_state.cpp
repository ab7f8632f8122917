#include "translators/cpu_state.hpp"

#include <span>

#include "translators/fxsave.hpp"

namespace vmferry {
namespace {

using Word = std::uint32_t xen::CpuidLeaf::*;
constexpr Word eax = &xen::CpuidLeaf::eax, ebx = &xen::CpuidLeaf::ebx, ecx = &xen::CpuidLeaf::ecx,
               edx = &xen::CpuidLeaf::edx;

/// A bit of a control register and the CPUID bit that allows it (SDM vol. 3, 2.5; APM vol. 2, 3.1).
struct ControlBit {
    unsigned bit;
    std::string_view name;
    std::uint32_t leaf;  ///< 0: always there
    Word word;
    unsigned feature;
    bool tcg;  ///< TCG implements it
};

constexpr ControlBit cr4_bits[] = {
    {0, "VME", 1, edx, 1, false},      {1, "PVI", 1, edx, 1, false},         {2, "TSD", 1, edx, 4, true},
    {3, "DE", 1, edx, 2, true},        {4, "PSE", 1, edx, 3, true},          {5, "PAE", 1, edx, 6, true},
    {6, "MCE", 1, edx, 7, true},       {7, "PGE", 1, edx, 13, true},         {8, "PCE", 0, eax, 0, true},
    {9, "OSFXSR", 1, edx, 24, true},   {10, "OSXMMEXCPT", 1, edx, 25, true}, {11, "UMIP", 7, ecx, 2, true},
    {12, "LA57", 7, ecx, 16, true},    {16, "FSGSBASE", 7, ebx, 0, true},    {17, "PCIDE", 1, ecx, 17, false},
    {18, "OSXSAVE", 1, ecx, 26, true}, {20, "SMEP", 7, ebx, 7, true},        {21, "SMAP", 7, ebx, 20, true},
    {22, "PKE", 7, ecx, 3, true},      {24, "PKS", 7, ecx, 31, true}};
constexpr ControlBit efer_bits[] = {
    {0, "SCE", 0x80000001, edx, 11, true},    {8, "LME", 0x80000001, edx, 29, true},
    {10, "LMA", 0x80000001, edx, 29, true},   {11, "NXE", 0x80000001, edx, 20, true},
    {14, "FFXSR", 0x80000001, edx, 25, true}, {21, "AIBRSE", 0x80000021, eax, 8, false}};
constexpr std::uint64_t cr4_vmxe = 1u << 13, efer_svme = 1u << 12, cr4_osxsave = 1u << 18;

/// What TCG saves and restores of XSAVE state.
constexpr std::uint64_t tcg_xstate = xstate::x87 | xstate::sse | xstate::avx | xstate::mpx | xstate::pkru;

void check_bits(std::string_view name, std::uint64_t value, std::span<const ControlBit> known,
                unsigned number, const xen::CpuidPolicy& policy, Accel accel, AuditReport& audit) {
    for (unsigned bit = 0; bit < 64; ++bit) {
        if (!(value >> bit & 1)) continue;
        const ControlBit* found = nullptr;
        for (const auto& entry : known)
            if (entry.bit == bit) found = &entry;
        const auto where =
            fmt::format("vCPU {}: {}.{}", number, name, found ? found->name : fmt::format("{}", bit));
        if (!found) {
            audit.violated("cpu-state", where + " is not known");
            continue;
        }
        if (accel == Accel::tcg && !found->tcg)
            audit.violated("cpu-state", where + " is not implemented by TCG");
        if (policy.empty() || found->leaf == 0) continue;
        const auto* leaf = xen::find_leaf(policy, found->leaf);
        if (!leaf || !(leaf->*found->word >> found->feature & 1))
            audit.violated("cpu-state", where + " is set without the feature in the CPUID policy");
    }
}

std::uint64_t policy_xcr0(const xen::CpuidPolicy& policy) {
    const auto* leaf = xen::find_leaf(policy, 0xD, 0);
    return leaf ? std::uint64_t{leaf->edx} << 32 | leaf->eax : 0;
}

}  // namespace

void check_cpu_state(const Vcpu& vcpu, unsigned number, const xen::CpuidPolicy& policy, Accel accel,
                     AuditReport& audit) {
    if (!vcpu.online) return;
    if (vcpu.cr4 & cr4_vmxe || vcpu.efer & efer_svme)
        audit.violated("nested-virtualization",
                       fmt::format("vCPU {}: {}", number, vcpu.cr4 & cr4_vmxe ? "CR4.VMXE" : "EFER.SVME"));
    check_bits("CR4", vcpu.cr4 & ~cr4_vmxe, cr4_bits, number, policy, accel, audit);
    check_bits("EFER", vcpu.efer & ~efer_svme, efer_bits, number, policy, accel, audit);
    if (!vcpu.extended) return;
    const auto xcr0 = vcpu.extended->xcr0;
    const auto complain = [&](std::uint64_t outside, std::string_view of) {
        if (outside != 0)
            audit.violated("cpu-state", fmt::format("vCPU {}: XCR0 is {:#x}, of which {:#x} {}", number, xcr0,
                                                    outside, of));
    };
    // XCR0[0] is always 1, from reset on, whatever CPUID offers (SDM vol. 1, 13.3).
    if (!policy.empty()) complain(xcr0 & ~(policy_xcr0(policy) | xstate::x87), "is not in the CPUID policy");
    complain(xcr0 & ~xstate::known, "has no place in the machine's state");
    if (accel == Accel::tcg) complain(xcr0 & xstate::known & ~tcg_xstate, "is not implemented by TCG");
}

void complete_extended_state(Vcpu& vcpu, unsigned number, const xen::CpuidPolicy& policy, Accel accel,
                             AuditReport& audit) {
    if (!vcpu.online || vcpu.extended) return;
    auto& extended = vcpu.extended.emplace();
    extended.xstate_bv = xstate::x87 | xstate::sse;
    if (!(vcpu.cr4 & cr4_osxsave)) return;
    const auto possible = accel == Accel::tcg ? tcg_xstate : xstate::known;
    extended.xcr0 = (policy_xcr0(policy) & possible) | xstate::x87 | xstate::sse;
    extended.xcr0_accumulated = extended.xcr0;
    audit.violated(
        "xsave-without-record",
        fmt::format("vCPU {}: CR4.OSXSAVE is set without a CPU_XSAVE record; XCR0 is taken to be {:#x}",
                    number, extended.xcr0));
}

}  // namespace vmferry
