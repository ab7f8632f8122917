// The recorded guest with one thing changed, all the way into QEMU's sections.
#include "translators/to_qemu.hpp"

#include <functional>

#include <doctest/doctest.h>

#include "parsers/xen/hvm_bodies.hpp"
#include "tests/error_text.hpp"
#include "tests/translators/machine_fixture.hpp"
#include "translators/qemu/extended_state.hpp"

namespace vmferry {
namespace {

using test::Crossing;
using test::signed_value;
using test::value;

void set_register(hvm_hw_lapic_regs& page, std::size_t at, std::uint32_t to) {
    std::memcpy(page.data + at, &to, sizeof to);
}
constexpr std::size_t lapic_id = 0x20, lapic_ldr = 0xD0, lapic_lvtt = 0x320, lapic_tmict = 0x380;
constexpr std::uint32_t one_shot_mode = 0xEC, periodic_mode = 0x200EC, tsc_deadline_mode = 0x400EC;

bool refuses(Crossing& guest, std::string_view rule) {
    const auto image = guest.run();
    REQUIRE_MESSAGE(image, test::error_text(image));
    return guest.refused(rule);
}

void set_tsc_deadline(Crossing& guest) {
    set_register(guest.record<hvm_hw_lapic_regs>(1), lapic_lvtt, tsc_deadline_mode);
    set_register(guest.record<hvm_hw_lapic_regs>(1), lapic_tmict, 0);
    guest.record<xen::Lapic>(1).tdt_msr = 0x123456789ABC;
}

/// As hvmloader leaves it in x2APIC mode: the whole id register, and LDR = cluster and bit of the id.
void set_x2apic(Crossing& guest) {
    for (std::uint16_t vcpu = 0; vcpu < 2; ++vcpu) {
        guest.record<xen::Lapic>(vcpu).apic_base_msr |= 0x400;
        set_register(guest.record<hvm_hw_lapic_regs>(vcpu), lapic_id, 2u * vcpu);
        set_register(guest.record<hvm_hw_lapic_regs>(vcpu), lapic_ldr, 1u << (2 * vcpu));
    }
}

}  // namespace

TEST_CASE("the recorded guest as it is") {
    for (const auto accel : {Accel::tcg, Accel::kvm}) {
        Crossing guest(accel);
        const auto image = guest.good();
        CHECK_FALSE(guest.audit.refused());
        // Xen's vCPU 1 has APIC id 2: the sections of the CPU between them stay as the template has them.
        CHECK(value(image.tree, "apic", "id", 0) == 0);
        CHECK(value(image.tree, "apic", "id", 2) == 2);
        const auto between = guest.plan.fillers.empty() ? 1 : guest.plan.fillers.front().apic_id;
        if (accel == Accel::tcg) CHECK(value(image.tree, "apic", "id", between) == between);
    }
}

TEST_CASE("LAPIC timer: one-shot is due at once, periodic has its whole period before it") {
    constexpr std::uint32_t count = 62500;  // 10 ms of Xen's 100 MHz divided by 16
    struct Row {
        std::uint32_t mode, count;
        std::int64_t ahead;
        bool armed;
    };
    for (const auto& [mode, initial, ahead, armed] :
         {Row{one_shot_mode, count, 0, true}, Row{periodic_mode, count, 10'000'000, true},
          Row{one_shot_mode, 0, 0, false}, Row{one_shot_mode | 0x10000, count, 0, false}}) {
        Crossing guest;
        auto& page = guest.record<hvm_hw_lapic_regs>(1);
        set_register(page, lapic_lvtt, mode);
        set_register(page, lapic_tmict, initial);
        guest.record<xen::Lapic>(1).timer_divisor = 16;
        const auto image = guest.good();
        const auto at = [&image](const char* path) { return signed_value(image.tree, "apic", path, 2); };
        const auto now = signed_value(image.tree, "timer", "cpu_clock_offset");
        CHECK(at("timer_expiry") == (armed ? now + ahead : -1));
        CHECK(at("next_time") == (armed ? now + ahead : 0));
        // The present count that the guest reads: over, or not yet begun.
        const auto tick = std::int64_t{1} << at("count_shift");
        CHECK(at("initial_count_load_time") ==
              (armed ? now + ahead - (at("initial_count") + 1) * tick : now));
    }
}

TEST_CASE("LAPIC timer in TSC-deadline mode: KVM has it, TCG has not") {
    Crossing kvm(Accel::kvm);
    set_tsc_deadline(kvm);
    const auto image = kvm.good();
    CHECK_FALSE(kvm.audit.refused());
    const auto instance = kvm.plan.vcpu[1].cpu_instance;
    CHECK(value(image.tree, "apic", "lvt|0", 2) == tsc_deadline_mode);
    CHECK(value(image.tree, "cpu", "+cpu/msr_tscdeadline|env.tsc_deadline", instance) == 0x123456789ABC);
    CHECK(image.tree.find("cpu", kvm.plan.vcpu[0].cpu_instance)->subsection("cpu/msr_tscdeadline") ==
          nullptr);

    Crossing tcg(Accel::tcg);
    set_tsc_deadline(tcg);
    CHECK(refuses(tcg, "tsc-deadline-under-tcg"));
}

TEST_CASE("local APICs in x2APIC mode: KVM has it, QEMU 7.2's TCG has not") {
    Crossing kvm(Accel::kvm);
    set_x2apic(kvm);
    const auto image = kvm.good();
    CHECK_FALSE(kvm.audit.refused());
    CHECK((value(image.tree, "apic", "apicbase", 2) & 0xC00) == 0xC00);
    CHECK(value(image.tree, "apic", "id", 2) == 2);

    Crossing tcg(Accel::tcg);
    set_x2apic(tcg);
    CHECK(refuses(tcg, "x2apic-under-tcg"));
}

TEST_CASE("an APIC id that the destination does not give") {
    Crossing guest;
    set_register(guest.record<hvm_hw_lapic_regs>(1), lapic_id, 5u << 24);
    CHECK(refuses(guest, "apic-ids"));
}

TEST_CASE("an APIC that the guest has moved") {
    Crossing local;
    local.record<xen::Lapic>(0).apic_base_msr = 0xFED00900;
    CHECK(refuses(local, "apic-base"));
    Crossing io;
    io.record<hvm_hw_vioapic>().base_address = 0xFEC01000;
    CHECK(refuses(io, "apic-base"));
}

TEST_CASE("interrupts of the 8259s as hvmloader has them: through pin 0 of the I/O APIC") {
    Crossing guest;
    guest.record<hvm_hw_vioapic>().redirtbl[0].bits = 0x700;
    set_register(guest.record<hvm_hw_lapic_regs>(0), 0x350, 0x10700);
    guest.record<hvm_hw_vpic>(0).int_output = 1;
    const auto image = guest.good();
    CHECK(value(image.tree, "apic", "lvt|3", 0) == 0x700);
    CHECK((value(image.tree, "cpu_common", "interrupt_request", 0) & 2) == 2);
    CHECK(guest.reported(Verdict::adapted, "8259s"));
    guest = Crossing();
    guest.record<hvm_hw_vioapic>().redirtbl[0].bits = 0x10700;
    CHECK(value(guest.good().tree, "apic", "lvt|3", 0) == 0x10700);
    CHECK_FALSE(guest.reported(Verdict::adapted, "8259s"));
}

TEST_CASE("pending events of a CPU record") {
    // SDM vol. 3, VM-entry interruption information: vector, type in bits 8–10, error code valid, valid.
    const auto with_event = [](std::uint32_t event, Accel accel) {
        Crossing guest(accel);
        auto& cpu = guest.record<hvm_hw_cpu>(0);
        cpu.pending_event = event;
        cpu.error_code = 0;
        return guest;
    };
    constexpr std::uint32_t valid = 1u << 31, nmi = 2u << 8, exception = 3u << 8;
    {
        auto guest = with_event(valid | 0xEC, Accel::kvm);
        const auto image = guest.good();
        CHECK(value(image.tree, "cpu", "env.interrupt_injected") == 0xEC);
    }
    {
        auto guest = with_event(valid | 0xEC, Accel::tcg);
        set_register(guest.record<hvm_hw_lapic_regs>(0), 0x170, 1u << 12);  // in service
        const auto image = guest.good();
        CHECK_FALSE(guest.audit.refused());
        CHECK((value(image.tree, "apic", "irr|7") >> 12 & 1) == 1);
        CHECK((value(image.tree, "apic", "isr|7") >> 12 & 1) == 0);
    }
    for (const auto accel : {Accel::tcg, Accel::kvm}) {
        auto guest = with_event(valid | nmi | 2, accel);
        const auto image = guest.good();
        CHECK_FALSE(guest.audit.refused());
        if (accel == Accel::kvm) CHECK(value(image.tree, "cpu", "env.nmi_pending") == 1);
        if (accel == Accel::tcg) CHECK((value(image.tree, "cpu_common", "interrupt_request") & 0x200) != 0);
    }
    {
        auto guest = with_event(valid | exception | 14 | 1u << 11, Accel::tcg);  // page fault: comes again
        static_cast<void>(guest.good());
        CHECK_FALSE(guest.audit.refused());
    }
    {
        auto guest = with_event(valid | exception | 1, Accel::tcg);  // single step
        CHECK(refuses(guest, "pending-event"));
    }
}

TEST_CASE("AVX state of a CPU_XSAVE record reaches QEMU's registers") {
    for (const auto accel : {Accel::tcg, Accel::kvm}) {
        Crossing guest(accel);
        xen::CpuXsave xsave{7, 7, 7, Buffer(832)};
        xsave.area[512] = std::byte{7};
        for (std::size_t i = 0; i < 256; ++i) xsave.area[576 + i] = static_cast<std::byte>(i);
        guest.add(static_cast<std::uint16_t>(xen::HvmType::cpu_xsave), 0, std::move(xsave));
        guest.record<hvm_hw_cpu>(0).cr4 |= 1u << 18;
        const auto image = guest.good();
        CHECK_FALSE(guest.audit.refused());
        Vcpu back;
        REQUIRE(qemu::read_extended_state(*image.tree.find("cpu", guest.plan.vcpu[0].cpu_instance), back));
        CHECK(back.extended->xcr0 == 7);
        CHECK(back.extended->xstate_bv == 7);
        CHECK(back.extended->ymm_high[0].low == 0x0706050403020100);
        CHECK(back.extended->ymm_high[15].high == 0xFFFEFDFCFBFAF9F8);
    }
}

TEST_CASE("CR4.OSXSAVE without a CPU_XSAVE record") {
    Crossing guest;
    guest.record<hvm_hw_cpu>(1).cr4 |= 1u << 18;
    CHECK(refuses(guest, "xsave-without-record"));
}

TEST_CASE("an HPET in use: its tick is another, and the destination may have none") {
    const auto with_hpet = [](Crossing& guest, std::uint64_t configuration) {
        hvm_hw_hpet hpet{};
        hpet.capability = 0x8086A201;
        hpet.config = configuration;
        guest.remove<hvm_hw_hpet>();
        guest.add(static_cast<std::uint16_t>(xen::HvmType::hpet), 0, hpet);
    };
    Crossing used;
    with_hpet(used, 1);
    CHECK(refuses(used, "hpet-tick"));
    CHECK(used.refused("hpet-absent"));  // this guest's twin has no HPET

    Crossing accepted;
    accepted.audit = AuditReport({"hpet-tick", "hpet-absent"});
    with_hpet(accepted, 1);
    CHECK(accepted.run().has_value());
    CHECK(accepted.reported(Verdict::allowed, "hpet-tick"));
    CHECK(accepted.refused("hpet-absent"));  // impossible: nothing to accept

    Crossing idle;
    with_hpet(idle, 0);
    static_cast<void>(idle.good());
    CHECK_FALSE(idle.audit.refused());
}

TEST_CASE("the vCPUs' time stamp counters under TCG") {
    Crossing guest;
    guest.record<hvm_hw_cpu>(1).tsc = guest.record<hvm_hw_cpu>(0).tsc + 1000;
    CHECK(refuses(guest, "vcpu-tsc"));
    Crossing kvm(Accel::kvm);
    kvm.record<hvm_hw_cpu>(1).tsc = kvm.record<hvm_hw_cpu>(0).tsc + 1000;
    static_cast<void>(kvm.good());
    CHECK_FALSE(kvm.audit.refused());
}

TEST_CASE("a device model without its clock") {
    Crossing guest;
    std::erase_if(guest.source.device_model.sections,
                  [](const qemu::Section& section) { return section.idstr == "timer"; });
    const auto missing = guest.run();
    REQUIRE_FALSE(missing);
    CHECK(
        missing.error().text() ==
        fmt::format("qemu device model.timer at offset {:#x}: found EOF without such a section, expected the "
                    "virtual clock of the timers",
                    guest.source.device_model.eof));

    Crossing backwards;
    auto* timer = backwards.source.device_model.find("timer");
    REQUIRE(timer);
    REQUIRE(timer->set("cpu_clock_offset", ~std::uint64_t{0}));
    const auto negative = backwards.run();
    REQUIRE_FALSE(negative);
    CHECK(negative.error().record == "section timer instance 0");
    CHECK(negative.error().field == "cpu_clock_offset");
    CHECK(negative.error().offset == timer->find("cpu_clock_offset")->offset);
    CHECK(negative.error().found == "-1");
}

}  // namespace vmferry
