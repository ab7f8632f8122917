#include "translators/lapic_timer.hpp"

#include <doctest/doctest.h>

namespace vmferry {
namespace {

Lapic xen_timer(std::uint32_t lvt, std::uint32_t divider, std::uint32_t count) {
    Lapic lapic;
    lapic.lvt[0] = lvt;
    lapic.divider = divider;
    lapic.divide_configuration = divide_configuration(divider);
    lapic.initial_count = count;
    lapic.clock_hz = 100'000'000;
    if (count != 0) lapic.expiry_ns = std::int64_t{count} * divider * 10;
    return lapic;
}
constexpr std::uint32_t one_shot = 0xEC, periodic = 0x200EC, deadline = 0x400EC, masked = 0x10000;

TEST_CASE("divide configuration register") {
    CHECK(divide_configuration(1) == 0xB);
    CHECK(divide_configuration(2) == 0x0);
    CHECK(divide_configuration(4) == 0x1);
    CHECK(divide_configuration(8) == 0x2);
    CHECK(divide_configuration(16) == 0x3);
    CHECK(divide_configuration(32) == 0x8);
    CHECK(divide_configuration(64) == 0x9);
    CHECK(divide_configuration(128) == 0xA);
}

TEST_CASE("one-shot under TCG: exact first expiry, slower divider behind the guest's back") {
    auto lapic = xen_timer(one_shot, 16, 17917);
    CHECK(!adapt_lapic_timer(lapic, Firmware::hvmloader, Accel::tcg).empty());
    CHECK(lapic.divider == 128);
    CHECK(lapic.divide_configuration == 0x3);
    CHECK(lapic.initial_count == 17917);
    CHECK(*lapic.expiry_ns == 17917 * 160);
    CHECK(lapic.clock_hz == 1'000'000'000);
}

TEST_CASE("one-shot under KVM: the divider is TDCR, the count makes the first expiry right") {
    auto lapic = xen_timer(one_shot, 16, 16987);
    CHECK(!adapt_lapic_timer(lapic, Firmware::hvmloader, Accel::kvm).empty());
    CHECK(lapic.divider == 128);
    CHECK(divider_of(lapic.divide_configuration) == 128);
    CHECK(own_divider(lapic.divide_configuration) == 16);
    CHECK(lapic.initial_count == 16987ull * 160 / 128);

    auto huge = xen_timer(one_shot, 128, 0xFFFFFFFF);
    static_cast<void>(adapt_lapic_timer(huge, Firmware::hvmloader, Accel::kvm));
    CHECK(huge.initial_count == 0xFFFFFFFF);
}

TEST_CASE("one-shot: the divider is never slower than the guest's count") {
    for (std::uint32_t divider = 1; divider <= 128; divider *= 2) {
        auto lapic = xen_timer(one_shot, divider, 1000);
        static_cast<void>(adapt_lapic_timer(lapic, Firmware::hvmloader, Accel::tcg));
        CHECK(lapic.divider <= 10 * divider);
        CHECK((lapic.divider == 128 || 2 * lapic.divider > 10 * divider));
    }
}

TEST_CASE("periodic: ten times the count, same divider, same period") {
    auto tcg = xen_timer(periodic, 16, 62500);  // 10 ms
    static_cast<void>(adapt_lapic_timer(tcg, Firmware::hvmloader, Accel::tcg));
    CHECK(tcg.divider == 16);
    CHECK(tcg.divide_configuration == 0x3);
    CHECK((std::uint64_t{tcg.initial_count} + 1) * tcg.divider == 10'000'000);
    CHECK(*tcg.expiry_ns == 10'000'000);

    auto kvm = xen_timer(periodic, 16, 62500);
    static_cast<void>(adapt_lapic_timer(kvm, Firmware::hvmloader, Accel::kvm));
    CHECK(std::uint64_t{kvm.initial_count} * kvm.divider == 10'000'000);
}

TEST_CASE("periodic with a count that does not fit takes a larger divider") {
    auto lapic = xen_timer(periodic, 1, 0x40000000);
    static_cast<void>(adapt_lapic_timer(lapic, Firmware::hvmloader, Accel::kvm));
    CHECK(lapic.divider == 4);
    CHECK(divider_of(lapic.divide_configuration) == 4);
    CHECK(own_divider(lapic.divide_configuration) == 1);
    CHECK(std::uint64_t{lapic.initial_count} * lapic.divider == 0x40000000ull * 10);
}

TEST_CASE("TSC-deadline mode and masked timers") {
    auto tsc = xen_timer(deadline, 16, 5);
    tsc.tsc_deadline = 12345;
    CHECK(adapt_lapic_timer(tsc, Firmware::hvmloader, Accel::kvm).empty());
    CHECK(!tsc.expiry_ns);
    CHECK(tsc.tsc_deadline == 12345);
    CHECK(tsc.divider == 16);

    auto quiet = xen_timer(one_shot | masked, 16, 1000);
    static_cast<void>(adapt_lapic_timer(quiet, Firmware::hvmloader, Accel::tcg));
    CHECK(!quiet.expiry_ns);
}

TEST_CASE("a timer at QEMU's rate stays as it is") {
    auto lapic = xen_timer(one_shot, 16, 1000);
    lapic.clock_hz = qemu_lapic_clock_hz;
    const auto before = lapic;
    CHECK(adapt_lapic_timer(lapic, Firmware::hvmloader, Accel::tcg).empty());
    CHECK(lapic == before);
}

/// A timer of QEMU; `left_ns` until it fires.
Lapic qemu_timer(std::uint32_t lvt, std::uint32_t divider, std::uint32_t count, std::int64_t left_ns) {
    Lapic lapic;
    lapic.lvt[0] = lvt;
    lapic.divider = divider;
    lapic.divide_configuration = divide_configuration(divider);
    lapic.initial_count = count;
    lapic.clock_hz = qemu_lapic_clock_hz;
    lapic.expiry_ns = left_ns;
    return lapic;
}

TEST_CASE("to Xen, one-shot: what is left until the expiry, in 10 ns; due: at once; not armed: never") {
    AuditReport audit;
    const auto crossed = [&audit](Lapic lapic) {
        static_cast<void>(adapt_lapic_timer_to_xen(lapic, 0, Firmware::seabios_on_qemu, Accel::tcg, audit));
        return lapic;
    };
    const auto lapic = crossed(qemu_timer(one_shot, 16, 62500, 400'000));
    CHECK(lapic.divider == 1);  // 10 ns for the guest's 16
    CHECK(divider_of(lapic.divide_configuration) == 1);
    CHECK(own_divider(lapic.divide_configuration) == 16);
    CHECK(lapic.initial_count == 40'000);
    CHECK(lapic.clock_hz == xen_lapic_clock_hz);
    for (const std::int64_t left : {0, -1, -5'000'000})
        CHECK(crossed(qemu_timer(one_shot, 16, 62500, left)).initial_count == 1);
    auto off = qemu_timer(one_shot, 16, 62500, 0);
    off.expiry_ns.reset();
    CHECK(crossed(off).initial_count == 0);
    CHECK(crossed(qemu_timer(one_shot, 128, 10, 1280)).divider == 8);  // 80 ns ≤ 128 ns < 160 ns
    CHECK_FALSE(audit.refused());
}

TEST_CASE("to Xen, periodic: the same period") {
    AuditReport audit;
    auto tcg = qemu_timer(periodic, 16, 624'999, 1000);  // 625 000 × 16 ns
    static_cast<void>(adapt_lapic_timer_to_xen(tcg, 0, Firmware::seabios_on_qemu, Accel::tcg, audit));
    CHECK(std::uint64_t{tcg.initial_count} * tcg.divider * 10 == 10'000'000);
    auto kvm = qemu_timer(periodic, 16, 625'000, 1000);
    static_cast<void>(adapt_lapic_timer_to_xen(kvm, 0, Firmware::seabios_on_qemu, Accel::kvm, audit));
    CHECK(std::uint64_t{kvm.initial_count} * kvm.divider * 10 == 10'000'000);
}

TEST_CASE("to Xen: a count shorter than Xen's clock is reported") {
    AuditReport audit;
    auto lapic = qemu_timer(one_shot, 8, 1000, 8000);
    static_cast<void>(adapt_lapic_timer_to_xen(lapic, 0, Firmware::seabios_on_qemu, Accel::tcg, audit));
    CHECK(audit.refused());
    CHECK(audit.findings().front().rule == "lapic-divider");
}

TEST_CASE("there and back twice: the guest finds the divider that it chose, and its period") {
    for (const auto accel : {Accel::tcg, Accel::kvm})
        for (const auto mode : {one_shot, periodic}) {
            AuditReport audit;
            auto from_xen = xen_timer(mode, 16, 62500);
            auto from_qemu = qemu_timer(mode, 16, accel == Accel::tcg ? 624'999 : 625'000, 10'000'000);
            for (int hop = 0; hop < 2; ++hop) {
                static_cast<void>(adapt_lapic_timer(from_xen, Firmware::hvmloader, accel));
                static_cast<void>(adapt_lapic_timer_to_xen(from_xen, 0, Firmware::hvmloader, accel, audit));
                CHECK(from_xen.divider == 16);
                CHECK(from_xen.divide_configuration == 0x3);
                CHECK(from_xen.initial_count == 62500);

                static_cast<void>(
                    adapt_lapic_timer_to_xen(from_qemu, 0, Firmware::seabios_on_qemu, accel, audit));
                static_cast<void>(adapt_lapic_timer(from_qemu, Firmware::seabios_on_qemu, accel));
                CHECK(from_qemu.divider == 16);
                CHECK(from_qemu.divide_configuration == 0x3);
                if (mode == periodic)
                    CHECK(from_qemu.initial_count == (accel == Accel::tcg ? 624'999 : 625'000));
            }
            CHECK_FALSE(audit.refused());
        }
}

TEST_CASE("a divider that the guest has chosen since counts") {
    AuditReport audit;
    auto lapic = xen_timer(one_shot, 16, 62500);
    static_cast<void>(adapt_lapic_timer(lapic, Firmware::hvmloader, Accel::kvm));
    lapic.divide_configuration = divide_configuration(32);  // a write drops the reserved bits
    lapic.divider = 32;
    static_cast<void>(adapt_lapic_timer_to_xen(lapic, 0, Firmware::hvmloader, Accel::kvm, audit));
    CHECK(lapic.divider == 32);
}

}  // namespace
}  // namespace vmferry
