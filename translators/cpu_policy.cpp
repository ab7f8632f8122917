#include "translators/cpu_policy.hpp"

#include <algorithm>
#include <array>

#include <cpuid.h>

#include "translators/cpu_features.hpp"

namespace vmferry {

namespace {

constexpr std::array<std::string_view, 5> vendors{"GenuineIntel", "AuthenticAMD", "HygonGenuine",
                                                  "CentaurHauls", "  Shanghai  "};
constexpr unsigned first_extended_component = 2;  // 0 and 1 are x87 and SSE, in the legacy area
constexpr unsigned components = 64;

constexpr XsaveComponent tcg_components[] = {{2, 576, 256},  {3, 960, 64},    {4, 1024, 64}, {5, 1088, 64},
                                             {6, 1152, 512}, {7, 1664, 1024}, {9, 2688, 8}};

std::uint32_t register_of(const xen::CpuidLeaf& leaf, CpuidRegister reg) {
    switch (reg) {
        case CpuidRegister::eax:
            return leaf.eax;
        case CpuidRegister::ebx:
            return leaf.ebx;
        case CpuidRegister::ecx:
            return leaf.ecx;
        case CpuidRegister::edx:
            return leaf.edx;
    }
    return 0;
}

std::uint32_t policy_bits(const xen::CpuidPolicy& policy, const CpuidWord& word) {
    const auto* leaf = xen::find_leaf(policy, word.leaf, word.subleaf);
    return leaf == nullptr ? 0 : register_of(*leaf, word.reg);
}

std::uint32_t facts_bits(const CpuFacts& facts, const CpuidWord& word) {
    const auto found = std::ranges::find_if(facts.words, [&](const FeatureWord& f) {
        return f.leaf == word.leaf && f.subleaf == word.subleaf && f.reg == word.reg;
    });
    return found == facts.words.end() ? 0 : found->bits;
}

unsigned guest_phys_bits(const xen::CpuidPolicy& policy) {
    const auto* leaf = xen::find_leaf(policy, 0x80000008);
    const unsigned bits = leaf == nullptr ? 0 : leaf->eax & 0xFF;
    return bits >= 32 && bits <= 52 ? bits : 0;  // the architecture's bounds
}

std::string joined(const std::vector<std::string>& names) {
    std::string all;
    for (const auto& name : names) all += (all.empty() ? "" : ", ") + name;
    return all;
}

void check_identity(const CpuIdentity& guest, const CpuFacts& facts, AuditReport& audit) {
    if (facts.vendor != guest.vendor)
        audit.violated("cpu-vendor",
                       fmt::format("the guest saw {}, the destination is {}", guest.vendor, facts.vendor));
    const auto shown = [](unsigned family, unsigned model, unsigned stepping) {
        return fmt::format("family {} model {} stepping {}", family, model, stepping);
    };
    const auto saw = shown(guest.family, guest.model, guest.stepping);
    const auto gets = shown(facts.family, facts.model, facts.stepping);
    if (saw != gets)
        audit.violated("cpu-model", fmt::format("the guest saw {}, the destination is {}", saw, gets));
    else if (facts.vendor == guest.vendor)
        audit.carried("CPU identity", fmt::format("{} {}", guest.vendor, saw));
}

void check_xsave(const xen::CpuidPolicy& policy, std::span<const XsaveComponent> layout, AuditReport& audit) {
    const auto* head = xen::find_leaf(policy, 0xD, 0);
    if (head == nullptr) return;
    const auto mask = head->eax | (std::uint64_t{head->edx} << 32);
    unsigned equal = 0;
    for (unsigned index = first_extended_component; index < components; ++index) {
        if (((mask >> index) & 1) == 0) continue;
        const auto* guest = xen::find_leaf(policy, 0xD, index);
        const auto there = std::ranges::find(layout, index, &XsaveComponent::index);
        if (guest == nullptr) {
            audit.violated("xsave-layout", fmt::format("component {} is offered, but not described", index));
        } else if (there == layout.end()) {
            audit.violated("xsave-layout", fmt::format("component {} does not exist there", index));
        } else if (guest->ebx != there->offset || guest->eax != there->size) {
            audit.violated("xsave-layout",
                           fmt::format("component {} lies at {} with {} bytes for the guest, at {} with {} "
                                       "bytes in the destination",
                                       index, guest->ebx, guest->eax, there->offset, there->size));
        } else {
            ++equal;
        }
    }
    if (equal > 0) audit.carried("XSAVE layout", fmt::format("{} components at the same place", equal));
}

}  // namespace

Result<CpuIdentity> cpu_identity(const xen::CpuidPolicy& policy) {
    const auto bad = [](std::string field, std::size_t at, std::string found, std::string expected) {
        return stream_error("libxc", "X86_CPUID_POLICY", std::move(field), at, std::move(found),
                            std::move(expected));
    };
    const auto* leaf0 = xen::find_leaf(policy, 0);
    const auto* leaf1 = xen::find_leaf(policy, 1);
    if (leaf0 == nullptr || leaf1 == nullptr)
        return bad("leaves", 0, fmt::format("{} leaves without 0 or 1", policy.size()), "leaves 0 and 1");

    std::string text;
    for (const auto part : {leaf0->ebx, leaf0->edx, leaf0->ecx})
        for (unsigned shift = 0; shift < 32; shift += 8) text += static_cast<char>((part >> shift) & 0xFF);
    const auto* vendor = std::ranges::find(vendors, text);
    if (vendor == vendors.end())
        return bad("leaf 0", static_cast<std::size_t>(leaf0 - policy.data()) * xen::cpuid_leaf_size,
                   fmt::format("{:#x} {:#x} {:#x} as vendor", leaf0->ebx, leaf0->edx, leaf0->ecx),
                   "the name of a maker of x86 CPUs");

    // CPUID leaf 1 EAX: the extended parts count as QEMU reads them back (family only from 15 on).
    const auto eax = leaf1->eax;
    CpuIdentity identity{.vendor = *vendor};
    identity.family = (eax >> 8) & 0xF;
    if (identity.family == 0xF) identity.family += (eax >> 20) & 0xFF;
    identity.model = ((eax >> 4) & 0xF) | ((eax >> 12) & 0xF0);
    identity.stepping = eax & 0xF;
    return identity;
}

Result<std::string> cpu_argument(const xen::CpuidPolicy& policy, Accel accel, std::string_view base) {
    if (!base.empty()) return std::string(base);
    std::string cpu = accel == Accel::kvm ? "host" : "max";
    if (policy.empty()) return cpu;
    VMFERRY_ASSIGN(const auto identity, cpu_identity(policy));
    const auto bits = guest_phys_bits(policy);
    // KVM runs on the host's own vendor; the rest of the identity is data that it shows, as for QEMU's named
    // models. What cannot be shown is found by check_cpu().
    if (accel == Accel::tcg) cpu += fmt::format(",vendor={}", identity.vendor);
    cpu += fmt::format(",family={},model={},stepping={}", identity.family, identity.model, identity.stepping);
    if (bits != 0)
        cpu += fmt::format(",{}={}", accel == Accel::tcg ? "phys-bits" : "host-phys-bits-limit", bits);
    // QEMU ends CPUID where the last feature stands that it shows; the guest may ask for what it saw behind
    // that, the address widths of leaf 0x80000008 for one.
    cpu += fmt::format(",level={:#x}", xen::find_leaf(policy, 0)->eax);
    if (const auto* extended = xen::find_leaf(policy, 0x80000000))
        cpu += fmt::format(",xlevel={:#x}", extended->eax);
    // A process that starts after the crossing asks CPUID anew: it must not find more than the kernel did.
    for (const auto& feature : named_features()) {
        if (accel == Accel::tcg && !feature.tcg) continue;
        if (((policy_bits(policy, feature.word) >> feature.bit) & 1) == 0)
            cpu += fmt::format(",{}=off", feature.name);
    }
    return cpu;
}

void check_cpu(const xen::CpuidPolicy& policy, Accel accel, const CpuFacts& facts, AuditReport& audit) {
    if (policy.empty()) {
        audit.violated("cpu-policy", "there is no CPUID policy in the stream");
        return;
    }
    if (const auto identity = cpu_identity(policy))
        check_identity(*identity, facts, audit);
    else
        audit.violated("cpu-policy", identity.error().text());
    compare_features(shown_features(policy), shown_features(facts), audit);
    check_xsave(policy,
                accel == Accel::tcg ? tcg_xsave_layout() : std::span<const XsaveComponent>(facts.xsave),
                audit);
    if (const auto guest = guest_phys_bits(policy); facts.phys_bits && *facts.phys_bits < guest)
        audit.violated("cpu-address-width",
                       fmt::format("the guest saw {} bits, the destination has {}", guest, *facts.phys_bits));
}

FeatureBits shown_features(const xen::CpuidPolicy& policy) {
    FeatureBits bits;
    for (const auto& word : feature_words()) bits.push_back(policy_bits(policy, word));
    return bits;
}

FeatureBits shown_features(const CpuFacts& facts) {
    FeatureBits bits;
    for (const auto& word : feature_words()) bits.push_back(facts_bits(facts, word));
    return bits;
}

void compare_features(const FeatureBits& saw, const FeatureBits& gets, AuditReport& audit) {
    std::vector<std::string> missing, spared, extra;
    for (std::size_t index = 0; index < feature_words().size(); ++index) {
        const auto& word = feature_words()[index];
        for (unsigned bit = 0; bit < 32; ++bit) {
            const bool had = (saw[index] >> bit) & 1, has = (gets[index] >> bit) & 1;
            if (had == has) continue;
            const auto why = dispensable(word, bit);
            if (had && why.empty()) missing.push_back(feature_name(word, bit));
            if (had && !why.empty()) spared.push_back(fmt::format("{} ({})", feature_name(word, bit), why));
            if (has && why.empty()) extra.push_back(feature_name(word, bit));
        }
    }
    if (!missing.empty()) audit.violated("cpu-features", "the destination lacks " + joined(missing));
    if (missing.empty()) audit.carried("CPU features", "the destination has all that the guest may use");
    if (!spared.empty())
        audit.adapted("CPU features", "the guest saw, and the destination does not show: " + joined(spared));
    if (!extra.empty())
        audit.adapted("CPU features",
                      "the destination shows more than the guest saw at boot: " + joined(extra));
}

std::span<const XsaveComponent> tcg_xsave_layout() {
    return tcg_components;
}

std::vector<XsaveComponent> host_xsave_layout() {
    std::vector<XsaveComponent> layout;
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(0xD, 0, &eax, &ebx, &ecx, &edx) == 0) return layout;
    const auto mask = eax | (std::uint64_t{edx} << 32);
    for (unsigned index = first_extended_component; index < components; ++index) {
        if (((mask >> index) & 1) == 0) continue;
        __cpuid_count(0xD, index, eax, ebx, ecx, edx);
        layout.push_back({index, ebx, eax});
    }
    return layout;
}

}  // namespace vmferry
