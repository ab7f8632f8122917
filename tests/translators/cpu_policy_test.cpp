#include "translators/cpu_policy.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "tests/translators/plan_fixture.hpp"
#include "translators/cpu_features.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

xen::CpuidLeaf& leaf(xen::CpuidPolicy& policy, std::uint32_t number, std::uint32_t subleaf = 0) {
    const auto* found = xen::find_leaf(policy, number, subleaf);
    REQUIRE(found != nullptr);
    return policy[static_cast<std::size_t>(found - policy.data())];
}

/// A destination that shows exactly what the policy does.
CpuFacts same_cpu(const xen::CpuidPolicy& policy) {
    CpuFacts facts{.vendor = "AuthenticAMD",
                   .family = 15,
                   .model = 107,
                   .stepping = 1,
                   .phys_bits = 40,
                   .words = {},
                   .xsave = {}};
    for (const auto& word : feature_words()) {
        const auto* entry = xen::find_leaf(policy, word.leaf, word.subleaf);
        if (entry == nullptr) continue;
        const std::uint32_t registers[] = {entry->eax, entry->ebx, entry->ecx, entry->edx};
        facts.words.push_back(
            {word.leaf, word.subleaf, word.reg, registers[static_cast<std::size_t>(word.reg)]});
    }
    facts.xsave = {{2, 576, 256}};
    return facts;
}

std::uint32_t& bits(CpuFacts& facts, std::uint32_t number, CpuidRegister reg) {
    const auto found = std::ranges::find_if(
        facts.words, [&](const FeatureWord& f) { return f.leaf == number && f.reg == reg; });
    REQUIRE(found != facts.words.end());
    return found->bits;
}

/// The text of the first finding for this rule or subject; "" if there is none.
std::string finding(const AuditReport& audit, std::string_view rule, Verdict verdict) {
    for (const auto& f : audit.findings())
        if (f.rule == rule && f.verdict == verdict) return f.text;
    return "";
}

AuditReport checked(const xen::CpuidPolicy& policy, const CpuFacts& facts, Accel accel = Accel::tcg) {
    AuditReport audit;
    check_cpu(policy, accel, facts, audit);
    return audit;
}

}  // namespace

TEST_CASE("cpu: identity of the recorded guest") {
    const auto identity = cpu_identity(guest_policy());
    REQUIRE(identity);
    CHECK(*identity == CpuIdentity{"AuthenticAMD", 15, 107, 1});
}

TEST_CASE("cpu: family and model with their extended parts") {
    const auto read = [](std::uint32_t eax) {
        auto policy = guest_policy();
        leaf(policy, 1).eax = eax;
        const auto identity = cpu_identity(policy);
        REQUIRE(identity);
        return *identity;
    };
    CHECK(read(0x00050654) == CpuIdentity{"AuthenticAMD", 6, 85, 4});   // Skylake-SP
    CHECK(read(0x00a20f10) == CpuIdentity{"AuthenticAMD", 25, 33, 0});  // Zen 3
    CHECK(read(0x000106a5) == CpuIdentity{"AuthenticAMD", 6, 26, 5});   // Nehalem
    CHECK(read(0x00000f29) == CpuIdentity{"AuthenticAMD", 15, 2, 9});   // Pentium 4
}

TEST_CASE("cpu: a policy that no CPU has is an error") {
    CHECK_FALSE(cpu_identity({}));
    auto policy = guest_policy();
    leaf(policy, 0).ebx = 0x6c6c6c6c;
    const auto identity = cpu_identity(policy);
    REQUIRE_FALSE(identity);
    CHECK(identity.error().record == "X86_CPUID_POLICY");
    CHECK_FALSE(cpu_argument(policy, Accel::tcg, ""));
    CHECK(cpu_argument(policy, Accel::tcg, "EPYC").value_or("") == "EPYC");
}

TEST_CASE("cpu: the argument") {
    auto policy = guest_policy();
    const auto tcg = cpu_argument(guest_policy(), Accel::tcg, "").value_or("");
    CHECK(tcg.starts_with("max,vendor=AuthenticAMD,family=15,model=107,stepping=1,phys-bits=40,"));
    CHECK(tcg.find(fmt::format(",level={:#x},xlevel={:#x},", leaf(policy, 0).eax,
                               leaf(policy, 0x80000000).eax)) != std::string::npos);
    CHECK(tcg.find(",la57=off") != std::string::npos);
    CHECK(tcg.find(",avx2=off") == std::string::npos);      // the guest has it
    CHECK(tcg.find(",amx-tile=off") == std::string::npos);  // TCG has no AMX to switch off
    const auto kvm = cpu_argument(guest_policy(), Accel::kvm, "").value_or("");
    CHECK(kvm.starts_with("host,family=15,model=107,stepping=1,host-phys-bits-limit=40,"));
    CHECK(kvm.find("vendor=") == std::string::npos);
    CHECK(kvm.find(",amx-tile=off") != std::string::npos);
    CHECK(kvm.find(",arch-capabilities=off") != std::string::npos);
    CHECK(cpu_argument({}, Accel::tcg, "").value_or("") == "max");
    CHECK(cpu_argument({}, Accel::kvm, "").value_or("") == "host");

    leaf(policy, 0x80000008).eax = 0x30FF;  // no CPU has 255 address bits
    CHECK(cpu_argument(policy, Accel::tcg, "").value_or("").find("phys-bits") == std::string::npos);
}

TEST_CASE("cpu: a CPU that is the same is carried") {
    const auto policy = guest_policy();
    const auto audit = checked(policy, same_cpu(policy));
    CHECK_FALSE(audit.refused());
    CHECK_FALSE(finding(audit, "CPU identity", Verdict::carried).empty());
    CHECK_FALSE(finding(audit, "CPU features", Verdict::carried).empty());
    CHECK_FALSE(finding(audit, "XSAVE layout", Verdict::carried).empty());
    CHECK(finding(audit, "CPU features", Verdict::adapted).empty());
}

TEST_CASE("cpu: QEMU 7.2's TCG with the plan's argument is enough for the recorded guest") {
    using enum CpuidRegister;
    // feature-words of its first CPU with that argument.
    const CpuFacts facts{.vendor = "AuthenticAMD",
                         .family = 15,
                         .model = 107,
                         .stepping = 1,
                         .phys_bits = 40,
                         .words = {{1, 0, ecx, 0xf6d83203},
                                   {1, 0, edx, 0xfcbfbfd},
                                   {7, 0, ebx, 0x1c80329},
                                   {7, 0, ecx, 0x204},
                                   {0xd, 1, eax, 5},
                                   {0x80000001, 0, ecx, 0x71},
                                   {0x80000001, 0, edx, 0xedd3fbfd}},
                         .xsave = {}};
    const auto audit = checked(guest_policy(), facts);
    CHECK_FALSE(audit.refused());
    CHECK(finding(audit, "CPU features", Verdict::adapted).find("x2apic") != std::string::npos);
    for (const auto& f : audit.findings()) CHECK(f.text.find("shows more") == std::string::npos);
}

TEST_CASE("cpu: what differs is found by name") {
    const auto policy = guest_policy();
    const auto refused = [&](auto change, std::string_view rule) {
        auto facts = same_cpu(policy);
        change(facts);
        const auto audit = checked(policy, facts);
        CHECK(audit.refused());
        return finding(audit, rule, Verdict::refused);
    };
    using enum CpuidRegister;
    CHECK(refused([](CpuFacts& f) { f.vendor = "GenuineIntel"; }, "cpu-vendor").find("GenuineIntel") !=
          std::string::npos);
    CHECK(refused([](CpuFacts& f) { f.model = 1; }, "cpu-model").find("model 107") != std::string::npos);
    CHECK_FALSE(refused([](CpuFacts& f) { f.stepping = 2; }, "cpu-model").empty());
    const auto missing = refused(
        [](CpuFacts& f) {
            bits(f, 7, ebx) &= ~1u;
            bits(f, 1, ecx) &= ~(1u << 28);
        },
        "cpu-features");
    CHECK(missing.find("fsgsbase") != std::string::npos);
    CHECK(missing.find("avx") != std::string::npos);
    CHECK_FALSE(refused([](CpuFacts& f) { f.words.clear(); }, "cpu-features").empty());
    CHECK_FALSE(refused([](CpuFacts& f) { f.phys_bits = 36; }, "cpu-address-width").empty());
}

TEST_CASE("cpu: hints may be missing, and more is reported") {
    using enum CpuidRegister;
    const auto policy = guest_policy();
    auto facts = same_cpu(policy);
    bits(facts, 7, ebx) &= ~(1u << 9);   // ERMS
    bits(facts, 1, ecx) &= ~(1u << 21);  // x2APIC
    REQUIRE((bits(facts, 1, edx) & 1u << 22) != 0);
    bits(facts, 1, edx) &= ~(1u << 22);  // ACPI, which KVM does not show
    bits(facts, 7, ecx) |= 1u << 16;     // LA57
    const auto audit = checked(policy, facts);
    CHECK_FALSE(audit.refused());
    std::string adapted;
    for (const auto& f : audit.findings())
        if (f.verdict == Verdict::adapted) adapted += f.text + "\n";
    CHECK(adapted.find("erms") != std::string::npos);
    CHECK(adapted.find("x2apic") != std::string::npos);
    CHECK(adapted.find("CPUID 0x1 EDX bit 22") != std::string::npos);
    CHECK(adapted.find("more than the guest saw at boot: la57") != std::string::npos);
}

TEST_CASE("cpu: XSAVE components must lie at the same place") {
    auto policy = guest_policy();
    leaf(policy, 0xD, 0).eax = 0x207;            // with PKRU
    policy.push_back({0xD, 9, 8, 0x340, 0, 0});  // AMD packs it behind AVX
    auto facts = same_cpu(policy);
    CHECK(finding(checked(policy, facts), "xsave-layout", Verdict::refused).find("component 9") !=
          std::string::npos);  // TCG has it at 2688
    facts.xsave = {{2, 576, 256}, {9, 0x340, 8}};
    CHECK_FALSE(checked(policy, facts, Accel::kvm).refused());
    facts.xsave = {{2, 576, 256}};
    CHECK_FALSE(finding(checked(policy, facts, Accel::kvm), "xsave-layout", Verdict::refused).empty());
    policy.pop_back();  // offered, not described
    CHECK_FALSE(finding(checked(policy, facts, Accel::kvm), "xsave-layout", Verdict::refused).empty());
}

TEST_CASE("cpu: without a policy nothing can be compared") {
    const auto audit = checked({}, same_cpu(guest_policy()));
    CHECK_FALSE(finding(audit, "cpu-policy", Verdict::refused).empty());
}

TEST_CASE("cpu: feature names are unique, and no bit is named twice") {
    const auto names = named_features();
    for (std::size_t i = 0; i < names.size(); ++i) {
        CAPTURE(names[i].name);
        CHECK(std::ranges::find(feature_words(), names[i].word) != feature_words().end());
        for (std::size_t j = i + 1; j < names.size(); ++j) {
            CHECK(names[i].name != names[j].name);
            CHECK_FALSE((names[i].word == names[j].word && names[i].bit == names[j].bit));
        }
    }
    CHECK(feature_name({7, 0, CpuidRegister::ebx}, 5) == "avx2");
    CHECK(feature_name({7, 2, CpuidRegister::edx}, 5) == "CPUID 0x7.2 EDX bit 5");
    CHECK(feature_name({0x80000021, 0, CpuidRegister::eax}, 2) == "CPUID 0x80000021 EAX bit 2");
}

TEST_CASE("cpu: the host's XSAVE layout is the CPU's") {
    // AVX, where there is one, lies behind the legacy area and the header on every CPU.
    for (const auto& component : host_xsave_layout()) {
        CHECK(component.index >= 2);
        CHECK(component.size > 0);
        if (component.index == 2) {
            CHECK(component.offset == 576);
            CHECK(component.size == 256);
        }
    }
}
