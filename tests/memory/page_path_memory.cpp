// The page path in little memory, whatever the guest's size and the stream's length.
//
// The bound is the one for a release build; a build without optimization carries a smaller guest.
#include <doctest/doctest.h>

#include "tools/bench/page_path_run.hpp"
#include "tools/bench/page_path_to_xen.hpp"

using namespace vmferry::bench;

namespace {

#if defined(NDEBUG)
constexpr std::uint64_t large_gib = 64;
#else
constexpr std::uint64_t large_gib = 4;
#endif
constexpr unsigned long limit_kib = 32u << 10, noise_kib = 1u << 10;

GuestLayout guest(std::uint64_t mib, unsigned passes) {
    GuestLayout layout;
    layout.ram_bytes = mib << 20;
    layout.vram_bytes = 16u << 20;
    layout.passes = passes;
    return layout;
}

}  // namespace

TEST_CASE("page path: resident memory is bounded and grows with neither the guest nor the stream") {
    const auto peak_after = [](const GuestLayout& layout) {
        const auto counters = carry_generated_guest(layout);
        INFO((counters ? std::string() : counters.error().text()));
        REQUIRE(counters.has_value());
        return peak_resident_kib();
    };
    const auto small = peak_after(guest(64, 1));
    const auto many_passes = peak_after(guest(64, 16));
    const auto large = peak_after(guest(large_gib << 10, 1));
    MESSAGE(fmt::format("VmHWM: {} KiB for 64 MiB, {} KiB in 16 passes, {} KiB for {} GiB", small,
                        many_passes, large, large_gib));
    CHECK(large < limit_kib);
    CHECK(many_passes - small < noise_kib);
    CHECK(large - small < noise_kib);
}

TEST_CASE("page path to Xen: resident memory is bounded and grows with neither the guest nor the stream") {
    const auto peak_after = [](std::uint64_t mib, unsigned rounds, std::uint64_t hinted) {
        QemuGuestLayout layout;
        layout.ram_bytes = mib << 20;
        layout.rounds = rounds;
        layout.hinted = hinted;
        const auto counters = carry_generated_guest_to_xen(layout);
        INFO((counters ? std::string() : counters.error().text()));
        REQUIRE(counters.has_value());
        return peak_resident_kib();
    };
    forget_peak_resident();
    const auto small = peak_after(64, 1, 0);
    const auto many_rounds = peak_after(64, 16, 0);
    const auto mostly_free = peak_after(large_gib << 10, 1, 1u << 20);
    const auto large = peak_after(large_gib << 10, 1, 0);
    MESSAGE(fmt::format(
        "VmHWM: {} KiB for 64 MiB, {} KiB in 16 rounds, {} KiB for {} GiB, half of it free, {} KiB "
        "if all is sent",
        small, many_rounds, mostly_free, large_gib, large));
    CHECK(large < limit_kib);
    CHECK(many_rounds - small < noise_kib);
    CHECK(mostly_free - small < noise_kib);
    CHECK(large - small < noise_kib);
}
