#include "translators/clocks.hpp"

#include <doctest/doctest.h>

namespace vmferry {
namespace {

TEST_CASE("the virtual clock shows the PM timer's low 24 bits, as early as it can") {
    constexpr std::int64_t longest = 4'687'000'000;
    for (const std::uint32_t timer : {0u, 1u, 0xFFFFFFu, 0x123456u, 0x3A96D543u, 0xFFFFFFFFu})
        for (const std::int64_t at_least :
             {0ll, 1ll, 999'999'999ll, 5'000'000'000'000ll, 31'536'000'000'000'000ll}) {
            const auto clock = virtual_clock_for(timer, at_least);
            CHECK((pm_timer_at(clock) & 0xFFFFFF) == (timer & 0xFFFFFF));
            CHECK(clock >= at_least);
            CHECK(clock - at_least < longest);
            if (clock > at_least) CHECK((pm_timer_at(clock - 1) & 0xFFFFFF) != (timer & 0xFFFFFF));
        }
}

TEST_CASE("a clock that is right already does not move") {
    const std::int64_t now = 123'456'789'012;
    CHECK(virtual_clock_for(static_cast<std::uint32_t>(pm_timer_at(now)), now) == now);
}

TEST_CASE("the PM timer's overflow is the next change of bit 23") {
    for (const std::int64_t now : {0ll, 2'000'000'000ll, 2'343'500'000ll, 777'000'000'000ll}) {
        const auto count = pm_timer_at(now), next = pm_timer_overflow(now);
        CHECK(next > count);
        CHECK(next - count <= 0x800000);
        CHECK(next % 0x800000 == 0);
    }
}

TEST_CASE("scale does not overflow on the way") {
    CHECK(scale(31'536'000'000'000'000, pm_timer_hz, ns_per_second) == 112'884'531'120'000);
}

PitChannel channel(std::uint8_t mode, std::uint32_t count) {
    PitChannel result;
    result.mode = mode;
    result.count = count;
    return result;
}
constexpr std::int64_t tick(std::int64_t ticks) {
    return ticks * 1'000'000'000 / 1193182;
}

TEST_CASE("when the output of a PIT channel changes next") {
    constexpr std::int64_t now = 10'000'000'000;
    CHECK(pit_next_transition(channel(2, 11932), now) == now + tick(11933));
    CHECK(pit_next_transition(channel(3, 65536), now) == now + tick(32768));
    CHECK(pit_next_transition(channel(3, 3), now) == now + tick(2));
    CHECK(pit_next_transition(channel(0, 1000), now) == now + tick(1000));
    CHECK(pit_next_transition(channel(4, 1000), now) == now + tick(1000));

    auto running = channel(0, 1000);
    running.loaded_ago_ns = tick(1000) + 1000;
    CHECK(pit_next_transition(running, now) == timer_off);
    running.mode = 4;
    running.loaded_ago_ns = tick(1000) + 10;
    CHECK(pit_next_transition(running, now) > now);
    running.loaded_ago_ns = tick(1002);
    CHECK(pit_next_transition(running, now) == timer_off);

    // In the middle of a later period the next change belongs to that period.
    auto square = channel(3, 1000);
    square.loaded_ago_ns = tick(2700);
    CHECK(pit_next_transition(square, now) - now == doctest::Approx(tick(300)).epsilon(0.01));
    auto rate = channel(2, 1000);
    rate.loaded_ago_ns = tick(2700);
    CHECK(pit_next_transition(rate, now) - now == doctest::Approx(tick(301)).epsilon(0.01));
}

TEST_CASE("PIT channels that no 8254 can hold are put right") {
    auto never = channel(0xFF, 65536);
    CHECK(sanitise(never));
    CHECK(never.mode == 3);
    auto alias = channel(7, 65536);
    CHECK(sanitise(alias));
    CHECK(alias.mode == 3);
    auto rate = channel(6, 100);
    CHECK(sanitise(rate));
    CHECK(rate.mode == 2);
    auto zero = channel(2, 0);
    CHECK(sanitise(zero));
    CHECK(zero.count == 65536);
    auto state = channel(2, 1);
    state.read_state = 9;
    CHECK(sanitise(state));
    CHECK(state.read_state == 0);
    auto good = channel(2, 65536);
    good.read_state = 4;
    CHECK(!sanitise(good));
}

Rtc rtc(std::uint8_t a, std::uint8_t b) {
    Rtc clock;
    clock.cmos[0xA] = a;
    clock.cmos[0xB] = b;
    clock.cmos[1] = clock.cmos[3] = clock.cmos[5] = 0xFF;
    return clock;
}

TEST_CASE("rate of the RTC's periodic interrupt") {
    CHECK(rtc_period_ticks(rtc(0x26, 0x02)) == 0);
    CHECK(rtc_period_ticks(rtc(0x26, 0x42)) == 32);     // 1024 Hz
    CHECK(rtc_period_ticks(rtc(0x2F, 0x42)) == 16384);  // 2 Hz
    CHECK(rtc_period_ticks(rtc(0x21, 0x42)) == 128);    // 256 Hz
    CHECK(rtc_period_ticks(rtc(0x22, 0x42)) == 256);    // 128 Hz
    CHECK(rtc_period_ticks(rtc(0x20, 0x42)) == 0);
}

TEST_CASE("the RTC's alarm") {
    // 2023-11-14 22:13:20
    constexpr std::int64_t now = 1'700'000'000;
    auto clock = rtc(0x26, 0x02);
    CHECK(rtc_seconds_to_alarm(clock, now) == 1);
    clock.cmos[1] = 0x25;  // any minute and hour, second 25 (BCD)
    CHECK(rtc_seconds_to_alarm(clock, now) == 5);
    clock.cmos[3] = 0x13;
    CHECK(rtc_seconds_to_alarm(clock, now) == 5);
    clock.cmos[1] = 0x20;  // this very second is over
    CHECK(rtc_seconds_to_alarm(clock, now) == 3600);
    clock.cmos[5] = 0x22;
    CHECK(rtc_seconds_to_alarm(clock, now) == 86400);
    clock.cmos[5] = 0x23;
    CHECK(rtc_seconds_to_alarm(clock, now) == 3600);
    clock.cmos[0xB] = 0x00;  // 12-hour mode: 11 p.m.
    clock.cmos[5] = 0x91;
    CHECK(rtc_seconds_to_alarm(clock, now) == 3600);
    clock.cmos[5] = 0x11;
    CHECK(rtc_seconds_to_alarm(clock, now) == 13 * 3600);
    clock.cmos[0xB] = 0x06;  // binary, 24-hour
    clock.cmos[1] = 21;
    clock.cmos[3] = 13;
    clock.cmos[5] = 22;
    CHECK(rtc_seconds_to_alarm(clock, now) == 1);
}

TEST_CASE("the RTC's times on the host's clock") {
    constexpr std::int64_t now = 1'700'000'000'250'000'000;
    auto clock = rtc(0x26, 0x42);
    clock.offset_ns = -3600 * ns_per_second + 500'000'000;
    const auto times = rtc_times(clock, now);
    CHECK(times.base_s == 1'700'000'000 - 3600);
    CHECK(times.offset_ns == 750'000'000);
    CHECK(times.update_ns == now + 250'000'000);
    CHECK(times.alarm_ns == times.update_ns);
    CHECK(times.periodic_ns > now);
    CHECK(times.periodic_ns - now <= 1'000'000'000 / 1024 + 1);

    clock.cmos[0xA] = 0x76;  // dividers in reset
    clock.cmos[0xB] = 0x02;
    const auto still = rtc_times(clock, now);
    CHECK(still.update_ns == timer_off);
    CHECK(still.periodic_ns == timer_off);

    clock.offset_ns = -now - ns_per_second / 2;  // before 1970
    CHECK(rtc_times(clock, now).base_s == -1);
    CHECK(rtc_times(clock, now).offset_ns == ns_per_second / 2);
}

}  // namespace
}  // namespace vmferry
