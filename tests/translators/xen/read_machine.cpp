// Records that are there but do not make a machine: what is missing, what belongs to no vCPU, and XSAVE areas
// that do not fit the CPU of the policy.
#include "translators/xen/read_machine.hpp"

#include <functional>

#include <doctest/doctest.h>

#include "parsers/xen/hvm_bodies.hpp"
#include "tests/error_text.hpp"
#include "tests/translators/machine_fixture.hpp"
#include "translators/fxsave.hpp"

namespace vmferry {
namespace {

using test::Crossing;

constexpr std::size_t descriptor = sizeof(hvm_save_descriptor);

std::uint64_t end_of(const xen::HvmContext& context) {
    return context.back().offset + descriptor + context.back().length;
}

Error failure(Crossing& guest) {
    const auto machine = xen::read_machine(guest.source, guest.audit);
    REQUIRE_FALSE(machine);
    return machine.error();
}

/// An area for AVX by the recorded policy: 512 + 64 + 256 bytes.
xen::CpuXsave avx_area(std::size_t size = 832) {
    xen::CpuXsave xsave{7, 7, 7, Buffer(size)};
    xsave.area[512] = std::byte{7};
    for (std::size_t i = 576; i < size; ++i) xsave.area[i] = static_cast<std::byte>(i);
    return xsave;
}

void add_xsave(Crossing& guest, xen::CpuXsave xsave) {
    const auto end = end_of(guest.source.context);
    const auto length = static_cast<std::uint32_t>(xen::xsave_head_size + xsave.area.size());
    guest.add(static_cast<std::uint16_t>(xen::HvmType::cpu_xsave), 1, std::move(xsave));
    guest.source.context.back().offset = end;
    guest.source.context.back().length = length;
}

}  // namespace

TEST_CASE("a record that every domain has is missing") {
    struct Row {
        const char* record;
        std::function<void(Crossing&)> remove;
    };
    const Row rows[] = {
        {"HEADER", [](Crossing& guest) { guest.remove<hvm_save_header>(); }},
        {"CPU",
         [](Crossing& guest) {
             guest.remove<hvm_hw_cpu>(0);
             guest.remove<hvm_hw_cpu>(1);
         }},
        {"LAPIC[0]", [](Crossing& guest) { guest.remove<xen::Lapic>(0); }},
        {"LAPIC[1]", [](Crossing& guest) { guest.remove<xen::Lapic>(1); }},
        {"LAPIC_REGS[0]", [](Crossing& guest) { guest.remove<hvm_hw_lapic_regs>(0); }},
        {"LAPIC_REGS[1]", [](Crossing& guest) { guest.remove<hvm_hw_lapic_regs>(1); }},
        {"MTRR[0]", [](Crossing& guest) { guest.remove<hvm_hw_mtrr>(0); }},
        {"MTRR[1]", [](Crossing& guest) { guest.remove<hvm_hw_mtrr>(1); }},
        {"PIC[0]", [](Crossing& guest) { guest.remove<hvm_hw_vpic>(0); }},
        {"PIC[1]", [](Crossing& guest) { guest.remove<hvm_hw_vpic>(1); }},
        {"IOAPIC", [](Crossing& guest) { guest.remove<hvm_hw_vioapic>(); }},
        {"PCI_IRQ", [](Crossing& guest) { guest.remove<hvm_hw_pci_irqs>(); }},
        {"ISA_IRQ", [](Crossing& guest) { guest.remove<hvm_hw_isa_irqs>(); }},
        {"PCI_LINK", [](Crossing& guest) { guest.remove<hvm_hw_pci_link>(); }},
        {"PIT", [](Crossing& guest) { guest.remove<hvm_hw_pit>(); }},
        {"RTC", [](Crossing& guest) { guest.remove<hvm_hw_rtc>(); }},
        {"PMTIMER", [](Crossing& guest) { guest.remove<hvm_hw_pmtimer>(); }},
    };
    for (const auto& row : rows) {
        CAPTURE(std::string(row.record));
        Crossing guest;
        const auto size = guest.source.context.size();
        row.remove(guest);
        REQUIRE(guest.source.context.size() < size);
        const auto error = failure(guest);
        CHECK(error.kind == ErrorKind::stream);
        CHECK(error.format == "HVM_CONTEXT");
        CHECK(error.record == row.record);
        CHECK(error.field == "record");
        CHECK(error.offset == end_of(guest.source.context));
        CHECK(error.found == "END without such a record");
        CHECK(error.expected == "one in every context");
    }
}

TEST_CASE("a record of a vCPU that the configuration does not have") {
    Crossing guest;
    auto stray = guest.record<xen::Lapic>(1);
    const auto end = end_of(guest.source.context);
    guest.add(static_cast<std::uint16_t>(xen::HvmType::lapic), 2, stray);
    guest.source.context.back().offset = end;
    const auto error = failure(guest);
    CHECK(
        error.text() ==
        fmt::format("HVM_CONTEXT LAPIC[2].instance at offset {:#x}: found 2, expected less than 2", end + 2));
}

TEST_CASE("XSAVE areas by the offsets of the policy") {
    {
        Crossing guest;
        add_xsave(guest, avx_area());
        const auto machine = xen::read_machine(guest.source, guest.audit);
        REQUIRE_MESSAGE(machine, test::error_text(machine));
        REQUIRE(machine->vcpus[1].extended);
        CHECK(machine->vcpus[1].extended->xcr0 == 7);
        CHECK(machine->vcpus[1].extended->ymm_high[0].low == 0x4746454443424140);
    }
    struct Row {
        const char* name;
        xen::CpuXsave xsave;
        const char* field;
        std::uint64_t at;  ///< behind the descriptor
        const char* found;
        const char* expected;
    };
    auto opmask = avx_area();
    opmask.xcr0_accum = 0xE7;
    auto behind = avx_area(900);
    behind.area.back() = std::byte{1};
    std::fill(behind.area.begin() + 832, behind.area.end() - 1, std::byte{0});
    const Row rows[] = {
        {"too short for AVX", avx_area(831), "length", ~std::uint64_t{3}, "855",
         "at least 856 for xcr0_accum 0x7"},
        {"a component that the policy does not have", opmask, "xcr0_accum", 16, "component 5",
         "a component of CPUID leaf 0xd"},
        {"data behind the last component", behind, "save_area", 24 + 899, "data behind the last component",
         "zeros"},
    };
    for (const auto& row : rows) {
        CAPTURE(std::string(row.name));
        Crossing guest;
        const auto body = end_of(guest.source.context) + descriptor;
        add_xsave(guest, row.xsave);
        const auto error = failure(guest);
        CHECK(error.kind == ErrorKind::stream);
        CHECK(error.format == "HVM_CONTEXT");
        CHECK(error.record == "CPU_XSAVE[1]");
        CHECK(error.field == row.field);
        CHECK(error.offset == body + row.at);
        CHECK(error.found == row.found);
        CHECK(error.expected == row.expected);
    }
}

TEST_CASE("an XSAVE component without a place is refused with its place in the stream") {
    Crossing guest;
    auto tiles = avx_area(900);
    tiles.xcr0 = tiles.xcr0_accum = tiles.xfeature_mask = 0x60007;
    std::fill(tiles.area.begin() + 832, tiles.area.end(), std::byte{0});
    tiles.area[512] = std::byte{7};
    tiles.area[514] = std::byte{6};
    guest.source.cpuid.push_back({0xD, 17, 64, 832, 0, 0});
    guest.source.cpuid.push_back({0xD, 18, 4, 896, 0, 0});
    const auto area = end_of(guest.source.context) + descriptor + xen::xsave_head_size;
    add_xsave(guest, std::move(tiles));
    const auto error = failure(guest);
    CHECK(error.kind == ErrorKind::refused);
    CHECK(error.record == "CPU_XSAVE[1]");
    CHECK(error.field == "xstate_bv");
    CHECK(error.offset == area + 512);
    CHECK(error.found == "0x60007");
}

}  // namespace vmferry
