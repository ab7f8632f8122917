// The CPU that the guest finds on Xen: the template's CPUID policy, narrowed to the CPU that the guest saw.
//
//     leaf 1 EAX, 0x80000001 EAX   family, model, stepping: the source's
//     feature words                template ∧ source; hints and what the platform sets: the template's
//     leaf 0xD                     components whose feature is gone disappear
//     0x80000002 – 4               the source's brand string
//     0x80000008 EAX               physical address width: the source's, if the destination has as much
//     all other leaves, MSRs       the template's
//
// Xen takes a policy whose highest leaves are not above its own (x86_cpu_policies_are_compatible), so no leaf
// is added or taken away, and it derives from the features whatever depends on them; nothing here shows more
// than the template does.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "translators/cpu_features.hpp"
#include "translators/cpu_policy.hpp"
#include "translators/xen_plan_parts.hpp"

namespace vmferry {

namespace {

using enum CpuidRegister;

constexpr std::uint32_t legacy_area = 576;  ///< XSAVE: x87 and SSE state, and the header
constexpr unsigned first_extended_component = 2, components = 63;
constexpr std::size_t brand_bytes = 48, brand_leaf_bytes = 16;

/// XSAVE components and the feature that each belongs to.
struct ComponentFeature {
    unsigned index;
    CpuidWord word;
    unsigned bit;
};
constexpr ComponentFeature component_features[] = {
    {2, {1, 0, ecx}, 28},                                             // AVX
    {3, {7, 0, ebx}, 14},                                             // MPX
    {4, {7, 0, ebx}, 14}, {5, {7, 0, ebx}, 16},                       // AVX-512F
    {6, {7, 0, ebx}, 16}, {7, {7, 0, ebx}, 16}, {9, {7, 0, ecx}, 3},  // PKU
};

std::uint32_t* register_of(xen::CpuidLeaf& leaf, CpuidRegister reg) {
    switch (reg) {
        case eax:
            return &leaf.eax;
        case ebx:
            return &leaf.ebx;
        case ecx:
            return &leaf.ecx;
        case edx:
            return &leaf.edx;
    }
    return nullptr;
}

xen::CpuidLeaf* find_leaf(xen::CpuidPolicy& policy, std::uint32_t leaf, std::uint32_t subleaf = 0) {
    const auto* found = xen::find_leaf(policy, leaf, subleaf);
    return found == nullptr ? nullptr : &policy[static_cast<std::size_t>(found - policy.data())];
}

bool shows(const xen::CpuidPolicy& policy, const CpuidWord& word, unsigned bit) {
    const auto* leaf = xen::find_leaf(policy, word.leaf, word.subleaf);
    if (leaf == nullptr) return false;
    auto copy = *leaf;
    return ((*register_of(copy, word.reg) >> bit) & 1) != 0;
}

/// The bits that the guest saw and those that are not decided by what it saw.
void narrow_features(xen::CpuidPolicy& policy, const FeatureBits& saw) {
    for (std::size_t index = 0; index < feature_words().size(); ++index) {
        const auto& word = feature_words()[index];
        auto* leaf = find_leaf(policy, word.leaf, word.subleaf);
        if (leaf == nullptr) continue;
        std::uint32_t kept = saw[index];
        for (unsigned bit = 0; bit < 32; ++bit)
            if (!dispensable(word, bit).empty()) kept |= 1U << bit;
        *register_of(*leaf, word.reg) &= kept;
    }
}

/// Leaf 0xD follows from the features, as Xen itself computes it.
void narrow_xsave(xen::CpuidPolicy& policy) {
    auto* head = find_leaf(policy, 0xD, 0);
    if (head == nullptr) return;
    constexpr CpuidWord leaf1_ecx{1, 0, ecx};
    constexpr unsigned xsave = 26;
    if (!shows(policy, leaf1_ecx, xsave)) {
        for (auto& leaf : policy)
            if (leaf.leaf == 0xD) leaf.eax = leaf.ebx = leaf.ecx = leaf.edx = 0;
        return;
    }
    std::uint32_t size = legacy_area;
    for (unsigned index = first_extended_component; index < components; ++index) {
        auto& half = index < 32 ? head->eax : head->edx;
        const auto bit = 1U << (index % 32);
        if ((half & bit) == 0) continue;
        const auto* needs = std::ranges::find(component_features, index, &ComponentFeature::index);
        auto* leaf = find_leaf(policy, 0xD, index);
        if (needs == std::end(component_features) || shows(policy, needs->word, needs->bit)) {
            if (leaf != nullptr) size = std::max(size, leaf->ebx + leaf->eax);
            continue;
        }
        half &= ~bit;
        if (leaf != nullptr) leaf->eax = leaf->ebx = leaf->ecx = leaf->edx = 0;
    }
    head->ecx = size;
}

/// Components that the guest may have in its memory must lie where it put them.
void check_xsave_layout(const xen::CpuidPolicy& policy, std::span<const XsaveComponent> source,
                        AuditReport& audit) {
    const auto* head = xen::find_leaf(policy, 0xD, 0);
    if (head == nullptr) return;
    const auto mask = head->eax | (std::uint64_t{head->edx} << 32);
    for (unsigned index = first_extended_component; index < components; ++index) {
        if (((mask >> index) & 1) == 0) continue;
        const auto* there = xen::find_leaf(policy, 0xD, index);
        const auto here = std::ranges::find(source, index, &XsaveComponent::index);
        if (there == nullptr || here == source.end()) {
            audit.adapted("XSAVE layout", fmt::format("component {} cannot be compared", index));
            continue;
        }
        if (there->ebx != here->offset || there->eax != here->size)
            audit.violated(
                "xsave-layout",
                fmt::format("component {} lies at {} with {} bytes for the guest, at {} with {} bytes in "
                            "the destination",
                            index, here->offset, here->size, there->ebx, there->eax));
    }
}

/// CPUID leaf 1 EAX: families above 15 and models above 15 have their upper parts in bits of their own.
std::uint32_t signature(const CpuFacts& cpu) {
    const auto family = std::min(cpu.family, 15U), extended = cpu.family - family;
    return (extended & 0xFF) << 20 | ((cpu.model >> 4) & 0xF) << 16 | family << 8 | (cpu.model & 0xF) << 4 |
           (cpu.stepping & 0xF);
}

void show_identity(xen::CpuidPolicy& policy, const CpuFacts& cpu, AuditReport& audit) {
    const auto theirs = cpu_identity(policy);
    if (!theirs) {
        audit.violated("cpu-policy", theirs.error().text());
        return;
    }
    if (theirs->vendor != cpu.vendor)
        audit.violated("cpu-vendor",
                       fmt::format("the guest saw {}, the destination is {}", cpu.vendor, theirs->vendor));
    find_leaf(policy, 1)->eax = signature(cpu);
    if (auto* extended = find_leaf(policy, 0x80000001); extended != nullptr && extended->eax != 0)
        extended->eax = signature(cpu);
    audit.carried("CPU identity", fmt::format("{} family {} model {} stepping {}", cpu.vendor, cpu.family,
                                              cpu.model, cpu.stepping));
    if (cpu.brand.empty()) return;
    std::array<char, brand_bytes> text{};
    std::ranges::copy_n(cpu.brand.begin(),
                        static_cast<std::ptrdiff_t>(std::min(cpu.brand.size(), text.size() - 1)),
                        text.begin());
    for (std::size_t at = 0; at < brand_bytes; at += 4) {
        auto* leaf = find_leaf(policy, 0x80000002 + static_cast<std::uint32_t>(at / brand_leaf_bytes));
        if (leaf == nullptr) return;
        std::uint32_t value = 0;
        for (unsigned byte = 0; byte < 4; ++byte)
            value |= std::uint32_t{static_cast<unsigned char>(text[at + byte])} << (byte * 8);
        *register_of(*leaf, static_cast<CpuidRegister>(at % brand_leaf_bytes / 4)) = value;
    }
}

void show_address_width(xen::CpuidPolicy& policy, const CpuFacts& cpu, AuditReport& audit) {
    auto* leaf = find_leaf(policy, 0x80000008);
    if (leaf == nullptr || !cpu.phys_bits) return;
    const auto there = leaf->eax & 0xFF;
    if (*cpu.phys_bits > there)
        audit.violated("cpu-address-width",
                       fmt::format("the guest saw {} bits, the destination has {}", *cpu.phys_bits, there));
    else
        leaf->eax = (leaf->eax & ~0xFFU) | *cpu.phys_bits;
}

/// KVM's leaf 0x40000001: what of its interface the guest was offered. Whether it uses it shows only in its
/// state.
void note_kvm_interface(const CpuFacts& cpu, AuditReport& audit) {
    constexpr std::uint32_t kvm_features = 0x40000001;
    for (const auto& word : cpu.words)
        if (word.leaf == kvm_features && word.reg == eax && word.bits != 0)
            audit.adapted("KVM interface",
                          "the guest was offered KVM's clock and more, which disappears; a guest that uses "
                          "it is refused "
                          "after the pause (kvm-paravirtual)");
}

}  // namespace

void plan_cpu_policy(const XenPlanInput& in, XenPlan& plan, AuditReport& audit) {
    plan.cpuid = in.xen.cpuid;
    plan.msrs = in.xen.msrs;
    if (plan.cpuid.empty()) {
        audit.violated("cpu-policy", "there is no CPUID policy in the template");
        return;
    }
    if (!in.facts) {
        audit.violated("cpu-policy", "nothing says which CPU the guest saw, as there is no --source-qmp");
        return;
    }
    const auto& cpu = in.facts->cpu;
    const auto saw = shown_features(cpu);
    show_identity(plan.cpuid, cpu, audit);
    narrow_features(plan.cpuid, saw);
    narrow_xsave(plan.cpuid);
    show_address_width(plan.cpuid, cpu, audit);
    compare_features(saw, shown_features(plan.cpuid), audit);
    const auto tcg = in.facts->accel == Accel::tcg;
    check_xsave_layout(plan.cpuid, tcg ? tcg_xsave_layout() : std::span<const XsaveComponent>(cpu.xsave),
                       audit);
    if (!tcg) note_kvm_interface(cpu, audit);
}

}  // namespace vmferry
