#include <doctest/doctest.h>

#include "tests/translators/plan_fixture.hpp"
#include "translators/memory_map.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

constexpr std::uint64_t kib_of_mib = 1024, mib = 1u << 20, gib = 1u << 30;

Plan plan_with(std::uint64_t ram_mib, std::uint64_t hole_mib = 0) {
    PlanCase guest;
    guest.config.max_memkb = guest.config.target_memkb = ram_mib * kib_of_mib + guest.config.video_memkb;
    guest.config.mmio_hole_memkb = hole_mib * kib_of_mib;
    return guest.good();
}

std::uint64_t frames(const Plan& plan) {
    std::uint64_t sum = 0;
    for (const auto& range : plan.ram) sum += range.frames;
    return sum;
}

}  // namespace

// The expected values of these layouts were compared with `info mtree -f` of QEMU 7.2.
TEST_CASE("memory plan: small guests are one piece") {
    const auto plan = plan_with(3200);
    CHECK(plan.low_ram_end == 3200 * mib);
    CHECK(plan.max_ram_below_4g == 0);
    CHECK(argument(plan.arguments, "-m") == "3276800K");
    CHECK(frames(plan) == 3200 * mib / 4096 - 32);
}

TEST_CASE("memory plan: between 3.5 and 3.75 GiB QEMU is kept from splitting") {
    for (const std::uint64_t size : {3584, 3600, 3840}) {
        CAPTURE(size);
        const auto plan = plan_with(size);
        CHECK(plan.low_ram_end == size * mib);
        CHECK(plan.max_ram_below_4g == (size + 1) * mib);
        CHECK(plan.dimm_bytes == 0);
        CHECK(argument(plan.arguments, "-m") == fmt::format("{}K", size * 1024));
        CHECK(argument(plan.arguments, "-M").find(",max-ram-below-4g=") != std::string::npos);
    }
    CHECK(plan_with(3583).max_ram_below_4g == 0);
}

TEST_CASE("memory plan: beyond the hole the rest is a DIMM at 4 GiB") {
    const auto plan = plan_with(4096);
    CHECK(plan.low_ram_end == 0xF0000000);
    CHECK(plan.main_ram_bytes == 0xF0000000);
    CHECK(plan.dimm_bytes == 256 * mib);
    CHECK(argument(plan.arguments, "-m") == "size=3932160K,slots=1,maxmem=4194304K");
    CHECK(argument(plan.arguments, "-object") == "memory-backend-ram,id=hi,size=268435456");
    REQUIRE(plan.ram.size() == 3);
    CHECK(plan.ram[2].first_gfn == 0x100000);
    CHECK(plan.ram[2].frames == 0x10000);
    CHECK(plan.ram[2].block == "hi");
    CHECK(plan.ram[2].block_offset == 0);
    CHECK(argument(plan.twin_arguments, "-m") == argument(plan.arguments, "-m"));
}

TEST_CASE("memory plan: a larger hole splits pc.ram itself") {
    const auto plan = plan_with(300, 3840);
    CHECK(plan.mmio_start == 256 * mib);
    CHECK(plan.low_ram_end == 256 * mib);
    CHECK(plan.max_ram_below_4g == 256 * mib);
    CHECK(plan.dimm_bytes == 0);
    REQUIRE(plan.ram.size() == 3);
    CHECK(plan.ram[2].block == "pc.ram");
    CHECK(plan.ram[2].block_offset == 256 * mib);
    CHECK(plan.ram[2].frames == 44 * mib / 4096);

    // Low RAM ends between 3 and 3.5 GiB: QEMU would split at 3 GiB, and needs no limit to keep it whole.
    const auto between = plan_with(4096, 768);
    CHECK(between.low_ram_end == 3328 * mib);
    CHECK(between.main_ram_bytes == 3328 * mib);
    CHECK(between.max_ram_below_4g == 0);
    CHECK(between.dimm_bytes == 768 * mib);
}

TEST_CASE("memory plan: sizes that QEMU rounds are rounded up") {
    PlanCase guest;
    guest.config.max_memkb = 90112 + 4 + guest.config.video_memkb;
    const auto odd = guest.good();
    CHECK(odd.ram_bytes == 90116 * 1024);
    CHECK(odd.main_ram_bytes == 90120 * 1024);
    CHECK(odd.low_ram_end == odd.ram_bytes);

    const auto dimm = plan_with(3841);
    CHECK(dimm.dimm_bytes == 2 * mib);
    CHECK(dimm.ram[2].frames == 256);
}

TEST_CASE("memory plan: layouts that cannot be built") {
    const auto refused = [](std::uint64_t memkb, std::uint64_t hole_memkb) {
        PlanCase guest;
        guest.config.max_memkb = memkb;
        guest.config.mmio_hole_memkb = hole_memkb;
        REQUIRE(guest.make());
        return guest.refused("memory-layout");
    };
    constexpr std::uint64_t kib_per_mib = 1024;
    CHECK(refused(98304, 3841 * kib_per_mib));
    CHECK(refused(98304, 300 * kib_per_mib + 4));
    CHECK(refused(98305, 0));
    CHECK(refused(8192 + 4, 0));
    CHECK_FALSE(refused(98304, 128 * kib_per_mib));  // libxl ignores a hole below its default
}

TEST_CASE("memory map: a small guest, frame by frame") {
    PlanCase guest;
    const auto plan = guest.good();
    const MemoryMap map(plan);
    const auto ram_at = [&](std::uint64_t gfn, const std::string& block, std::uint64_t offset) {
        CAPTURE(gfn);
        const auto place = map.place(gfn);
        REQUIRE(place);
        CHECK(place->fate == FrameFate::ram);
        CHECK(map.blocks()[place->block] == block);
        CHECK(place->offset == offset);
    };
    const auto fate = [&](std::uint64_t gfn) {
        CAPTURE(gfn);
        const auto place = map.place(gfn);
        REQUIRE(place);
        return place->fate;
    };
    ram_at(0, "pc.ram", 0);
    ram_at(0x9F, "pc.ram", 0x9F000);
    CHECK_FALSE(map.place(0xA0));
    CHECK_FALSE(map.place(0xBF));
    ram_at(0xC0, "pc.ram", 0xC0000);
    ram_at(0xFE, "pc.ram", 0xFE000);
    ram_at(0x57FF, "pc.ram", 0x57FF000);
    CHECK(fate(0x5800) == FrameFate::drop);   // option ROMs follow RAM
    CHECK(fate(0x7040) == FrameFate::drop);   // where the recorded guest had them with 112 MiB
    CHECK(fate(0xF0000) == FrameFate::hold);  // video RAM's BAR
    CHECK(fate(0xFBFFF) == FrameFate::hold);
    ram_at(0xFC000, "0000:00:1f.0/xfw", 0);
    ram_at(0xFC100, "0000:00:1f.0/xfw", 0x100000);
    ram_at(0xFDFFF, "0000:00:1f.0/xfw", 0x1FFF000);
    CHECK_FALSE(map.place(0xFE000));
    CHECK_FALSE(map.place(0xFEFEF));
    CHECK(fate(0xFEFF0) == FrameFate::drop);
    CHECK(fate(0xFEFFF) == FrameFate::drop);
    CHECK_FALSE(map.place(0xFF000));
    CHECK_FALSE(map.place(0xFFFFF));
    CHECK_FALSE(map.place(0x100000));
    CHECK_FALSE(map.place(~0ull));
    CHECK_FALSE(map.place(1ull << 51));
    const auto error = map.place(0xA0).error();
    CHECK(error.kind == ErrorKind::stream);
    CHECK(error.format == "libxc");
}

TEST_CASE("memory map: held frames, once the BAR is known") {
    PlanCase guest;
    const MemoryMap map(guest.good());
    const auto first = map.place_held(0xF0000, 0xF0000000), last = map.place_held(0xF07FF, 0xF0000000);
    REQUIRE(first);
    REQUIRE(last);
    CHECK(map.blocks()[first->block] == "0000:00:02.0/vga.vram");
    CHECK(first->offset == 0);
    CHECK(last->offset == 0x7FF000);
    CHECK_FALSE(map.place_held(0xF0800, 0xF0000000));
    CHECK_FALSE(map.place_held(0xEFFFF, 0xF0000000));
    CHECK_FALSE(map.place_held(0xF0000, 0));
    const auto moved = map.place_held(0xF8001, 0xF8000000);
    REQUIRE(moved);
    CHECK(moved->offset == 0x1000);
}

TEST_CASE("memory map: a guest with RAM above 4 GiB") {
    const auto plan = plan_with(4096);
    const MemoryMap map(plan);
    const auto place = map.place(0x10FFFF);
    REQUIRE(place);
    CHECK(map.blocks()[place->block] == "hi");
    CHECK(place->offset == 0xFFFF000);
    REQUIRE(map.place(0xEFFFF));
    CHECK(map.place(0xEFFFF)->fate == FrameFate::ram);
    REQUIRE(map.place(0xF0000));
    CHECK(map.place(0xF0000)->fate == FrameFate::hold);
    REQUIRE(map.place(0x110000));
    CHECK(map.place(0x110000)->fate == FrameFate::drop);  // the device model's blocks follow high RAM
    CHECK_FALSE(map.place(0x110000 + (128 * mib >> 12)));

    // Each frame of RAM has its own place, and no two the same.
    std::uint64_t counted = 0;
    for (const auto& range : plan.ram) counted += range.frames;
    CHECK(counted == (4 * gib >> 12) - 32);
}

TEST_CASE("memory map: RAM that fills everything below the hole") {
    const auto plan = plan_with(3840);
    const MemoryMap map(plan);
    REQUIRE(map.place(0xF0000));
    CHECK(map.place(0xF0000)->fate == FrameFate::hold);
    // What lies behind RAM now lies in the hole: video memory where it is mapped, else an option ROM's.
    REQUIRE(map.place_held(0xF0801, 0xF0000000));
    CHECK(map.place_held(0xF0801, 0xF0000000)->fate == FrameFate::drop);
    CHECK(map.place_held(0xF0001, 0xF0000000)->fate == FrameFate::ram);
}

TEST_CASE("memory map: a guest without display") {
    PlanCase guest;
    guest.config.vga = "none";
    guest.config.video_memkb = 0;
    const MemoryMap map(guest.good());
    REQUIRE(map.place(0xF0000));
    CHECK(map.place(0xF0000)->fate == FrameFate::hold);
    CHECK_FALSE(map.place_held(0xF0000, 0));
    CHECK_FALSE(map.place_held(0xF0000, 0xF0000000));
}
