// What was on its way into a vCPU at the instant.
#include "translators/events.hpp"

#include <functional>

#include <doctest/doctest.h>

namespace vmferry {
namespace {

using Type = PendingEvent::Type;

struct Settled {
    Vcpu vcpu;
    std::array<Pic, 2> pic;
    AuditReport audit;
};

Vcpu with_event(Type type, std::uint8_t vector, bool has_error_code = false) {
    Vcpu vcpu;
    vcpu.online = true;
    vcpu.event = {true, type, vector, has_error_code, has_error_code ? 5u : 0u};
    return vcpu;
}

Settled settle(const Vcpu& vcpu, Accel accel, std::array<Pic, 2> pic = {}) {
    Settled result{vcpu, pic, {}};
    settle_event(result.vcpu, 3, result.pic, accel, result.audit);
    return result;
}

bool violates(const Settled& settled) {
    for (const auto& finding : settled.audit.findings())
        if (finding.rule == "pending-event" && finding.verdict == Verdict::refused) return true;
    return false;
}

/// Master at 0x30, slave at 0x38, both initialised.
std::array<Pic, 2> pics() {
    std::array<Pic, 2> pic;
    pic[0].vector_base = 0x30;
    pic[1].vector_base = 0x38;
    return pic;
}

}  // namespace

TEST_CASE("no pending event: nothing happens") {
    for (const auto accel : {Accel::tcg, Accel::kvm}) {
        Vcpu idle;
        const auto settled = settle(idle, accel);
        CHECK(settled.vcpu == idle);
        CHECK(settled.audit.findings().empty());
    }
}

TEST_CASE("an external interrupt from the LAPIC: KVM injects it again, TCG takes the acknowledgement back") {
    auto vcpu = with_event(Type::external, 0xEC);
    vcpu.lapic.isr[7] = 1u << 12;  // 0xEC in service
    vcpu.lapic.irr[1] = 2;         // another one waits
    const auto kvm = settle(vcpu, Accel::kvm);
    CHECK(kvm.vcpu == vcpu);
    CHECK_FALSE(kvm.audit.refused());

    const auto tcg = settle(vcpu, Accel::tcg);
    CHECK_FALSE(tcg.vcpu.event.valid);
    CHECK(tcg.vcpu.lapic.isr[7] == 0);
    CHECK(tcg.vcpu.lapic.irr[7] == 1u << 12);
    CHECK(tcg.vcpu.lapic.irr[1] == 2);
    CHECK_FALSE(tcg.audit.refused());
}

TEST_CASE("an external interrupt from the 8259s, under TCG") {
    auto pic = pics();
    pic[0].isr = 1;  // the timer
    const auto master = settle(with_event(Type::external, 0x30), Accel::tcg, pic);
    CHECK_FALSE(master.audit.refused());
    CHECK(master.pic[0].isr == 0);
    CHECK(master.pic[0].irr == 1);
    CHECK(master.pic[0].output);
    CHECK(master.pic[1] == pic[1]);

    pic = pics();
    pic[0].isr = 4;
    pic[1].isr = 0x40;  // IRQ 14
    const auto slave = settle(with_event(Type::external, 0x3E), Accel::tcg, pic);
    CHECK_FALSE(slave.audit.refused());
    CHECK(slave.pic[1].isr == 0);
    CHECK(slave.pic[1].irr == 0x40);
    CHECK(slave.pic[0].isr == 0);
    CHECK(slave.pic[0].irr == 4);
    CHECK(slave.pic[0].output);

    // In automatic EOI mode nothing is in service after the acknowledgement.
    pic = pics();
    pic[0].auto_eoi = true;
    const auto automatic = settle(with_event(Type::external, 0x31), Accel::tcg, pic);
    CHECK_FALSE(automatic.audit.refused());
    CHECK(automatic.pic[0].irr == 2);
}

TEST_CASE("an external interrupt that no controller has in service is refused under TCG") {
    CHECK(violates(settle(with_event(Type::external, 0x55), Accel::tcg, pics())));
    CHECK(violates(settle(with_event(Type::external, 0x30), Accel::tcg, pics())));
    CHECK_FALSE(violates(settle(with_event(Type::external, 0x55), Accel::kvm, pics())));
}

TEST_CASE("an NMI is carried by both") {
    for (const auto accel : {Accel::tcg, Accel::kvm}) {
        const auto vcpu = with_event(Type::nmi, 2);
        const auto settled = settle(vcpu, accel);
        CHECK(settled.vcpu == vcpu);
        CHECK_FALSE(settled.audit.refused());
    }
    CHECK((interrupt_request(with_event(Type::nmi, 2), Pic{}) & 0x200) != 0);
}

TEST_CASE("exceptions: faults come again by themselves, traps only KVM can inject") {
    for (const auto fault : std::initializer_list<std::uint8_t>{0, 6, 13, 14, 17})
        for (const auto accel : {Accel::tcg, Accel::kvm}) {
            CAPTURE(static_cast<unsigned>(fault));
            const auto settled = settle(with_event(Type::exception, fault, fault >= 13), accel);
            CHECK_FALSE(settled.vcpu.event.valid);
            CHECK_FALSE(settled.audit.refused());
        }
    for (const auto trap : std::initializer_list<std::uint8_t>{1, 3, 4}) {
        CAPTURE(static_cast<unsigned>(trap));
        CHECK(violates(settle(with_event(Type::exception, trap), Accel::tcg)));
        const auto vcpu = with_event(Type::exception, trap);
        const auto kvm = settle(vcpu, Accel::kvm);
        CHECK(kvm.vcpu == vcpu);
        CHECK_FALSE(kvm.audit.refused());
    }
    // A double fault has an error code, and is no fault of its instruction.
    CHECK(violates(settle(with_event(Type::exception, 8, true), Accel::kvm)));
    CHECK(violates(settle(with_event(Type::software_interrupt, 0x80), Accel::kvm)));
    CHECK(violates(settle(with_event(Type::software_interrupt, 0x80), Accel::tcg)));
}

TEST_CASE("the 8259s on pin 0 of the I/O APIC come through LINT0 of the processor that it names") {
    constexpr std::uint64_t ext_int = 0x700, fixed = 0, to_second = std::uint64_t{2} << 56;
    constexpr std::uint32_t closed = 0x10700, opened = 0x700;
    const auto lint0 = [](
                           std::uint64_t pin0, const std::function<void(Lapic&)>& change = [](Lapic&) {}) {
        Machine machine;
        machine.vcpus.resize(2);
        for (unsigned number = 0; number < 2; ++number) {
            auto& lapic = machine.vcpus[number].lapic;
            lapic.id = 2 * number;
            lapic.base_msr |= 0x800;
            lapic.svr |= 0x100;
            lapic.lvt[3] = closed;
            change(lapic);
        }
        machine.ioapic.redirection.assign(48, redirection::reset);
        machine.ioapic.redirection[0] = pin0;
        const auto before = machine.vcpus;
        const bool nothing_done = open_lint0(machine).empty();
        CHECK(nothing_done == (machine.vcpus == before));
        const std::array result{machine.vcpus[0].lapic.lvt[3], machine.vcpus[1].lapic.lvt[3]};
        close_lint0(machine);
        CHECK(machine.vcpus == before);
        return result;
    };
    using Both = std::array<std::uint32_t, 2>;
    CHECK(lint0(ext_int) == Both{opened, closed});
    CHECK(lint0(ext_int | to_second) == Both{closed, opened});
    CHECK(lint0(ext_int | redirection::masked) == Both{closed, closed});
    CHECK(lint0(fixed) == Both{closed, closed});
    CHECK(lint0(ext_int | std::uint64_t{7} << 56) == Both{closed, closed});
    CHECK(lint0(ext_int, [](Lapic& lapic) { lapic.svr = 0xFF; }) == Both{closed, closed});
    CHECK(lint0(ext_int, [](Lapic& lapic) { lapic.base_msr &= ~0x800ull; }) == Both{closed, closed});
    // Open already, in whatever mode: the guest's own doing.
    CHECK(lint0(ext_int, [](Lapic& lapic) { lapic.lvt[3] = 0x30; }) == Both{0x30, 0x30});
}

}  // namespace vmferry
