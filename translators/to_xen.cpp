#include "translators/to_xen.hpp"

#include <algorithm>

#include "translators/cpu_state.hpp"
#include "translators/devices.hpp"
#include "translators/events.hpp"
#include "translators/interrupts.hpp"
#include "translators/lapic_timer.hpp"
#include "translators/qemu/read_machine.hpp"
#include "translators/xen/write_device_model.hpp"
#include "translators/xen/write_machine.hpp"

namespace vmferry {
namespace {

/// A guest of hvmloader knows Xen's APIC ids, 2n. The processors between them are there only because QEMU's
/// machine has no gaps, and nobody has started them.
void drop_fillers(Machine& machine, AuditReport& audit) {
    if (machine.firmware != Firmware::hvmloader) return;
    std::vector<Vcpu> real;
    for (const auto& vcpu : machine.vcpus) {
        const auto expected = 2 * static_cast<std::uint32_t>(real.size());
        if (vcpu.lapic.id == expected)
            real.push_back(vcpu);
        else if (vcpu.online)
            audit.violated("apic-ids",
                           fmt::format("APIC id {} runs, Xen's next one is {}", vcpu.lapic.id, expected));
    }
    machine.vcpus = std::move(real);
}

void check_apics(const Machine& machine, const XenPlan& plan, AuditReport& audit) {
    if (machine.vcpus.size() != plan.vcpus)
        audit.violated("processor-count",
                       fmt::format("{} in the source's state, {} in the domain's configuration",
                                   machine.vcpus.size(), plan.vcpus));
    constexpr std::uint64_t page = 0xFFFFFF000;
    for (unsigned number = 0; number < machine.vcpus.size(); ++number) {
        const auto& lapic = machine.vcpus[number].lapic;
        if ((lapic.base_msr & page) != 0xFEE00000)
            audit.violated("apic-base", fmt::format("vCPU {}: {:#x}", number, lapic.base_msr));
        // Xen's id of a processor is 2n. In xAPIC mode another one can be loaded and interrupts find it; in
        // x2APIC mode the id is derived again.
        if (lapic.id == 2 * number) continue;
        if (lapic.x2apic())
            audit.violated("x2apic-ids", fmt::format("vCPU {}: {}, Xen's {}", number, lapic.id, 2 * number));
        else
            audit.adapted(fmt::format("vCPU {}", number),
                          fmt::format("keeps its APIC id {}; CPUID shows Xen's {}", lapic.id, 2 * number));
    }
}

void check_clocks(const Machine& machine, const XenPlan& plan, AuditReport& audit) {
    if (machine.hpet && machine.hpet->enabled())
        audit.violated("hpet-on-xen", fmt::format("its configuration is {:#x}", machine.hpet->configuration));
    if (plan.tsc_khz == 0) audit.violated("tsc-rate", "neither the source nor --set tsc_khz= says it");
    if (machine.tsc_khz != 0 && plan.tsc_khz != machine.tsc_khz)
        audit.violated("tsc-rate", fmt::format("{} kHz in the source's state, {} kHz planned",
                                               machine.tsc_khz, plan.tsc_khz));
}

/// From QEMU's platform to Xen's; everything that needs more than one field.
void adapt(Machine& machine, const QemuSource& source, const XenPlan& plan, AuditReport& audit) {
    const auto devices = pci_devices(source.tree);
    for (unsigned number = 0; number < machine.vcpus.size(); ++number) {
        auto& vcpu = machine.vcpus[number];
        const auto subject = fmt::format("vCPU {}", number);
        // Xen injects what was being delivered, as KVM does.
        settle_event(vcpu, number, machine.pic, Accel::kvm, audit);
        check_cpu_state(vcpu, number, plan.cpuid, Accel::kvm, audit);
        if (const auto done =
                adapt_lapic_timer_to_xen(vcpu.lapic, number, machine.firmware, plan.accel, audit);
            !done.empty())
            audit.adapted(subject, done);
        if (!vcpu.online) audit.carried(subject, "is offline and waits for SIPI");
    }
    unfold_interrupts(machine, devices, audit);
    deliver_level_interrupts(machine);
    close_lint0(machine);
}

Result<DeviceMemory> device_memory(const QemuSource& source, const XenPlan& plan) {
    DeviceMemory memory;
    bool bridge = false;
    for (const auto& device : pci_devices(source.tree)) {
        if (!plan.vga_vmsd.empty() && device.name == plan.vga_vmsd && device.device == plan.vga_slot.device)
            memory.vga_bar = memory_bar(device, 0);
        if (device.name != "I440FX") continue;
        bridge = true;
        // 82441FX, PAM registers: two nibbles each, bit 0 read enable. 0x59's upper nibble is
        // 0xF0000–0xFFFFF, 0x5A … 0x5F go up from 0xC0000.
        memory.reads_dram[12] = (device.byte(0x59) & 0x10) != 0;
        for (std::size_t n = 0; n < 12; ++n)
            memory.reads_dram[n] = (device.byte(0x5A + n / 2) >> (n % 2 * 4) & 1) != 0;
    }
    if (!bridge)
        return stream_error("qemu", "section I440FX", {}, source.tree.eof, "no such section",
                            "the host bridge of a pc machine");
    return memory;
}

void report_carried(const Machine& machine, const XenPlan& plan, AuditReport& audit) {
    const auto online = std::ranges::count_if(machine.vcpus, &Vcpu::online);
    audit.carried("processors", fmt::format("{} of {} vCPUs run, under {} until now", online,
                                            machine.vcpus.size(), plan.accel == Accel::kvm ? "KVM" : "TCG"));
    audit.carried("firmware", machine.firmware == Firmware::hvmloader
                                  ? "hvmloader's platform"
                                  : "SeaBIOS's platform, as QEMU sets it up");
}

}  // namespace

Result<XenImage> translate_to_xen(const QemuSource& source, const XenPlan& plan, const XenTemplate& xen,
                                  std::uint64_t realtime_ns, AuditReport& audit) {
    VMFERRY_ASSIGN(const auto context, qemu::source_context(source.tree, plan.accel, realtime_ns));
    VMFERRY_ASSIGN(auto machine, qemu::read_machine(source.tree, context));
    VMFERRY_TRY(qemu::check_processor_rest(source.tree, machine, context, audit));
    if (machine.firmware != plan.firmware())
        audit.violated("firmware-origin",
                       machine.firmware == Firmware::hvmloader
                           ? "hvmloader set it up, but its area (…/xfw) is not there"
                           : "SeaBIOS set it up under QEMU, but hvmloader's area is there");
    drop_fillers(machine, audit);
    check_apics(machine, plan, audit);
    check_clocks(machine, plan, audit);
    adapt(machine, source, plan, audit);

    XenImage image;
    VMFERRY_ASSIGN(image.device_model, xen::write_device_model(source.tree, xen.device_model, audit));
    VMFERRY_ASSIGN(image.memory, device_memory(source, plan));
    // What a refusal is about may be what cannot be written.
    if (audit.refused()) return image;
    VMFERRY_ASSIGN(image.context, xen::write_machine(machine, plan, xen));
    VMFERRY_ASSIGN(image.params, xen::write_params(xen, machine.firmware));
    image.tsc_info = xen::write_tsc_info(machine, plan);
    report_carried(machine, plan, audit);
    return image;
}

}  // namespace vmferry
