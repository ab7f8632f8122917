// The CPUID policy of the Xen domain: never more than the template's, never more than the guest saw.
#include <algorithm>
#include <bit>

#include <doctest/doctest.h>

#include "tests/translators/xen_plan_fixture.hpp"
#include "translators/cpu_features.hpp"
#include "translators/cpu_policy.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

using enum CpuidRegister;

struct Fixture : XenPlanFixture {
    FeatureWord& word(std::uint32_t leaf, std::uint32_t subleaf, CpuidRegister reg) {
        const auto found = std::ranges::find_if(facts->cpu.words, [&](const FeatureWord& candidate) {
            return candidate.leaf == leaf && candidate.subleaf == subleaf && candidate.reg == reg;
        });
        REQUIRE(found != facts->cpu.words.end());
        return *found;
    }
    static xen::CpuidLeaf leaf(const xen::CpuidPolicy& policy, std::uint32_t number,
                               std::uint32_t subleaf = 0) {
        const auto* found = xen::find_leaf(policy, number, subleaf);
        REQUIRE(found != nullptr);
        return *found;
    }
};

TEST_CASE_FIXTURE(Fixture, "a CPU that shows what the template has leaves it as it is") {
    const auto plan = this->plan();
    CHECK_FALSE(audit.refused());
    REQUIRE(plan.cpuid.size() == xen.cpuid.size());
    for (std::size_t n = 0; n < xen.cpuid.size(); ++n) {
        CHECK(plan.cpuid[n].eax == xen.cpuid[n].eax);
        CHECK(plan.cpuid[n].ebx == xen.cpuid[n].ebx);
        CHECK(plan.cpuid[n].ecx == xen.cpuid[n].ecx);
        CHECK(plan.cpuid[n].edx == xen.cpuid[n].edx);
    }
    CHECK(plan.msrs[0].value == xen.msrs[0].value);
}

TEST_CASE_FIXTURE(Fixture, "what the guest did not see is taken away") {
    constexpr std::uint32_t avx2 = 1U << 5, adx = 1U << 19, erms = 1U << 9;
    word(7, 0, ebx).bits &= ~(adx | erms);
    word(0x80000001, 0, edx).bits &= ~(1U << 27);  // RDTSCP
    const auto policy = plan().cpuid;
    CHECK_FALSE(audit.refused());
    CHECK((leaf(policy, 7).ebx & adx) == 0);
    CHECK((leaf(policy, 7).ebx & avx2) != 0);
    CHECK((leaf(policy, 7).ebx & erms) != 0);  // a hint stays as Xen has it
    CHECK((leaf(policy, 0x80000001).edx & (1U << 27)) == 0);
}

TEST_CASE_FIXTURE(Fixture, "what the platform sets stays Xen's") {
    constexpr std::uint32_t x2apic = 1U << 21, hypervisor = 1U << 31;
    word(1, 0, ecx).bits &= ~(x2apic | hypervisor);
    const auto policy = plan().cpuid;
    CHECK((leaf(policy, 1).ecx & x2apic) != 0);
    CHECK((leaf(policy, 1).ecx & hypervisor) != 0);
}

TEST_CASE_FIXTURE(Fixture, "XSAVE components go with their features") {
    word(1, 0, ecx).bits &= ~(1U << 28);  // AVX
    auto policy = plan().cpuid;
    CHECK(leaf(policy, 0xD, 0).eax == 3);
    CHECK(leaf(policy, 0xD, 0).ecx == 576);
    CHECK(leaf(policy, 0xD, 2).eax == 0);
    CHECK(leaf(policy, 0xD, 1).eax == 5);

    word(1, 0, ecx).bits &= ~(1U << 26);  // XSAVE
    policy = plan().cpuid;
    CHECK(leaf(policy, 0xD, 0).eax == 0);
    CHECK(leaf(policy, 0xD, 0).ecx == 0);
    CHECK(leaf(policy, 0xD, 1).eax == 0);
    CHECK(policy.size() == xen.cpuid.size());
}

TEST_CASE_FIXTURE(Fixture, "a template of a host with more") {
    xen.cpuid.reserve(xen.cpuid.size() + 4);  // the references below stay
    auto& features = *std::ranges::find(xen.cpuid, 7U, &xen::CpuidLeaf::leaf);
    features.ebx |= 0xDC230000;  // AVX-512
    features.ecx |= 1U << 3;     // PKU
    auto& components = *std::ranges::find(xen.cpuid, 0xDU, &xen::CpuidLeaf::leaf);
    components.eax |= 0x2E0;
    components.ecx = 2696;
    xen.cpuid.push_back({0xD, 5, 64, 1088, 0, 0});
    xen.cpuid.push_back({0xD, 6, 512, 1152, 0, 0});
    xen.cpuid.push_back({0xD, 7, 1024, 1664, 0, 0});
    xen.cpuid.push_back({0xD, 9, 8, 2688, 0, 0});
    SUBCASE("gives the guest no more than it saw") {
        const auto policy = plan().cpuid;
        CHECK_FALSE(audit.refused());
        CHECK(leaf(policy, 7).ebx == 0x01880329);
        CHECK(leaf(policy, 0xD, 0).eax == 7);
        CHECK(leaf(policy, 0xD, 0).ecx == 832);
        CHECK(leaf(policy, 0xD, 7).eax == 0);
    }
    SUBCASE("keeps them for a guest that saw them") {
        word(7, 0, ebx).bits = features.ebx;
        word(7, 0, ecx).bits = features.ecx;
        const auto policy = plan().cpuid;
        CHECK_FALSE(audit.refused());
        CHECK(leaf(policy, 0xD, 0).eax == 0x2E7);
        CHECK(leaf(policy, 0xD, 0).ecx == 2696);
    }
    SUBCASE("refuses components at another place") {
        word(7, 0, ebx).bits = features.ebx;
        word(7, 0, ecx).bits = features.ecx;
        xen.cpuid.back().ebx = 832;  // PKU where AMD has it
        (void)plan();
        CHECK(finding("xsave-layout") ==
              "component 9 lies at 2688 with 8 bytes for the guest, at 832 with 8 bytes in the destination");
        CHECK(audit.refused());
    }
}

TEST_CASE_FIXTURE(Fixture, "what the guest saw and the template has not is a risk") {
    word(7, 0, ebx).bits |= 1U << 14;  // MPX
    word(7, 0, ebx).bits |= 1U << 20;  // SMAP
    (void)plan();
    CHECK(finding("cpu-features") == "the destination lacks mpx, smap");
    CHECK(audit.refused());
    options.allow = {"cpu-features"};
    (void)plan();
    CHECK_FALSE(audit.refused());
}

TEST_CASE_FIXTURE(Fixture, "the guest goes on as the CPU that it was") {
    facts->cpu.family = 0x17;
    facts->cpu.model = 0x31;
    facts->cpu.stepping = 2;
    facts->cpu.brand = "A CPU of some brand";
    facts->cpu.phys_bits = 39;
    for (std::uint32_t part = 2; part < 5; ++part)
        xen.cpuid.push_back({0x80000000 + part, xen::CpuidLeaf::no_subleaf, 1, 1, 1, 1});
    const auto policy = plan().cpuid;
    CHECK_FALSE(audit.refused());
    CHECK(leaf(policy, 1).eax == 0x00830F12);
    CHECK(leaf(policy, 0x80000001).eax == 0x00830F12);
    const auto identity = cpu_identity(policy);
    REQUIRE(identity);
    CHECK(identity->family == 0x17);
    CHECK(identity->model == 0x31);
    CHECK(leaf(policy, 0x80000002).eax == 0x50432041);  // "A CP"
    CHECK(leaf(policy, 0x80000003).eax == 0x00646E61);  // "and"
    CHECK(leaf(policy, 0x80000004).edx == 0);
    CHECK(leaf(policy, 0x80000008).eax == 0x3027);
}

TEST_CASE_FIXTURE(Fixture, "a CPU of another vendor, or with more address bits") {
    facts->cpu.vendor = "GenuineIntel";
    facts->cpu.phys_bits = 46;
    (void)plan();
    CHECK(finding("cpu-vendor") == "the guest saw GenuineIntel, the destination is AuthenticAMD");
    CHECK(finding("cpu-address-width") == "the guest saw 46 bits, the destination has 40");
    CHECK(audit.refused());
}

TEST_CASE_FIXTURE(Fixture, "KVM's interface is named before the pages") {
    facts->accel = Accel::kvm;
    facts->tsc_khz = 2'000'000;
    facts->cpu.words.push_back({0x40000001, 0, eax, 0x01007EFB});
    (void)plan();
    CHECK_FALSE(audit.refused());
    CHECK_FALSE(finding("KVM interface").empty());
}

TEST_CASE_FIXTURE(Fixture, "a template without policy") {
    xen.cpuid.clear();
    CHECK(plan().cpuid.empty());
    CHECK(finding("cpu-policy") == "there is no CPUID policy in the template");
}

}  // namespace
