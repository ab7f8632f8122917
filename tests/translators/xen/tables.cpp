#include "translators/xen/tables.hpp"

#include <algorithm>
#include <random>

#include <doctest/doctest.h>

#include "tests/translators/machine_fixture.hpp"
#include "translators/fxsave.hpp"

namespace vmferry {
namespace {

/// How often each byte of a record is claimed.
template <typename Rows>
std::vector<int> claims(const Rows& rows, std::size_t size) {
    std::vector<int> count(size);
    for (const auto& row : rows)
        for (std::size_t piece = 0; piece < row.bytes.count; ++piece)
            for (std::size_t i = 0; i < row.bytes.size; ++i)
                ++count.at(row.bytes.offset + piece * row.bytes.stride + i);
    return count;
}

template <typename Rows>
void every_byte_once(const Rows& rows, std::size_t size, const char* name) {
    const auto count = claims(rows, size);
    for (std::size_t at = 0; at < size; ++at) CHECK_MESSAGE(count[at] == 1, name, " byte ", at);
}

template <typename Rows>
void reasons_given(const Rows& rows) {
    for (const auto& row : rows) {
        CHECK_MESSAGE((row.law == Law::exact || !row.reason.empty()), row.place);
        CHECK_MESSAGE((row.law == Law::one_way || (row.read && row.write)), row.place);
    }
}

/// Random records through the table and back: rows that are exact give back their bytes, all rows keep their
/// meaning.
template <typename Neutral, typename Record, typename Tame>
void laws_hold(const RecordTable<Neutral, Record>& table, Tame tame, const Neutral& initial = {}) {
    std::mt19937_64 random(1);
    for (int round = 0; round < 20; ++round) {
        Record record{};
        test::fill_random(std::as_writable_bytes(std::span(&record, 1)), random);
        tame(record);
        Neutral neutral = initial;
        read_rows(table, record, neutral);
        Record again{};
        write_rows(table, neutral, again);
        Neutral reread = initial;
        read_rows(table, again, reread);
        CHECK(reread == neutral);
        const auto before = std::as_bytes(std::span(&record, 1)), after = std::as_bytes(std::span(&again, 1));
        for (const auto& row : table)
            for (std::size_t piece = 0; row.law == Law::exact && piece < row.bytes.count; ++piece) {
                const auto at = row.bytes.offset + piece * row.bytes.stride;
                CHECK_MESSAGE(
                    std::ranges::equal(before.subspan(at, row.bytes.size), after.subspan(at, row.bytes.size)),
                    row.place);
            }
    }
}

constexpr auto as_it_is = [](auto&) {};

TEST_CASE("every byte of every Xen record belongs to one row") {
    every_byte_once(xen::header_table(), sizeof(hvm_save_header), "HEADER");
    every_byte_once(xen::cpu_table(), sizeof(hvm_hw_cpu), "CPU");
    every_byte_once(xen::pic_table(), sizeof(hvm_hw_vpic), "PIC");
    every_byte_once(xen::ioapic_table(), sizeof(hvm_hw_vioapic), "IOAPIC");
    every_byte_once(xen::lapic_table(), sizeof(xen::Lapic), "LAPIC");
    every_byte_once(xen::lapic_regs_table(), sizeof(hvm_hw_lapic_regs), "LAPIC_REGS");
    every_byte_once(xen::pci_irq_table(), sizeof(hvm_hw_pci_irqs), "PCI_IRQ");
    every_byte_once(xen::isa_irq_table(), sizeof(hvm_hw_isa_irqs), "ISA_IRQ");
    every_byte_once(xen::pci_link_table(), sizeof(hvm_hw_pci_link), "PCI_LINK");
    every_byte_once(xen::pit_table(), sizeof(hvm_hw_pit), "PIT");
    every_byte_once(xen::rtc_table(), sizeof(hvm_hw_rtc), "RTC");
    every_byte_once(xen::hpet_table(), sizeof(hvm_hw_hpet), "HPET");
    every_byte_once(xen::pmtimer_table(), sizeof(hvm_hw_pmtimer), "PMTIMER");
    every_byte_once(xen::mtrr_table(), sizeof(hvm_hw_mtrr), "MTRR");
    every_byte_once(xen::tsc_adjust_table(), sizeof(hvm_tsc_adjust), "TSC_ADJUST");
    every_byte_once(xen::vmce_table(), sizeof(hvm_vmce_vcpu), "VMCE_VCPU");
    every_byte_once(xen::viridian_domain_table(), sizeof(hvm_viridian_domain_context), "VIRIDIAN_DOMAIN");
    every_byte_once(xen::viridian_vcpu_table(), sizeof(hvm_viridian_vcpu_context), "VIRIDIAN_VCPU");
    every_byte_once(fxsave_rows(), fxsave_size, "FXSAVE");
}

TEST_CASE("every row that is not exact says why, and every row that is carried goes both ways") {
    reasons_given(xen::header_table());
    reasons_given(xen::pic_table());
    reasons_given(xen::ioapic_table());
    reasons_given(xen::lapic_table());
    reasons_given(xen::lapic_regs_table());
    reasons_given(xen::pci_irq_table());
    reasons_given(xen::isa_irq_table());
    reasons_given(xen::pci_link_table());
    reasons_given(xen::pit_table());
    reasons_given(xen::rtc_table());
    reasons_given(xen::hpet_table());
    reasons_given(xen::pmtimer_table());
    reasons_given(xen::mtrr_table());
    reasons_given(xen::tsc_adjust_table());
    for (const auto& row : xen::msr_table()) CHECK((row.member || !row.reason.empty()));
}

TEST_CASE("Xen's rows keep their laws") {
    laws_hold(xen::cpu_table(), [](hvm_hw_cpu& cpu) {
        cpu.flags = XEN_X86_FPU_INITIALISED;
        cpu.pending_event = 0x80000B0E;
        cpu.error_code = 4;
    });
    laws_hold(xen::pic_table(), [](hvm_hw_vpic& chip) {
        chip.is_master = 0;  // and the unused bit behind it
        reinterpret_cast<std::uint8_t*>(&chip)[5] &= 0x3F;
    });
    laws_hold(xen::ioapic_table(), as_it_is);
    laws_hold(xen::lapic_table(), as_it_is);
    laws_hold(xen::lapic_regs_table(), as_it_is);
    laws_hold(xen::pci_irq_table(), as_it_is);
    laws_hold(xen::isa_irq_table(), as_it_is);
    laws_hold(xen::pci_link_table(), [](hvm_hw_pci_link& link) {
        for (auto& route : link.route) route &= 15;
    });
    laws_hold(xen::pit_table(), as_it_is);
    laws_hold(xen::rtc_table(), [](hvm_hw_rtc& rtc) { rtc.rtc_offset %= 4'000'000'000; });
    laws_hold(xen::hpet_table(), as_it_is);
    laws_hold(xen::pmtimer_table(), as_it_is);
    laws_hold(xen::mtrr_table(), as_it_is);
    laws_hold(xen::tsc_adjust_table(), as_it_is);
}

TEST_CASE("x2APIC mode keeps the whole id register") {
    Lapic lapic;
    lapic.base_msr = 0xFEE00C00;
    hvm_hw_lapic_regs page{};
    page.data[0x20] = 0x12;
    page.data[0x21] = 0x34;
    read_rows(xen::lapic_regs_table(), page, lapic);
    CHECK(lapic.id == 0x3412);
    hvm_hw_lapic_regs again{};
    write_rows(xen::lapic_regs_table(), lapic, again);
    CHECK(again.data[0x20] == 0x12);
    CHECK(again.data[0x21] == 0x34);
    CHECK(again.data[0x23] == 0);
}

TEST_CASE("a CPU record without FPU state means the initial state") {
    hvm_hw_cpu cpu{};
    cpu.fpu_regs[0] = 0xAA;
    Vcpu vcpu;
    read_rows(xen::cpu_table(), cpu, vcpu);
    CHECK(vcpu.fpu == Fpu{});
    hvm_hw_cpu again{};
    write_rows(xen::cpu_table(), vcpu, again);
    CHECK(again.flags == XEN_X86_FPU_INITIALISED);
    CHECK(again.fpu_regs[0] == 0x7F);
    CHECK(again.fpu_regs[1] == 0x03);
}

TEST_CASE("PCI links are rotated by one, and not routed is bit 7") {
    hvm_hw_pci_link link{};
    link.route[0] = 5;
    link.route[1] = 10;
    link.route[2] = 0;
    link.route[3] = 11;
    InterruptWires wires;
    read_rows(xen::pci_link_table(), link, wires);
    CHECK(wires.pirq == std::array<std::uint8_t, 4>{10, 0x80, 11, 5});
    hvm_hw_pci_link again{};
    write_rows(xen::pci_link_table(), wires, again);
    CHECK(std::ranges::equal(again.route, link.route));
}

}  // namespace
}  // namespace vmferry
