// RAM of an HVM guest, as Xen lays it out and as QEMU's i440fx machine is made to.
//
//     L = 4 GiB − MMIO hole (256 MiB unless configured larger), ram = max_memkb − video_memkb
//     Xen:   RAM 0 … min(ram, L), the rest from 4 GiB on
//     QEMU:  ram below 3.5 GiB, ram ≤ L   plain -m
//            ram from 3.5 GiB, ram ≤ L    -m and max-ram-below-4g above it, which keeps it in one piece
//            ram > L, L ≤ 3 GiB           -m and max-ram-below-4g = L: pc.ram split at L
//            ram > L, L > 3 GiB           QEMU would split at 3 GiB: -m L in one piece, the rest a pc-dimm
#include <fmt/format.h>

#include "translators/plan_parts.hpp"
#include "translators/size_text.hpp"

namespace vmferry {

namespace {

constexpr std::uint64_t kib = 1u << 10, mib = 1u << 20, gib = 1u << 30;
constexpr std::uint64_t four_gib = 4 * gib;
constexpr std::uint64_t page = 4096;
constexpr std::uint64_t least_hole = 256 * mib, largest_hole = 3840 * mib;  // xl.cfg(5), mmio_hole
constexpr std::uint64_t split_by_default = 3584 * mib;  ///< pc-i440fx moves RAM above 4 GiB from here on
constexpr std::uint64_t largest_split = 3 * gib;        ///< and then leaves at most this much below
constexpr std::uint64_t dimm_alignment = 2 * mib;
constexpr std::uint64_t ram_alignment = 8 * kib;  ///< QEMU rounds -m up to this
constexpr std::uint64_t least_ram = 4 * mib;
constexpr std::uint64_t vga_window = 0xA0000, vga_window_end = 0xC0000;

std::uint64_t rounded_up(std::uint64_t value, std::uint64_t step) {
    return (value + step - 1) / step * step;
}

void add_range(Plan& plan, std::uint64_t first, std::uint64_t end, std::string block, std::uint64_t offset) {
    if (end > first) plan.ram.push_back({first / page, (end - first) / page, std::move(block), offset});
}

}  // namespace

void plan_memory(const PlanInput& in, Plan& plan, AuditReport& audit) {
    const auto& config = in.config;
    plan.ram_bytes = (config.max_memkb - config.video_memkb) * kib;
    // libxl ignores a hole smaller than its default.
    auto hole = config.mmio_hole_memkb * kib;
    if (hole < least_hole) hole = least_hole;
    if (hole > largest_hole || hole % mib != 0 || plan.ram_bytes < least_ram || plan.ram_bytes % page != 0) {
        audit.violated("memory-layout", fmt::format("{} KiB of RAM with an MMIO hole of {} KiB",
                                                    plan.ram_bytes / kib, hole / kib));
        hole = least_hole;
    }
    plan.mmio_start = four_gib - hole;
    plan.low_ram_end = std::min(plan.ram_bytes, plan.mmio_start);
    const auto high = plan.ram_bytes - plan.low_ram_end;

    plan.main_ram_bytes = rounded_up(plan.ram_bytes, ram_alignment);
    if (high == 0) {
        if (plan.main_ram_bytes >= split_by_default) plan.max_ram_below_4g = plan.main_ram_bytes + mib;
    } else if (plan.low_ram_end <= largest_split) {
        plan.max_ram_below_4g = plan.low_ram_end;
    } else {
        plan.main_ram_bytes = plan.low_ram_end;
        plan.dimm_bytes = rounded_up(high, dimm_alignment);
        if (plan.main_ram_bytes >= split_by_default) plan.max_ram_below_4g = plan.main_ram_bytes + mib;
    }

    add_range(plan, 0, vga_window, "pc.ram", 0);
    add_range(plan, vga_window_end, plan.low_ram_end, "pc.ram", vga_window_end);
    if (plan.dimm_bytes != 0)
        add_range(plan, four_gib, four_gib + high, "hi", 0);
    else
        add_range(plan, four_gib, four_gib + high, "pc.ram", plan.low_ram_end);

    audit.carried("memory", high == 0 ? fmt::format("{} at 0", size_text(plan.ram_bytes))
                                      : fmt::format("{} at 0 and {} at 4 GiB", size_text(plan.low_ram_end),
                                                    size_text(high)));
    const auto given = plan.main_ram_bytes + plan.dimm_bytes;
    if (given != plan.ram_bytes)
        audit.adapted("memory", fmt::format("the destination has {} more at the end than the guest knows of",
                                            size_text(given - plan.ram_bytes)));
}

}  // namespace vmferry
