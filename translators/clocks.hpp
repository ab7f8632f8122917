// Time bases: which virtual clock the destination starts with, and what the platform's timers mean on it.
//
// QEMU's devices keep absolute times on QEMU_CLOCK_VIRTUAL, which goes on from timer.cpu_clock_offset; the
// RTC keeps host time (CLOCK_REALTIME). The neutral machine has durations only.
#pragma once

#include <cstdint>
#include <optional>

#include "translators/machine.hpp"

namespace vmferry {

inline constexpr std::int64_t ns_per_second = 1'000'000'000;
inline constexpr std::int64_t timer_off = -1;  ///< QEMU's word for a timer that is not armed

/// floor(value · numerator / denominator) without overflow on the way. Precondition: the result fits.
[[nodiscard]] std::uint64_t scale(std::uint64_t value, std::uint64_t numerator, std::uint64_t denominator);

/// The PM timer of QEMU has no counter: it is floor(V · 3 579 545 Hz) mod 2^24. So the smallest V ≥
/// `at_least_ns` that shows the low 24 bits of `pm_timer`; later by at most 4.687 s.
[[nodiscard]] std::int64_t virtual_clock_for(std::uint32_t pm_timer, std::int64_t at_least_ns);

/// The PM timer's count at virtual time `now_ns`, all bits.
[[nodiscard]] std::uint64_t pm_timer_at(std::int64_t now_ns);

/// When bit 23 of the PM timer changes next (ACPI 4.8.3.3), in counts.
[[nodiscard]] std::uint64_t pm_timer_overflow(std::int64_t now_ns);

/// Makes a channel one that counts: Xen before 4.19 sends uninitialised modes, and QEMU divides by the count.
/// Returns whether something was changed.
bool sanitise(PitChannel& channel);

/// Virtual time of the channel's next output change (8254 data sheet, mode definitions), timer_off if there
/// is none.
[[nodiscard]] std::int64_t pit_next_transition(const PitChannel& channel, std::int64_t now_ns);

/// Periodic interrupt of the RTC (MC146818A, table 5): ticks of the 32 768 Hz oscillator, 0 = off.
[[nodiscard]] std::uint32_t rtc_period_ticks(const Rtc& rtc);

/// Seconds from the RTC's present second to the next one that matches the alarm registers, 1 … 86 400.
/// `now_s`: the guest's clock, seconds since 1970.
[[nodiscard]] std::uint32_t rtc_seconds_to_alarm(const Rtc& rtc, std::int64_t now_s);

/// The ACPI PM timer, the RTC and all of that as they stand on QEMU's clocks.
struct RtcTimes {
    std::int64_t base_s = 0;     ///< guest's clock at `last_update`, whole seconds
    std::int64_t offset_ns = 0;  ///< and the rest
    std::int64_t periodic_ns = timer_off, update_ns = timer_off, alarm_ns = 0;
};
[[nodiscard]] RtcTimes rtc_times(const Rtc& rtc, std::int64_t realtime_ns);

}  // namespace vmferry
