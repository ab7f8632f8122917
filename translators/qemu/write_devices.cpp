#include <algorithm>

#include "translators/qemu/write_machine.hpp"

namespace vmferry::qemu {
namespace {

constexpr TemplateSection own_sections[] = {
    {"slirp", "QEMU's user network: connections of the source's host do not exist here"},
    {"kvm-tpr-opt", "a patch of guest code that QEMU's own BIOS sets up; inactive"},
    {"fw_cfg", "read by firmware at boot only"},
    {"acpi_build", "QEMU's own ACPI tables, for its own firmware; the guest has hvmloader's"},
    {"kvmclock", "KVM's paravirtual clock: a Xen guest does not use it"},
    {"globalstate", "always \"paused\": the handover decides"},
    {"ivshmem-plain", "backs the ACPI area; its BAR is set by the plan"},
};

constexpr std::string_view platform_sections[] = {"timer", "cpu_common",  "cpu",   "apic", "ioapic", "i8259",
                                                  "i8254", "mc146818rtc", "pcspk", "hpet", "PCIBUS"};

bool is_template_section(std::string_view name) {
    return std::ranges::find(own_sections, name, &TemplateSection::name) != std::end(own_sections);
}
bool is_platform_section(std::string_view name) {
    return std::ranges::find(platform_sections, name) != std::end(platform_sections);
}

/// A device in another slot than predicted is a plan gone wrong, not a device too many.
const Section* same_device_elsewhere(const DeviceTree& tree, const Section& section) {
    for (const auto& other : tree.sections)
        if (other.idstr != section.idstr &&
            name_without_slot(other.idstr) == name_without_slot(section.idstr))
            return &other;
    return nullptr;
}

void leave_out(const Section& section, const SectionRule* rule, AuditReport& audit) {
    if (name_without_slot(section.idstr) == "platform")
        audit.violated("xen-platform-device", section.idstr);
    else
        audit.violated(
            "device-left-out",
            fmt::format("{}{}", section.idstr,
                        rule && !rule->reason.empty() ? fmt::format(": {}", rule->reason) : std::string{}));
}

/// The common part of piix4_pm. Behind it Xen's device model has the hot-plug state of bus 0 alone, the
/// destination that of 256 buses.
Result<void> merge_power_management(const Section& source, Section& target, std::int64_t shift_ns,
                                    AuditReport& audit) {
    Section common_source = source, common_target = target;
    const auto hotplug = [](const Field& field) { return field.name.starts_with("acpi_pci_hotplug."); };
    for (auto* section : {&common_source, &common_target}) {
        std::erase_if(section->root.fields, hotplug);
        section->root.subsections.clear();
    }
    copy_device(common_source, common_target, shift_ns, audit);

    auto fields = std::move(common_target.root.fields);
    for (auto& field : target.root.fields)
        if (hotplug(field)) fields.push_back(std::move(field));
    target.root.fields = std::move(fields);

    const Field* pair = nullptr;
    for (const auto& field : source.root.fields)
        if (field.name.starts_with("acpi_pci_hotplug.acpi_pcihp_pci_status") && !field.elements.empty())
            pair = &field;
    if (!pair) return {};
    constexpr std::string_view buses = "acpi_pci_hotplug.acpi_pcihp_pci_status";
    for (const auto& part : pair->elements.front().fields) {
        if (part.data.size() != 4) continue;
        VMFERRY_TRY(target.set(fmt::format("{}|0|{}", buses, part.name), load_be<std::uint32_t>(part.data)));
    }
    return {};
}

}  // namespace

std::span<const TemplateSection> template_sections() {
    return own_sections;
}
std::span<const std::string_view> synthesized_sections() {
    return platform_sections;
}

Result<void> write_devices(const DeviceTree& device_model, std::int64_t shift_ns, DeviceTree& tree,
                           AuditReport& audit) {
    for (const auto& section : device_model.sections) {
        const auto* rule = section_rule(section.idstr);
        if (rule && rule->role == SectionRole::shadow) continue;
        auto* target = tree.find(section.idstr, section.instance);
        if (!rule || rule->role == SectionRole::foreign || !target) {
            const auto* elsewhere = rule && !target ? same_device_elsewhere(tree, section) : nullptr;
            if (elsewhere && !device_model.find(elsewhere->idstr, elsewhere->instance))
                audit.violated("device-slot", fmt::format("{} on Xen, {} in the destination", section.idstr,
                                                          elsewhere->idstr));
            else
                leave_out(section, rule, audit);
        } else if (name_without_slot(section.idstr) == "piix4_pm") {
            VMFERRY_TRY(merge_power_management(section, *target, shift_ns, audit));
        } else {
            copy_device(section, *target, shift_ns, audit);
        }
    }

    for (const auto& section : tree.sections) {
        const auto name = name_without_slot(section.idstr);
        if (device_model.find(section.idstr, section.instance) || is_platform_section(name) ||
            is_template_section(name))
            continue;
        const auto* elsewhere = same_device_elsewhere(device_model, section);
        if (elsewhere && !tree.find(elsewhere->idstr, elsewhere->instance))
            continue;  // reported as device-slot
        if (section_rule(section.idstr))
            audit.violated("device-missing", fmt::format("{} {}", section.idstr, section.instance));
        else
            audit.adapted("device",
                          fmt::format("{}: only the destination has it, in its reset state", section.idstr));
    }
    return {};
}

}  // namespace vmferry::qemu
