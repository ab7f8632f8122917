#include "translators/lapic_timer.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include <fmt/format.h>

namespace vmferry {
namespace {

constexpr std::uint64_t max_count = std::numeric_limits<std::uint32_t>::max();
enum class Mode { one_shot = 0, periodic = 1, tsc_deadline = 2 };

}  // namespace

std::uint32_t divide_configuration(std::uint32_t divider) {
    const auto code = static_cast<std::uint32_t>(std::countr_zero(divider) + 7) & 7;
    return (code & 3) | (code & 4) << 1;
}

std::string adapt_lapic_timer(Lapic& lapic, Accel accel) {
    const auto mode = static_cast<Mode>(lapic.lvt[0] >> 17 & 3);
    const bool masked = (lapic.lvt[0] >> 16 & 1) != 0;
    const auto source_hz = lapic.clock_hz;
    lapic.clock_hz = qemu_lapic_clock_hz;
    if (mode == Mode::tsc_deadline) {
        lapic.expiry_ns.reset();
        return {};
    }
    // TCG arms the timer by its expiry alone, and a masked timer must not be armed.
    if (masked) lapic.expiry_ns.reset();
    if (source_hz == qemu_lapic_clock_hz || source_hz == 0) return {};

    const auto ratio = qemu_lapic_clock_hz / source_hz;  // ns of one undivided count
    const auto old_divider = lapic.divider;
    const auto old_count = lapic.initial_count;
    std::uint32_t shift = 0;
    if (mode == Mode::periodic) {
        // period = count × divider × ratio. TCG's period is count + 1.
        const std::uint64_t period = std::uint64_t{lapic.initial_count} * old_divider * ratio;
        shift = static_cast<std::uint32_t>(std::countr_zero(old_divider));
        while (period >> shift > max_count && shift < 7) ++shift;
        auto count = std::min(period >> shift, max_count);
        if (accel == Accel::tcg && count > 0) --count;
        lapic.initial_count = static_cast<std::uint32_t>(count);
    } else {
        shift = std::min(7u, static_cast<std::uint32_t>(std::bit_width(ratio * old_divider) - 1));
        // KVM restarts the count from TMICT and knows no expiry: make the first one right.
        if (accel == Accel::kvm)
            lapic.initial_count = static_cast<std::uint32_t>(
                std::min(std::uint64_t{lapic.initial_count} * old_divider * ratio >> shift, max_count));
    }
    lapic.divider = std::uint32_t{1} << shift;
    const bool show = accel == Accel::kvm || mode == Mode::periodic;
    if (show) lapic.divide_configuration = divide_configuration(lapic.divider);
    return fmt::format("LAPIC timer {}: {} MHz / {} × {} becomes {} MHz / {} × {}",
                       mode == Mode::periodic ? "periodic" : "one-shot", source_hz / 1'000'000, old_divider,
                       old_count, qemu_lapic_clock_hz / 1'000'000, lapic.divider, lapic.initial_count);
}

}  // namespace vmferry
