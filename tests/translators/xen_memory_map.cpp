// Each page of QEMU's RAM blocks has its place in a Xen domain, by the plan and by the device sections.
#include "translators/xen_memory_map.hpp"

#include <set>

#include <doctest/doctest.h>

#include "parsers/xen/stream_reader.hpp"
#include "tests/translators/machine_fixture.hpp"

using namespace vmferry;

namespace {

using Fate = XenPagePlace::Fate;

constexpr std::uint64_t mib = 1u << 20, gib = 1u << 30;
constexpr std::uint64_t slots_before_video = 0x80;

// 5 GiB, split at 3 GiB, as QEMU's i440FX machine lays it out.
XenPlan large_plan() {
    XenPlan plan;
    plan.ram_bytes = 5 * gib;
    plan.ram = {{0, 0xA0, "pc.ram", 0},
                {0xC0, 0xC0000 - 0xC0, "pc.ram", 0xC0000},
                {0x100000, 2 * gib / page_size, "pc.ram", 3 * gib}};
    plan.vram_block = "0000:00:02.0/vga.vram";
    plan.vram_bytes = 8 * mib;
    return plan;
}
const std::vector<qemu::RamBlock> large_blocks{
    {"pc.ram", 5 * gib},     {"0000:00:02.0/vga.vram", 8 * mib},     {"/rom@etc/acpi/tables", 128u << 10},
    {"pc.bios", 256u << 10}, {"0000:00:03.0/e1000.rom", 256u << 10}, {"pc.rom", 128u << 10}};
constexpr std::uint32_t ram = 0, vram = 1, tables = 2, bios = 3, option_rom = 4, rom = 5;

XenPagePlace placed(const XenMemoryMap& map, std::uint32_t block, std::uint64_t offset) {
    const auto place = map.place(block, offset);
    REQUIRE(place.has_value());
    return *place;
}

std::uint64_t frame_of(const XenMemoryMap& map, std::uint32_t block, std::uint64_t offset) {
    const auto place = placed(map, block, offset);
    CHECK(place.fate == Fate::ram);
    return place.gfn;
}

DeviceMemory memory(std::uint64_t vga_bar, bool dram = true) {
    DeviceMemory result;
    result.vga_bar = vga_bar;
    result.reads_dram.fill(dram);
    return result;
}

}  // namespace

TEST_CASE("xen memory map: RAM is at its own address below the split, from 4 GiB on above it") {
    const XenMemoryMap map(large_plan(), large_blocks);
    CHECK(frame_of(map, ram, 0) == 0);
    CHECK(frame_of(map, ram, 0x9F000) == 0x9F);
    CHECK(frame_of(map, ram, mib) == 0x100);
    CHECK(frame_of(map, ram, 3 * gib - page_size) == 0xBFFFF);
    CHECK(frame_of(map, ram, 3 * gib) == 0x100000);
    CHECK(frame_of(map, ram, 5 * gib - page_size) == 0x17FFFF);
    for (std::uint64_t offset = 0xA0000; offset < 0xC0000; offset += page_size) {
        const auto place = placed(map, ram, offset);
        CHECK(place.fate == Fate::drop);
        CHECK(std::string_view(place.why).find("VGA window") != std::string_view::npos);
    }
}

TEST_CASE("xen memory map: next_ram leads through all plain RAM and past everything else") {
    const XenMemoryMap map(large_plan(), large_blocks);
    std::uint64_t at = 0, pages = 0, stretches = 0;
    while (const auto stretch = map.next_ram(ram, at)) {
        CHECK(frame_of(map, ram, stretch->offset) == stretch->gfn);
        pages += stretch->pages;
        at = stretch->offset + stretch->pages * page_size;
        ++stretches;
    }
    CHECK(stretches == 3);
    CHECK(pages == 5 * gib / page_size - 0x60);
    const auto inside = map.next_ram(ram, 0x9F000);
    REQUIRE(inside.has_value());
    CHECK(inside->gfn == 0x9F);
    CHECK(inside->pages == 1);
    for (const auto block : {vram, tables, bios, option_rom, rom}) CHECK_FALSE(map.next_ram(block, 0));
}

TEST_CASE(
    "xen memory map: at 0xC0000–0xFFFFF each frame is RAM or ROM as its PAM register says, never both") {
    const XenMemoryMap map(large_plan(), large_blocks);
    for (std::size_t dram = 0; dram < 13; ++dram) {
        DeviceMemory pam = memory(0xF0000000, false);
        pam.reads_dram[dram] = true;
        std::set<std::uint64_t> from_ram, from_rom;
        for (std::uint64_t page = 0; page < 64; ++page) {
            const auto place = placed(map, ram, 0xC0000 + page * page_size);
            REQUIRE(place.fate == Fate::hold);
            if (const auto gfn = map.place_held(place.slot, pam)) {
                CHECK(*gfn == 0xC0 + page);
                from_ram.insert(*gfn);
            }
        }
        for (std::uint64_t page = 0; page < 32; ++page) {
            const auto low = placed(map, rom, page * page_size);
            const auto high = placed(map, bios, (128u << 10) + page * page_size);
            REQUIRE((low.fate == Fate::hold && high.fate == Fate::hold));
            if (const auto gfn = map.place_held(low.slot, pam)) from_rom.insert(*gfn);
            if (const auto gfn = map.place_held(high.slot, pam)) from_rom.insert(*gfn);
        }
        CHECK(from_ram.size() == (dram == 12 ? 16 : 4));
        CHECK(*from_ram.begin() == 0xC0 + 4 * dram);
        CHECK(from_rom.size() + from_ram.size() == 64);
        for (const auto gfn : from_ram) CHECK_FALSE(from_rom.contains(gfn));
    }
    CHECK(placed(map, bios, 0).fate == Fate::drop);
    CHECK(placed(map, bios, (128u << 10) - page_size).fate == Fate::drop);
}

TEST_CASE("xen memory map: a BIOS of 64 KiB ends at 1 MiB too") {
    auto blocks = large_blocks;
    blocks[bios].used_length = 64u << 10;
    const XenMemoryMap map(large_plan(), blocks);
    const auto place = placed(map, bios, 0);
    REQUIRE(place.fate == Fate::hold);
    CHECK(map.place_held(place.slot, memory(0, false)) == 0xF0);
}

TEST_CASE("xen memory map: video memory is where its BAR is") {
    const XenMemoryMap map(large_plan(), large_blocks);
    CHECK(map.held_slots() == slots_before_video + 8 * mib / page_size);
    const auto first = placed(map, vram, 0), last = placed(map, vram, 8 * mib - page_size);
    REQUIRE(first.fate == Fate::hold);
    CHECK(map.place_held(first.slot, memory(0xF0000000)) == 0xF0000);
    CHECK(map.place_held(last.slot, memory(0xF0000000)) == 0xF07FF);
    // Not mapped: behind the guest's RAM, where a device model of Xen has its own blocks.
    CHECK(map.place_held(first.slot, memory(0)) == 0x180000);
    CHECK(map.place_held(last.slot, memory(0)) == 0x1807FF);
    CHECK_FALSE(map.place_held(last.slot + 1, memory(0xF0000000)));
    // Mapped over RAM or over Xen's own pages, in part or in whole: not to be seen.
    for (const std::uint64_t bar : {1 * mib, 3 * gib - 4 * mib, 4 * gib, 0xFE8ul << 20})
        CHECK_FALSE(map.place_held(first.slot, memory(bar)));
    CHECK(map.place_held(first.slot, memory(3 * gib)) == 0xC0000);
}

TEST_CASE("xen memory map: video memory without a mapping goes to a multiple of 256 KiB behind RAM") {
    XenPlan plan;
    plan.ram = {{0, 0xA0, "pc.ram", 0}, {0xC0, 0x5808 - 0xC0, "pc.ram", 0xC0000}};
    plan.vram_block = "vga.vram";
    plan.vram_bytes = 4 * mib;
    const XenMemoryMap map(plan, {{"pc.ram", 0x5808000}, {"vga.vram", 4 * mib}});
    CHECK(map.place_held(slots_before_video, memory(0)) == 0x5840);
}

TEST_CASE(
    "xen memory map: hvmloader's area lies at its base, has no zeros of its own, and nothing else may lie "
    "there") {
    auto plan = large_plan();
    plan.acpi_block = "0000:00:1f.0/xfw";
    plan.acpi_bytes = 2 * mib;
    auto blocks = large_blocks;
    blocks.push_back({"0000:00:1f.0/xfw", 2 * mib});
    const XenMemoryMap map(plan, blocks);
    CHECK(placed(map, 6, 0).fate == Fate::firmware_area);
    CHECK(placed(map, 6, 0).gfn == 0xFC000);
    CHECK(placed(map, 6, 2 * mib - page_size).gfn == 0xFC1FF);
    CHECK_FALSE(map.next_ram(6, 0));
    CHECK_FALSE(map.place_held(slots_before_video, memory(0xFC000000)));
}

TEST_CASE("xen memory map: RAM in a block of its own above 4 GiB") {
    XenPlan plan;
    plan.ram = {{0, 0xA0, "pc.ram", 0},
                {0xC0, 0xF0000 - 0xC0, "pc.ram", 0xC0000},
                {0x100000, gib / page_size, "hi", 0}};
    const XenMemoryMap map(plan, {{"pc.ram", 0xF0000000}, {"hi", gib}});
    CHECK(frame_of(map, 0, 0xF0000000 - page_size) == 0xEFFFF);
    CHECK(frame_of(map, 1, 0) == 0x100000);
    CHECK(frame_of(map, 1, gib - page_size) == 0x13FFFF);
}

TEST_CASE("xen memory map: ROMs are dropped by name; nothing else is dispensable") {
    const XenMemoryMap map(large_plan(), large_blocks);
    for (const auto block : {tables, option_rom}) {
        const auto place = placed(map, block, 0);
        CHECK(place.fate == Fate::drop);
        CHECK_FALSE(std::string_view(place.why).empty());
    }
    for (const auto* name : {"pc.rom", "pc.bios", "/rom@etc/acpi/tables", "0000:00:03.0/e1000.rom"})
        CHECK(dispensable_block(name) != nullptr);
    for (const auto* name : {"pc.ram", "dimm1", "ivshmem", "system.flash0", "0000:00:02.0/vga.vram"})
        CHECK(dispensable_block(name) == nullptr);
}

TEST_CASE("xen memory map: an offset behind its block is an error of the stream") {
    const XenMemoryMap map(large_plan(), large_blocks);
    for (std::uint32_t block = 0; block < large_blocks.size(); ++block) {
        CHECK(map.place(block, large_blocks[block].used_length - page_size).has_value());
        const auto place = map.place(block, large_blocks[block].used_length);
        REQUIRE_FALSE(place.has_value());
        CHECK(place.error().kind == ErrorKind::stream);
        CHECK(place.error().field == "offset");
    }
    CHECK_FALSE(map.place(static_cast<std::uint32_t>(large_blocks.size()), 0).has_value());
}

TEST_CASE(
    "xen memory map: RAM that only the configuration has reads as zeros, and nothing else is put there") {
    constexpr std::uint64_t ram = 112 * mib + 2 * page_size;
    XenPlan plan;
    plan.ram_bytes = ram;
    plan.ram = {{0, 0xA0, "pc.ram", 0}, {0xC0, ram / page_size - 0xC0, "pc.ram", 0xC0000}};
    plan.vram_block = "vga.vram";
    plan.vram_bytes = 4 * mib;
    const XenMemoryMap map(plan, {{"pc.ram", ram}, {"vga.vram", 4 * mib}});
    std::set<std::uint64_t> zeros;
    for (const auto& special : map.special_pages())
        if (special.gfn < 0xFEFF0) zeros.insert(special.gfn);
    CHECK(zeros.size() == 254);
    CHECK(*zeros.begin() == 0x7002);
    CHECK(*zeros.rbegin() == 0x70FF);
    DeviceMemory memory;
    CHECK(map.place_held(XenMemoryMap::first_vram_slot, memory) == 0x7100);
    memory.vga_bar = 0x7080000;
    CHECK_FALSE(map.place_held(XenMemoryMap::first_vram_slot, memory).has_value());
}

TEST_CASE(
    "xen memory map: the special pages are those of a recorded domain, the identity table byte for byte") {
    const auto stream = test::load_capture("xen-4.17-linux-2vcpu-e1000-ide.up.zst");
    xen::StreamReader reader;
    std::set<std::uint64_t> present;
    Buffer table;
    for (std::size_t at = 0;;) {
        const auto step = reader.next(Bytes(stream).subspan(at));
        REQUIRE(step.has_value());
        REQUIRE(step->event.has_value());
        at += step->consumed;
        if (std::holds_alternative<xen::StreamEnd>(*step->event)) break;
        const auto* run = std::get_if<xen::PageRun>(&*step->event);
        if (run == nullptr) continue;
        std::size_t page = 0;
        for (std::size_t entry = run->first; page * page_size < run->pages.size(); ++entry) {
            const auto& listed = (*run->entries)[entry];
            if (!listed.has_data()) continue;
            const auto bytes = run->pages.subspan(page++ * page_size, page_size);
            if (listed.gfn >= 0xFEFF0 && listed.gfn < 0xFF000) present.insert(listed.gfn);
            if (listed.gfn == 0xFEFFE) table.assign(bytes.begin(), bytes.end());
        }
    }
    std::set<std::uint64_t> ours;
    const XenMemoryMap map(large_plan(), large_blocks);
    for (const auto& special : map.special_pages()) {
        ours.insert(special.gfn);
        CHECK(special.identity_table == (special.gfn == 0xFEFFE));
    }
    CHECK(ours == present);
    const auto& identity = XenMemoryMap::identity_table();
    REQUIRE(table.size() == identity.size());
    CHECK(std::memcmp(table.data(), identity.data(), table.size()) == 0);
}
