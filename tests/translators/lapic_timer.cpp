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
    CHECK(!adapt_lapic_timer(lapic, Accel::tcg).empty());
    CHECK(lapic.divider == 128);
    CHECK(lapic.divide_configuration == 0x3);
    CHECK(lapic.initial_count == 17917);
    CHECK(*lapic.expiry_ns == 17917 * 160);
    CHECK(lapic.clock_hz == 1'000'000'000);
}

TEST_CASE("one-shot under KVM: the divider is TDCR, the count makes the first expiry right") {
    auto lapic = xen_timer(one_shot, 16, 16987);
    CHECK(!adapt_lapic_timer(lapic, Accel::kvm).empty());
    CHECK(lapic.divider == 128);
    CHECK(lapic.divide_configuration == 0xA);
    CHECK(lapic.initial_count == 16987ull * 160 / 128);

    auto huge = xen_timer(one_shot, 128, 0xFFFFFFFF);
    static_cast<void>(adapt_lapic_timer(huge, Accel::kvm));
    CHECK(huge.initial_count == 0xFFFFFFFF);
}

TEST_CASE("one-shot: the divider is never slower than the guest's count") {
    for (std::uint32_t divider = 1; divider <= 128; divider *= 2) {
        auto lapic = xen_timer(one_shot, divider, 1000);
        static_cast<void>(adapt_lapic_timer(lapic, Accel::tcg));
        CHECK(lapic.divider <= 10 * divider);
        CHECK((lapic.divider == 128 || 2 * lapic.divider > 10 * divider));
    }
}

TEST_CASE("periodic: ten times the count, same divider, same period") {
    auto tcg = xen_timer(periodic, 16, 62500);  // 10 ms
    static_cast<void>(adapt_lapic_timer(tcg, Accel::tcg));
    CHECK(tcg.divider == 16);
    CHECK(tcg.divide_configuration == 0x3);
    CHECK((std::uint64_t{tcg.initial_count} + 1) * tcg.divider == 10'000'000);
    CHECK(*tcg.expiry_ns == 10'000'000);

    auto kvm = xen_timer(periodic, 16, 62500);
    static_cast<void>(adapt_lapic_timer(kvm, Accel::kvm));
    CHECK(std::uint64_t{kvm.initial_count} * kvm.divider == 10'000'000);
}

TEST_CASE("periodic with a count that does not fit takes a larger divider") {
    auto lapic = xen_timer(periodic, 1, 0x40000000);
    static_cast<void>(adapt_lapic_timer(lapic, Accel::kvm));
    CHECK(lapic.divider == 4);
    CHECK(lapic.divide_configuration == divide_configuration(4));
    CHECK(std::uint64_t{lapic.initial_count} * lapic.divider == 0x40000000ull * 10);
}

TEST_CASE("TSC-deadline mode and masked timers") {
    auto tsc = xen_timer(deadline, 16, 5);
    tsc.tsc_deadline = 12345;
    CHECK(adapt_lapic_timer(tsc, Accel::kvm).empty());
    CHECK(!tsc.expiry_ns);
    CHECK(tsc.tsc_deadline == 12345);
    CHECK(tsc.divider == 16);

    auto quiet = xen_timer(one_shot | masked, 16, 1000);
    static_cast<void>(adapt_lapic_timer(quiet, Accel::tcg));
    CHECK(!quiet.expiry_ns);
}

TEST_CASE("a timer at QEMU's rate stays as it is") {
    auto lapic = xen_timer(one_shot, 16, 1000);
    lapic.clock_hz = qemu_lapic_clock_hz;
    const auto before = lapic;
    CHECK(adapt_lapic_timer(lapic, Accel::tcg).empty());
    CHECK(lapic == before);
}

}  // namespace
}  // namespace vmferry
