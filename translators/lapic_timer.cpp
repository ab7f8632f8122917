#include "translators/lapic_timer.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include <fmt/format.h>

namespace vmferry {
namespace {

constexpr std::uint64_t max_count = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t xen_ns = 1'000'000'000 / xen_lapic_clock_hz;  ///< of one undivided count; QEMU's: 1
constexpr std::uint32_t max_shift = 7;

enum class Mode { one_shot = 0, periodic = 1, tsc_deadline = 2 };
Mode mode_of(const Lapic& lapic) {
    return static_cast<Mode>(lapic.lvt[0] >> 17 & 3);
}
bool masked(const Lapic& lapic) {
    return (lapic.lvt[0] >> 16 & 1) != 0;
}

constexpr std::uint32_t code_bits = 0xB, own_at = 8, changed = 1u << 12;

/// TDCR that shows `divider` to a guest that has chosen `own`.
std::uint32_t shown(std::uint32_t divider, std::uint32_t own) {
    const auto code = divide_configuration(divider);
    return divider == own ? code : code | divide_configuration(own) << own_at | changed;
}

std::uint32_t clamped(std::uint64_t count) {
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(count, 1, max_count));
}

std::string done(const Lapic& lapic, Mode mode, std::uint64_t from_hz, std::uint32_t old_divider,
                 std::uint32_t old_count) {
    return fmt::format("LAPIC timer {}: {} MHz / {} × {} becomes {} MHz / {} × {}",
                       mode == Mode::periodic ? "periodic" : "one-shot", from_hz / 1'000'000, old_divider,
                       old_count, lapic.clock_hz / 1'000'000, lapic.divider, lapic.initial_count);
}

}  // namespace

std::uint32_t divide_configuration(std::uint32_t divider) {
    const auto code = static_cast<std::uint32_t>(std::countr_zero(divider) + 7) & 7;
    return (code & 3) | (code & 4) << 1;
}

std::uint32_t divider_of(std::uint32_t divide_configuration) {
    const auto code = (divide_configuration & 3) | (divide_configuration >> 1 & 4);
    return std::uint32_t{1} << ((code + 1) & 7);
}

std::uint32_t own_divider(std::uint32_t divide_configuration) {
    return divider_of(divide_configuration & changed ? divide_configuration >> own_at & code_bits
                                                     : divide_configuration);
}

std::string adapt_lapic_timer(Lapic& lapic, Firmware firmware, Accel accel) {
    const auto mode = mode_of(lapic);
    const auto source_hz = lapic.clock_hz;
    lapic.clock_hz = qemu_lapic_clock_hz;
    if (mode == Mode::tsc_deadline) {
        lapic.expiry_ns.reset();
        return {};
    }
    // TCG arms the timer by its expiry alone, and a masked timer must not be armed.
    if (masked(lapic)) lapic.expiry_ns.reset();
    if (source_hz == qemu_lapic_clock_hz || source_hz == 0) return {};

    const auto old_divider = lapic.divider;
    const auto old_count = lapic.initial_count;
    const auto own = own_divider(lapic.divide_configuration);
    const bool at_home = firmware == Firmware::seabios_on_qemu;
    const std::uint64_t period = std::uint64_t{old_count} * old_divider * xen_ns;
    auto shift = static_cast<std::uint32_t>(std::countr_zero(own));
    if (mode == Mode::periodic) {
        while (period >> shift > max_count && shift < max_shift) ++shift;
        auto count = std::min(period >> shift, max_count);
        if (accel == Accel::tcg && count > 0) --count;  // its period is count + 1
        lapic.initial_count = static_cast<std::uint32_t>(count);
    } else if (!at_home) {
        shift = std::min(max_shift, static_cast<std::uint32_t>(std::bit_width(xen_ns * own) - 1));
        // KVM restarts the count from TMICT and knows no expiry: make the first one right.
        if (accel == Accel::kvm)
            lapic.initial_count = static_cast<std::uint32_t>(std::min(period >> shift, max_count));
    }
    lapic.divider = std::uint32_t{1} << shift;
    const bool show = at_home || accel == Accel::kvm || mode == Mode::periodic;
    if (show) lapic.divide_configuration = shown(lapic.divider, own);
    return done(lapic, mode, source_hz, old_divider, old_count);
}

std::string adapt_lapic_timer_to_xen(Lapic& lapic, unsigned number, Firmware firmware, Accel source,
                                     AuditReport& audit) {
    const auto mode = mode_of(lapic);
    const auto source_hz = lapic.clock_hz;
    lapic.clock_hz = xen_lapic_clock_hz;
    if (mode == Mode::tsc_deadline) {
        lapic.expiry_ns.reset();
        return {};
    }
    const auto old_divider = lapic.divider;
    const auto old_count = lapic.initial_count;
    const auto own = own_divider(lapic.divide_configuration);
    if (firmware == Firmware::hvmloader) {
        lapic.divider = own;
    } else {
        lapic.divider = static_cast<std::uint32_t>(std::bit_floor(std::max<std::uint64_t>(own / xen_ns, 1)));
        if (own < xen_ns && old_count != 0 && !masked(lapic))
            audit.violated("lapic-divider", fmt::format("vCPU {}: divider {}", number, own));
    }
    lapic.divide_configuration = shown(lapic.divider, own);

    const auto unit = xen_ns * lapic.divider;
    const auto counts = [unit](std::uint64_t ns) { return clamped((ns + unit / 2) / unit); };
    if (mode == Mode::periodic) {
        const auto longer = source == Accel::tcg ? 1u : 0u;
        lapic.initial_count = old_count == 0 ? 0 : counts((std::uint64_t{old_count} + longer) * old_divider);
    } else {
        lapic.initial_count =
            lapic.expiry_ns ? counts(static_cast<std::uint64_t>(std::max<std::int64_t>(*lapic.expiry_ns, 0)))
                            : 0;
    }
    if (old_count == 0 && lapic.initial_count == 0) return {};
    return done(lapic, mode, source_hz, old_divider, old_count);
}

}  // namespace vmferry
