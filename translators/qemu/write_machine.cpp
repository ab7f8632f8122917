#include "translators/qemu/write_machine.hpp"

#include <algorithm>

#include "translators/events.hpp"
#include "translators/hflags.hpp"
#include "translators/interrupts.hpp"
#include "translators/qemu/extended_state.hpp"
#include "translators/qemu/tables.hpp"

namespace vmferry::qemu {
namespace {

Result<Section*> wanted(DeviceTree& tree, std::string_view name, std::uint32_t instance = 0) {
    if (auto* section = tree.find(name, instance)) return section;
    return stream_error("template", fmt::format("{} {}", name, instance), {}, 0, "no such section",
                        "a section of the destination's twin");
}

/// The one PCI section of this name.
Result<Section*> wanted_pci(DeviceTree& tree, std::string_view name) {
    for (auto& section : tree.sections)
        if (name_without_slot(section.idstr) == name) return &section;
    return stream_error("template", std::string(name), {}, 0, "no such section",
                        "a section of the destination's twin");
}

template <typename Neutral>
Result<void> write_section(DeviceTree& tree, std::string_view name, std::uint32_t instance,
                           const Table<Neutral>& table, const Context& context, const Neutral& from) {
    VMFERRY_ASSIGN(auto* section, wanted(tree, name, instance));
    return write_rows(table, context, from, *section);
}

/// halted, mp_state and the TSC's rate: whether and how the processor goes on.
Result<void> write_run_state(const Vcpu& vcpu, const Machine& machine, const Context& context,
                             Section& common, Section& cpu) {
    constexpr std::uint64_t runnable = 0, uninitialised = 1;  // KVM_MP_STATE_…
    VMFERRY_TRY(common.set("halted", vcpu.online ? 0 : 1));
    VMFERRY_TRY(common.set("interrupt_request",
                           context.accel == Accel::tcg ? interrupt_request(vcpu, machine.pic[0]) : 0));
    VMFERRY_TRY(cpu.set("env.mp_state", vcpu.online ? runnable : uninitialised));
    if (context.accel == Accel::kvm && machine.tsc_khz != 0)
        set_subsection(cpu, "cpu/tsc_khz", {integer_field("env.tsc_khz", "int64", 8, machine.tsc_khz)});
    return {};
}

void write_lapic_msrs(const Lapic& lapic, Section& cpu) {
    std::vector<Field> fields;
    if (lapic.tsc_deadline != 0)
        fields.push_back(integer_field("env.tsc_deadline", "uint64", 8, lapic.tsc_deadline));
    set_subsection(cpu, "cpu/msr_tscdeadline", std::move(fields));
}

Result<void> write_vcpu(const Machine& machine, const Vcpu& vcpu, const PlannedVcpu& place,
                        const Context& context, DeviceTree& tree) {
    VMFERRY_ASSIGN(auto* common, wanted(tree, "cpu_common", place.cpu_instance));
    VMFERRY_ASSIGN(auto* cpu, wanted(tree, "cpu", place.cpu_instance));
    VMFERRY_ASSIGN(auto* apic, wanted(tree, "apic", place.apic_id));
    if (vcpu.online) {
        VMFERRY_TRY(write_rows(cpu_table(), context, vcpu, *cpu));
        VMFERRY_TRY(cpu->set("env.hflags", hflags(vcpu, context.accel)));
        VMFERRY_TRY(write_extended_state(vcpu, *cpu));
    } else {
        // SIPI starts it from the reset state, which is what the template holds; MTRRs and PAT outlive INIT.
        for (const auto& row : cpu_table())
            if (row.write && row.field.starts_with("mtrr.")) VMFERRY_TRY(row.write(row, context, vcpu, *cpu));
    }
    write_lapic_msrs(vcpu.lapic, *cpu);
    VMFERRY_TRY(write_rows(apic_table(), context, vcpu.lapic, *apic));
    return write_run_state(vcpu, machine, context, *common, *cpu);
}

Result<void> write_pci_lines(std::span<const PciDevice> devices, Section& bus, Section& piix3) {
    const auto asserted = asserted_per_link(devices);
    for (unsigned link = 0; link < asserted.size(); ++link) {
        VMFERRY_TRY(bus.set(fmt::format("irq_count|{}", link), asserted[link]));
        VMFERRY_TRY(piix3.set(fmt::format("pci_irq_levels_vmstate|{}", link), asserted[link] != 0 ? 1 : 0));
    }
    return {};
}

Result<void> edit_config(Section& section, std::string_view path, auto&& edit) {
    VMFERRY_ASSIGN(const auto old, section.bytes(path));
    Buffer config(old.begin(), old.end());
    edit(config);
    return section.set_bytes(path, config);
}

/// 82441FX, PAM registers: two nibbles each, bit 0 read enable, bit 1 write enable; 0x59's low nibble is
/// reserved. Xen has plain RAM from 0xC0000 to 0xFFFFF, whatever its device model's copy of the registers
/// says. What SeaBIOS had shadowed in RAM keeps its setting, with its write protection.
Result<void> write_host_bridge(Section& section, Firmware firmware) {
    return edit_config(section, "parent_obj|config[0]", [firmware](Buffer& config) {
        for (std::size_t at = 0x59; at <= 0x5F; ++at)
            for (const unsigned nibble : {0u, 4u}) {
                constexpr std::uint8_t ram = 3, reads = 1;
                if (at == 0x59 && nibble == 0) continue;
                auto value = std::to_integer<unsigned>(config[at]);
                if (firmware == Firmware::seabios_on_qemu && (value >> nibble & reads)) continue;
                value = (value & ~(15u << nibble)) | unsigned{ram} << nibble;
                config[at] = static_cast<std::byte>(value);
            }
        if (firmware == Firmware::hvmloader) config[0x59] = std::byte{0x30};
    });
}

/// The device that backs hvmloader's ACPI area: BAR 2 (64-bit, prefetchable) at the area, memory decoding on.
Result<void> write_acpi_area(const Plan& plan, DeviceTree& tree) {
    if (plan.acpi_block.empty()) return {};
    for (auto& section : tree.sections) {
        const auto device = pci_device(section);
        if (!device || device->device != plan.acpi_slot.device || device->function != plan.acpi_slot.function)
            continue;
        const auto path = section.root.fields.front().name + "|config[0]";
        return edit_config(section, path, [&plan](Buffer& config) {
            const auto store = [&config](std::size_t at, std::uint32_t value) {
                std::memcpy(config.data() + at, &value, sizeof value);
            };
            config[0x04] = std::byte{2};
            store(0x10, 0);
            store(0x18, static_cast<std::uint32_t>(plan.acpi_base) | 0xC);
            store(0x1C, static_cast<std::uint32_t>(plan.acpi_base >> 32));
        });
    }
    return stream_error(
        "template", fmt::format("PCI device 00:{:02x}.{}", plan.acpi_slot.device, plan.acpi_slot.function),
        {}, 0, "no such section", "the device that backs the ACPI area");
}

/// Whatever the stream says, the destination stays paused until the handover.
Result<void> write_global_state(DeviceTree& tree) {
    auto* section = tree.find("globalstate");
    if (!section) return {};
    constexpr std::string_view paused = "paused";
    VMFERRY_ASSIGN(const auto old, section->bytes("runstate"));
    Buffer text(old.size());
    if (text.size() <= paused.size())
        return stream_error("template", "globalstate", "runstate", section->offset,
                            fmt::format("{} bytes", text.size()), "room for a name");
    std::memcpy(text.data(), paused.data(), paused.size());
    VMFERRY_TRY(section->set_bytes("runstate", text));
    return section->set("size", paused.size() + 1);
}

}  // namespace

Result<void> write_machine(const Machine& machine, const Plan& plan, const Context& context,
                           std::span<const PciDevice> devices, DeviceTree& tree) {
    if (machine.vcpus.size() > plan.vcpu.size())
        return stream_error("plan", "vcpu", {}, 0, fmt::format("{}", plan.vcpu.size()),
                            fmt::format("{} vCPUs", machine.vcpus.size()));
    VMFERRY_TRY(write_section(tree, "timer", 0, timer_table(), context, machine));
    for (std::size_t number = 0; number < machine.vcpus.size(); ++number)
        VMFERRY_TRY(write_vcpu(machine, machine.vcpus[number], plan.vcpu[number], context, tree));

    VMFERRY_TRY(write_section(tree, "ioapic", 0, ioapic_table(), context, machine.ioapic));
    for (unsigned chip = 0; chip < 2; ++chip)
        VMFERRY_TRY(write_section(tree, "i8259", chip, pic_table(), context, machine.pic[chip]));
    VMFERRY_TRY(write_section(tree, "i8254", 0, pit_table(), context, machine.pit));
    VMFERRY_TRY(write_section(tree, "pcspk", 0, speaker_table(), context, machine.pit));
    VMFERRY_TRY(write_section(tree, "mc146818rtc", 0, rtc_table(), context, machine.rtc));
    if (machine.hpet && tree.find("hpet"))
        VMFERRY_TRY(write_section(tree, "hpet", 0, hpet_table(), context, *machine.hpet));

    VMFERRY_ASSIGN(auto* power, wanted_pci(tree, "piix4_pm"));
    // A guest that does not use Xen's block has its PM1 registers in the device model, copied already.
    for (const auto& row : piix4_pm_table())
        if (row.write && (machine.firmware == Firmware::hvmloader || row.field.starts_with("pm.timer")))
            VMFERRY_TRY(row.write(row, context, machine.pm, *power));
    VMFERRY_ASSIGN(auto* bridge, wanted_pci(tree, "I440FX"));
    VMFERRY_TRY(write_host_bridge(*bridge, machine.firmware));
    VMFERRY_ASSIGN(auto* piix3, wanted_pci(tree, "PIIX3"));
    VMFERRY_TRY(write_rows(piix3_table(), context, machine.wires, *piix3));
    VMFERRY_ASSIGN(auto* bus, wanted(tree, "PCIBUS"));
    VMFERRY_TRY(write_pci_lines(devices, *bus, *piix3));
    VMFERRY_TRY(write_acpi_area(plan, tree));
    return write_global_state(tree);
}

}  // namespace vmferry::qemu
