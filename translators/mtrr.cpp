#include "translators/mtrr.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

namespace vmferry {
namespace {

constexpr std::uint64_t hole_end = 0xFC000000;
constexpr std::uint64_t valid = 0x800, page_mask = 0xFFF;

}  // namespace

std::string rebuild_variable_mtrrs(Mtrr& mtrr) {
    auto& ranges = mtrr.variable;
    const auto first = ranges[0];
    if (!std::ranges::all_of(ranges, [&](const VariableMtrr& range) { return range == first; })) return {};
    if (!(first.mask & valid)) return {};  // all disabled

    std::fill(ranges.begin() + 1, ranges.end(), VariableMtrr{});
    // Mask and address width (SDM vol. 3, 11.11.2.3): the lowest mask bit is the size, the highest the width.
    const auto address_mask = first.mask & ~page_mask;
    const std::uint64_t size = address_mask == 0 ? 0 : std::uint64_t{1} << std::countr_zero(address_mask);
    const auto width_mask = address_mask == 0 ? 0 : std::bit_ceil(address_mask) - 1;
    const auto base = first.base & ~page_mask;
    const bool uncacheable = (first.base & 0xFF) == 0;
    if (!uncacheable || base == 0 || size == 0 || base + size > hole_end)
        return "variable MTRRs 1–7 are lost in Xen's record: disabled";

    std::size_t used = 1;
    for (auto at = base + size; at < hole_end && used < ranges.size(); ++used) {
        auto length = std::uint64_t{1} << std::countr_zero(at);
        while (at + length > hole_end) length /= 2;
        ranges[used] = {at | (first.base & 0xFF), (width_mask & ~(length - 1) & ~page_mask) | valid};
        at += length;
    }
    return fmt::format("variable MTRRs 1–7 are lost in Xen's record: {} rebuilt to cover {:#x}–{:#x}",
                       used - 1, base, hole_end);
}

}  // namespace vmferry
