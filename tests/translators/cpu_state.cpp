// Processor state that needs a feature, and XSAVE state that nobody sent.
#include "translators/cpu_state.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "tests/translators/plan_fixture.hpp"
#include "translators/fxsave.hpp"

namespace vmferry {
namespace {

constexpr std::uint64_t osxsave = 1u << 18;

Vcpu online(std::uint64_t cr4 = 0) {
    Vcpu vcpu;
    vcpu.online = true;
    vcpu.cr4 = cr4;
    return vcpu;
}

bool refused(const AuditReport& audit, std::string_view rule) {
    return std::ranges::any_of(audit.findings(), [rule](const Finding& finding) {
        return finding.rule == rule && finding.verdict == Verdict::refused;
    });
}

AuditReport checked(const Vcpu& vcpu, Accel accel = Accel::kvm) {
    AuditReport audit;
    check_cpu_state(vcpu, 0, test::guest_policy(), accel, audit);
    return audit;
}

}  // namespace

TEST_CASE("CR4.OSXSAVE without a CPU_XSAVE record: refused, or what the policy offers") {
    AuditReport audit;
    auto vcpu = online(osxsave);
    complete_extended_state(vcpu, 0, test::guest_policy(), Accel::tcg, audit);
    CHECK(refused(audit, "xsave-without-record"));

    AuditReport allowed({"xsave-without-record"});
    vcpu = online(osxsave);
    complete_extended_state(vcpu, 0, test::guest_policy(), Accel::tcg, allowed);
    CHECK_FALSE(allowed.refused());
    REQUIRE(vcpu.extended);
    CHECK(vcpu.extended->xcr0 == (xstate::x87 | xstate::sse | xstate::avx));
}

TEST_CASE("no XSAVE in use and no record: the state after reset") {
    AuditReport audit;
    auto vcpu = online();
    complete_extended_state(vcpu, 0, test::guest_policy(), Accel::tcg, audit);
    CHECK(audit.findings().empty());
    REQUIRE(vcpu.extended);
    CHECK(vcpu.extended->xcr0 == 1);
    // A record that is there is left alone, and an offline vCPU needs none.
    vcpu.extended->xcr0 = 7;
    complete_extended_state(vcpu, 0, test::guest_policy(), Accel::tcg, audit);
    CHECK(vcpu.extended->xcr0 == 7);
    Vcpu offline;
    complete_extended_state(offline, 0, test::guest_policy(), Accel::tcg, audit);
    CHECK_FALSE(offline.extended);
}

TEST_CASE("a policy without XSAVE has nothing against XCR0 as after reset") {
    auto policy = test::guest_policy();
    std::erase_if(policy, [](const auto& leaf) { return leaf.leaf == 0xD; });
    REQUIRE_FALSE(policy.empty());
    auto vcpu = online();
    AuditReport audit;
    complete_extended_state(vcpu, 0, policy, Accel::tcg, audit);
    check_cpu_state(vcpu, 0, policy, Accel::tcg, audit);
    CHECK_FALSE(audit.refused());
    vcpu.extended->xcr0 = 3;
    check_cpu_state(vcpu, 0, policy, Accel::tcg, audit);
    CHECK(refused(audit, "cpu-state"));
}

TEST_CASE("bits of CR4, EFER and XCR0 need their feature") {
    struct Row {
        const char* name;
        std::uint64_t cr4, efer, xcr0;
        Accel accel;
        const char* rule;  ///< nullptr: nothing to say
    };
    constexpr Row rows[] = {
        {"a long-mode kernel", 0x6F0, 0xD01, 1, Accel::tcg, nullptr},
        {"PCID under KVM, which the policy does not have", 1u << 17, 0, 1, Accel::kvm, "cpu-state"},
        {"SMAP, which the policy does not have", 1u << 21, 0, 1, Accel::kvm, "cpu-state"},
        {"five-level paging", 1u << 12, 0, 1, Accel::kvm, "cpu-state"},
        {"CET, for which QEMU has no place", 1u << 23, 0, 1, Accel::kvm, "cpu-state"},
        {"VME under TCG", 1, 0, 1, Accel::tcg, "cpu-state"},
        {"VMX on", 1u << 13, 0, 1, Accel::kvm, "nested-virtualization"},
        {"SVM on", 0, 1u << 12, 1, Accel::kvm, "nested-virtualization"},
        {"AVX in XCR0", 0, 0, 7, Accel::tcg, nullptr},
        {"AVX-512 in XCR0 without the policy", 0, 0, 0xE7, Accel::kvm, "cpu-state"},
        {"AMX in XCR0", 0, 0, 0x60007, Accel::kvm, "cpu-state"},
    };
    for (const auto& row : rows) {
        CAPTURE(std::string(row.name));
        auto vcpu = online(row.cr4);
        vcpu.efer = row.efer;
        vcpu.extended.emplace().xcr0 = row.xcr0;
        const auto audit = checked(vcpu, row.accel);
        if (row.rule == nullptr)
            CHECK_FALSE(audit.refused());
        else
            CHECK(refused(audit, row.rule));
    }
}

}  // namespace vmferry
