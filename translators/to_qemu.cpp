#include "translators/to_qemu.hpp"

#include "translators/clocks.hpp"
#include "translators/cpu_state.hpp"
#include "translators/devices.hpp"
#include "translators/events.hpp"
#include "translators/interrupts.hpp"
#include "translators/lapic_timer.hpp"
#include "translators/mtrr.hpp"
#include "translators/pv_drivers.hpp"
#include "translators/qemu/write_machine.hpp"
#include "translators/xen/read_machine.hpp"

namespace vmferry {
namespace {

/// Clock on which the device model's timers stand.
Result<std::int64_t> device_model_clock(const qemu::DeviceTree& device_model) {
    const auto* timer = device_model.find("timer");
    if (!timer)
        return stream_error("qemu", "device model", "timer", device_model.eof, "EOF without such a section",
                            "the virtual clock of the timers");
    VMFERRY_ASSIGN(const auto clock, timer->get_signed("cpu_clock_offset"));
    constexpr std::int64_t limit = std::int64_t{1} << 62;
    if (clock < 0 || clock > limit)
        return stream_error("qemu", "section timer instance 0", "cpu_clock_offset",
                            timer->find("cpu_clock_offset")->offset, fmt::format("{}", clock),
                            fmt::format("0 … {}", limit));
    return clock;
}

void check_apics(const Machine& machine, const Plan& plan, AuditReport& audit) {
    for (unsigned number = 0; number < machine.vcpus.size(); ++number) {
        const auto& lapic = machine.vcpus[number].lapic;
        if (number < plan.vcpu.size() && lapic.id != plan.vcpu[number].apic_id)
            audit.violated("apic-ids", fmt::format("vCPU {}: {} on Xen, {} in the destination", number,
                                                   lapic.id, plan.vcpu[number].apic_id));
        constexpr std::uint64_t page = 0xFFFFFF000;
        if ((lapic.base_msr & page) != 0xFEE00000)
            audit.violated("apic-base", fmt::format("vCPU {}: {:#x}", number, lapic.base_msr));
        if (lapic.pending_esr != 0)
            audit.adapted(fmt::format("vCPU {}", number),
                          fmt::format("pending LAPIC errors {:#x} are lost", lapic.pending_esr));
        if (plan.accel == Accel::tcg && lapic.x2apic())
            audit.violated("x2apic-under-tcg", fmt::format("vCPU {}", number));
        if (plan.accel == Accel::tcg && (lapic.lvt[0] >> 17 & 3) == 2)
            audit.violated("tsc-deadline-under-tcg",
                           fmt::format("vCPU {}: LVT timer {:#x}", number, lapic.lvt[0]));
    }
    if (machine.ioapic.base != 0xFEC00000)
        audit.violated("apic-base", fmt::format("I/O APIC: {:#x}", machine.ioapic.base));
}

void check_tsc(const Machine& machine, Accel accel, AuditReport& audit) {
    if (accel != Accel::tcg) return;
    const Vcpu* first = nullptr;
    for (unsigned number = 0; number < machine.vcpus.size(); ++number) {
        const auto& vcpu = machine.vcpus[number];
        if (!vcpu.online) continue;
        if (!first) first = &vcpu;
        if (vcpu.tsc != first->tsc)
            audit.violated("vcpu-tsc", fmt::format("vCPU {} is {} ticks ahead of the first", number,
                                                   static_cast<std::int64_t>(vcpu.tsc - first->tsc)));
    }
    audit.adapted(
        "TSC", fmt::format("goes on from {:#x} at the rate of the destination's host; the guest saw {} kHz",
                           first ? first->tsc : 0, machine.tsc_khz));
}

void check_hpet(const Machine& machine, const qemu::Snapshot& twin, AuditReport& audit) {
    if (!machine.hpet || !machine.hpet->enabled()) return;
    audit.violated("hpet-tick", fmt::format("its configuration is {:#x}", machine.hpet->configuration));
    if (!twin.tree.find("hpet"))
        audit.violated("hpet-absent", fmt::format("its configuration is {:#x}", machine.hpet->configuration));
}

void check_rest(const qemu::DeviceTree& device_model, AuditReport& audit) {
    if (device_model.rest != 0)
        audit.violated("device-model-rest", fmt::format("{} bytes", device_model.rest));
}

/// Xen's PCI wires repeat what the devices hold; the devices' own word is taken, and a difference reported.
void compare_wires(const Machine& machine, std::span<const PciDevice> devices, AuditReport& audit) {
    std::array<std::uint64_t, 2> held{};
    for (const auto& device : devices)
        for (unsigned pin = 0; pin < 4; ++pin)
            if (device.asserted[pin] && !device.interrupts_disabled())
                held[device.device / 16] |= std::uint64_t{1} << (device.device % 16 * 4 + pin);
    if (held != machine.wires.pci)
        audit.adapted("PCI interrupt lines",
                      fmt::format("{:#x}:{:#x} on Xen's wires, {:#x}:{:#x} at the devices",
                                  machine.wires.pci[1], machine.wires.pci[0], held[1], held[0]));
}

/// From Xen's platform to QEMU's; everything that needs more than one field.
void adapt(Machine& machine, const XenSource& source, const Plan& plan, AuditReport& audit) {
    const auto devices = pci_devices(source.device_model);
    for (unsigned number = 0; number < machine.vcpus.size(); ++number) {
        auto& vcpu = machine.vcpus[number];
        const auto subject = fmt::format("vCPU {}", number);
        settle_event(vcpu, number, machine.pic, plan.accel, audit);
        complete_extended_state(vcpu, number, source.cpuid, plan.accel, audit);
        check_cpu_state(vcpu, number, source.cpuid, plan.accel, audit);
        if (const auto done = adapt_lapic_timer(vcpu.lapic, machine.firmware, plan.accel); !done.empty())
            audit.adapted(subject, done);
        if (const auto done = rebuild_variable_mtrrs(vcpu.mtrr); !done.empty()) audit.adapted(subject, done);
        if (!vcpu.online) audit.carried(subject, "is offline and waits for SIPI");
    }
    compare_wires(machine, devices, audit);
    fold_interrupts(machine, devices, audit);
    deliver_level_interrupts(machine);
    if (const auto done = open_lint0(machine); !done.empty()) audit.adapted("8259s", done);
    for (std::size_t n = 0; n < machine.pit.channels.size(); ++n)
        if (const auto mode = machine.pit.channels[n].mode; sanitise(machine.pit.channels[n]))
            audit.adapted(
                "PIT", fmt::format("channel {}: what no 8254 can hold is put right (mode {:#x})", n, mode));
}

void report_carried(const Machine& machine, const Plan& plan, AuditReport& audit) {
    unsigned online = 0;
    for (const auto& vcpu : machine.vcpus) online += vcpu.online ? 1 : 0;
    audit.carried("processors", fmt::format("{} of {} vCPUs run, under {}", online, machine.vcpus.size(),
                                            plan.accel == Accel::kvm ? "KVM" : "TCG"));
    audit.carried("firmware", machine.firmware == Firmware::hvmloader
                                  ? "hvmloader's platform"
                                  : "SeaBIOS's platform, as QEMU sets it up");
    audit.carried("clocks", fmt::format("PM timer at {:#x}, RTC {} s from UTC", machine.pm.timer,
                                        machine.rtc.offset_ns / ns_per_second));
}

}  // namespace

Result<QemuImage> translate_to_qemu(const XenSource& source, const Plan& plan, const qemu::Snapshot& twin,
                                    std::uint64_t realtime_ns, AuditReport& audit) {
    VMFERRY_ASSIGN(auto machine, xen::read_machine(source, audit));
    VMFERRY_ASSIGN(const auto device_clock, device_model_clock(source.device_model));

    if (machine.firmware != plan.firmware)
        audit.violated("firmware-origin", machine.firmware == Firmware::hvmloader
                                              ? "hvmloader set it up, the plan is for SeaBIOS under QEMU"
                                              : "SeaBIOS set it up under QEMU, the plan is for hvmloader");
    check_pv_drivers(machine, source, audit);
    check_apics(machine, plan, audit);
    check_tsc(machine, plan.accel, audit);
    check_hpet(machine, twin, audit);
    check_rest(source.device_model, audit);
    adapt(machine, source, plan, audit);

    // A guest of hvmloader reads Xen's PM timer; one that QEMU's firmware set up reads the device model's,
    // which is the device model's clock already.
    const auto clock = machine.firmware == Firmware::hvmloader
                           ? virtual_clock_for(machine.pm.timer, device_clock)
                           : device_clock;
    const qemu::Context context{.accel = plan.accel,
                                .virtual_clock_ns = clock,
                                .realtime_ns = static_cast<std::int64_t>(realtime_ns)};

    QemuImage image{.tree = twin.tree};
    VMFERRY_TRY(qemu::write_devices(source.device_model, clock - device_clock, image.tree, audit));
    VMFERRY_TRY(qemu::write_machine(machine, plan, context, pci_devices(source.device_model), image.tree));
    for (const auto& device : pci_devices(source.device_model))
        if (!plan.vga.empty() && device.name == plan.vga_vmsd && device.device == plan.vga_slot.device)
            image.vga_bar = memory_bar(device, 0);
    report_carried(machine, plan, audit);
    return image;
}

}  // namespace vmferry
