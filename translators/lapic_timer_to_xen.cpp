// QEMU's LAPIC timer on Xen; the other direction is lapic_timer.cpp.
#include <algorithm>
#include <bit>
#include <limits>

#include <fmt/format.h>

#include "translators/lapic_timer.hpp"

namespace vmferry {
namespace {

constexpr std::uint64_t max_count = std::numeric_limits<std::uint32_t>::max();
/// ns of one undivided count.
constexpr std::uint64_t xen_ns = 1'000'000'000 / xen_lapic_clock_hz;

std::uint32_t count_of(std::uint64_t ns, std::uint32_t divider) {
    const auto unit = xen_ns * divider;
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>((ns + unit / 2) / unit, 1, max_count));
}

}  // namespace

std::uint32_t divider_of(std::uint32_t divide_configuration) {
    const auto code = (divide_configuration & 3) | (divide_configuration >> 1 & 4);
    return std::uint32_t{1} << ((code + 1) & 7);
}

std::string adapt_lapic_timer_to_xen(Lapic& lapic, unsigned number, Firmware firmware, Accel source,
                                     AuditReport& audit) {
    constexpr std::uint32_t periodic = 1, deadline = 2, masked = 1u << 16;
    const auto mode = lapic.lvt[0] >> 17 & 3;
    lapic.clock_hz = xen_lapic_clock_hz;
    if (mode == deadline) {
        lapic.expiry_ns.reset();
        return {};
    }
    const auto old_divider = lapic.divider;
    const auto old_count = lapic.initial_count;
    if (firmware == Firmware::hvmloader) {
        lapic.divider = divider_of(lapic.divide_configuration);
    } else {
        lapic.divider =
            static_cast<std::uint32_t>(std::bit_floor(std::max<std::uint64_t>(old_divider / xen_ns, 1)));
        lapic.divide_configuration = divide_configuration(lapic.divider);
        if (old_divider < xen_ns && old_count != 0 && !(lapic.lvt[0] & masked))
            audit.violated("lapic-divider", fmt::format("vCPU {}: divider {}", number, old_divider));
    }
    if (mode == periodic) {
        // TCG's period is a count longer than the register says.
        const auto counts = std::uint64_t{old_count} + (source == Accel::tcg ? 1 : 0);
        lapic.initial_count = old_count == 0 ? 0 : count_of(counts * old_divider, lapic.divider);
    } else {
        lapic.initial_count =
            !lapic.expiry_ns
                ? 0
                : count_of(static_cast<std::uint64_t>(std::max<std::int64_t>(*lapic.expiry_ns, 0)),
                           lapic.divider);
    }
    if (old_count == 0 && lapic.initial_count == 0) return {};
    return fmt::format("LAPIC timer {}: 1000 MHz / {} × {} becomes 100 MHz / {} × {}",
                       mode == periodic ? "periodic" : "one-shot", old_divider, old_count, lapic.divider,
                       lapic.initial_count);
}

}  // namespace vmferry
