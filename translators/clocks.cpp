#include "translators/clocks.hpp"

#include <algorithm>

namespace vmferry {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t rtc_oscillator_hz = 32768;

/// ceil(value · numerator / denominator)
std::uint64_t scale_up(std::uint64_t value, std::uint64_t numerator, std::uint64_t denominator) {
    return static_cast<std::uint64_t>((static_cast<Wide>(value) * numerator + denominator - 1) / denominator);
}

int from_rtc(std::uint8_t value, bool binary) {
    return binary ? value : (value >> 4) * 10 + (value & 15);
}

}  // namespace

std::uint64_t scale(std::uint64_t value, std::uint64_t numerator, std::uint64_t denominator) {
    return static_cast<std::uint64_t>(static_cast<Wide>(value) * numerator / denominator);
}

std::uint64_t pm_timer_at(std::int64_t now_ns) {
    return scale(static_cast<std::uint64_t>(now_ns), pm_timer_hz, ns_per_second);
}

std::int64_t virtual_clock_for(std::uint32_t pm_timer, std::int64_t at_least_ns) {
    constexpr std::uint64_t mask = 0xFFFFFF;
    const auto count = pm_timer_at(at_least_ns);
    const auto ahead = (pm_timer - count) & mask;
    return ahead == 0 ? at_least_ns
                      : static_cast<std::int64_t>(scale_up(count + ahead, ns_per_second, pm_timer_hz));
}

std::uint64_t pm_timer_overflow(std::int64_t now_ns) {
    return (pm_timer_at(now_ns) + 0x800000) & ~std::uint64_t{0x7FFFFF};
}

bool sanitise(PitChannel& channel) {
    const auto before = channel;
    // Modes 6 and 7 are 2 and 3 (8254: the upper bit is a don't-care there); what is beyond was never set.
    if (channel.mode == 6 || channel.mode == 7)
        channel.mode = static_cast<std::uint8_t>(channel.mode - 4);
    else if (channel.mode > 5)
        channel.mode = 3;
    if (channel.count == 0 || channel.count > 65536) channel.count = 65536;
    if (channel.access_mode > 3) channel.access_mode = 3;
    const auto state = [](std::uint8_t& value) { value = value > 4 ? std::uint8_t{0} : value; };
    state(channel.read_state);
    state(channel.write_state);
    state(channel.count_latched);
    return !(channel == before);
}

std::int64_t pit_next_transition(const PitChannel& channel, std::int64_t now_ns) {
    const std::uint64_t count = channel.count;
    const auto passed = scale(static_cast<std::uint64_t>(std::max<std::int64_t>(0, channel.loaded_ago_ns)),
                              pit_hz, ns_per_second);
    const auto in_period = passed % count, period_start = passed - in_period;
    std::uint64_t next = 0;
    switch (channel.mode) {
        case 2:  // rate generator: low for the last count of each period
            next = in_period == 0 && passed != 0 ? period_start + count : period_start + count + 1;
            break;
        case 3: {  // square wave: high for the longer half
            const auto high = (count + 1) / 2;
            next = in_period < high ? period_start + high : period_start + count;
            break;
        }
        case 4:
        case 5:  // one strobe, one count long
            if (passed > count) return timer_off;
            next = passed < count ? count : count + 1;
            break;
        default:  // modes 0 and 1: once
            if (passed >= count) return timer_off;
            next = count;
            break;
    }
    const auto at =
        now_ns - channel.loaded_ago_ns + static_cast<std::int64_t>(scale(next, ns_per_second, pit_hz));
    return std::max(at, now_ns + 1);
}

std::uint32_t rtc_period_ticks(const Rtc& rtc) {
    constexpr std::uint8_t periodic_interrupt_enable = 0x40;
    if (!(rtc.cmos[0xB] & periodic_interrupt_enable)) return 0;
    unsigned rate = rtc.cmos[0xA] & 0xF;
    if (rate == 0) return 0;
    if (rate <= 2) rate += 7;  // the two fastest rates repeat 3.906 and 7.812 ms
    return 1u << (rate - 1);
}

std::uint32_t rtc_seconds_to_alarm(const Rtc& rtc, std::int64_t now_s) {
    const bool binary = (rtc.cmos[0xB] & 4) != 0, hours24 = (rtc.cmos[0xB] & 2) != 0;
    // Bits 7 and 6 set: any value matches.
    const auto any = [](std::uint8_t value) { return (value & 0xC0) == 0xC0; };
    const std::uint8_t second = rtc.cmos[1], minute = rtc.cmos[3], hour = rtc.cmos[5];
    int alarm_hour = from_rtc(hour & (hours24 ? 0xFF : 0x7F), binary);
    if (!hours24) alarm_hour = alarm_hour % 12 + (hour & 0x80 ? 12 : 0);
    constexpr std::int64_t day = 86400;
    const auto today = ((now_s % day) + day) % day;
    for (std::uint32_t ahead = 1; ahead <= day; ++ahead) {
        const auto at = (today + ahead) % day;
        if ((any(second) || from_rtc(second, binary) == at % 60) &&
            (any(minute) || from_rtc(minute, binary) == at / 60 % 60) &&
            (any(hour) || alarm_hour == at / 3600))
            return ahead;
    }
    return day;  // an alarm that never matches
}

RtcTimes rtc_times(const Rtc& rtc, std::int64_t realtime_ns) {
    const auto guest_ns = realtime_ns + rtc.offset_ns;
    auto seconds = guest_ns / ns_per_second, rest = guest_ns % ns_per_second;
    if (rest < 0) {
        rest += ns_per_second;
        --seconds;
    }
    RtcTimes times{.base_s = seconds, .offset_ns = rest};
    if (const auto period = rtc_period_ticks(rtc); period != 0) {
        const auto ticks =
            scale(static_cast<std::uint64_t>(realtime_ns), rtc_oscillator_hz, ns_per_second) + period;
        times.periodic_ns = static_cast<std::int64_t>(scale(ticks, ns_per_second, rtc_oscillator_hz)) + 1;
    }
    // The update timer is needed for the update-ended and alarm interrupts, and for the flags in register C
    // that a guest may poll. Dividers held in reset (DV2 and DV1): nothing counts.
    const auto next_second = realtime_ns + ns_per_second - rest;
    times.alarm_ns = next_second + std::int64_t{rtc_seconds_to_alarm(rtc, seconds) - 1} * ns_per_second;
    if ((rtc.cmos[0xA] & 0x60) != 0x60) times.update_ns = next_second;
    return times;
}

}  // namespace vmferry
