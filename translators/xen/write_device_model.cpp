#include "translators/xen/write_device_model.hpp"

#include <algorithm>
#include <array>

#include "parsers/qemu/schema.hpp"
#include "parsers/qemu/snapshot.hpp"
#include "translators/devices.hpp"

namespace vmferry::xen {
namespace {

using qemu::DeviceTree;
using qemu::Field;
using qemu::Section;
using qemu::Struct;

enum class Fate {
    keep,        ///< a device of the model's own
    wires,       ///< PCIBUS
    power,       ///< piix4_pm
    hypervisor,  ///< became a record of Xen's own; other translators answer for it
    unneeded,    ///< the guest does not miss it
};
struct Rule {
    std::string_view name;  ///< of the section, without the slot
    Fate fate;
    bool every_pc = false;  ///< QEMU's i440FX machine cannot be without it
    std::string_view reason = {};
};

constexpr Rule rules[] = {
    {"timer", Fate::keep, true},  // cpu_clock_offset: the device model's clock goes on
    {"PCIHost", Fate::keep},      // not sent by machine types up to 5.0
    {"I440FX", Fate::keep, true},
    {"PIIX3", Fate::keep, true},
    {"mc146818rtc", Fate::keep, true},  // CMOS from 14 on; Xen has the clock
    {"dma", Fate::keep, true},
    {"serial", Fate::keep},
    {"parallel_isa", Fate::keep},  // the plan's configuration has one if the source has
    {"fdc", Fate::keep},
    {"ps2kbd", Fate::keep},
    {"ps2mouse", Fate::keep},
    {"pckbd", Fate::keep},
    {"port92", Fate::keep},
    {"ide", Fate::keep},
    {"i2c_bus", Fate::keep},
    {"smbus-eeprom", Fate::keep},
    {"vga", Fate::keep},
    {"cirrus_vga", Fate::keep},
    {"e1000", Fate::keep},
    {"rtl8139", Fate::keep},
    {"virtio-net", Fate::keep},
    {"virtio-blk", Fate::keep},
    {"uhci", Fate::keep},
    {"usb-ptr", Fate::keep},
    {"PCIBUS", Fate::wires, true},
    {"piix4_pm", Fate::power, true},
    {"cpu_common", Fate::hypervisor},
    {"cpu", Fate::hypervisor},
    {"apic", Fate::hypervisor},
    {"ioapic", Fate::hypervisor},
    {"i8259", Fate::hypervisor},
    {"i8254", Fate::hypervisor},
    {"pcspk", Fate::hypervisor},
    {"hpet", Fate::hypervisor},
    {"slirp", Fate::unneeded, false, "connections of the source's user network end with it"},
    {"kvm-tpr-opt", Fate::unneeded, false,
     "a patch of guest code; one that is active is refused (kvm-paravirtual)"},
    {"kvmclock", Fate::unneeded, false, "KVM's paravirtual clock, which Xen does not have"},
    {"fw_cfg", Fate::unneeded, false, "read by firmware at boot only"},
    {"acpi_build", Fate::unneeded, false, "says that QEMU's firmware has read its tables"},
    {"globalstate", Fate::unneeded, false, "whether the guest runs is the handover's business"},
    {"vmmouse", Fate::unneeded, false, "VMware's mouse port, which Xen's device model does not have"},
    {"ivshmem-plain", Fate::unneeded, false, "backed the firmware's area, which is RAM on Xen"},
};

const Rule* rule_of(std::string_view name) {
    const auto found = std::ranges::find(rules, name, &Rule::name);
    return found == std::end(rules) ? nullptr : found;
}

/// The model's section of the same device; one in another slot says as much of its form.
const Section* same_device(const DeviceTree& model, const Section& section) {
    if (const auto* same = model.find(section.idstr, section.instance)) return same;
    const auto name = name_without_slot(section.idstr);
    const auto found = std::ranges::find_if(
        model.sections, [&](const Section& other) { return name_without_slot(other.idstr) == name; });
    return found == model.sections.end() ? nullptr : &*found;
}

/// What the destination's loader would stumble over, as far as it is known: a field or subsection too many, a
/// count out of range.
void check_form(const Section& section, const DeviceTree& model, AuditReport& audit) {
    const auto* known = qemu::schema::find_section(section.idstr);
    if (known == nullptr) return;  // virtio: its layout is in no description
    if (section.version > known->spec->version) {
        if (same_device(model, section) != nullptr) return;  // told already
        audit.violated("device-version", fmt::format("{}: version {}, known is {}", section.idstr,
                                                     section.version, known->spec->version));
        return;
    }
    DeviceTree alone;
    alone.sections.push_back(section);
    if (const auto again = qemu::read_device_model(qemu::write_device_model(alone), 0); !again)
        audit.violated("device-mismatch", fmt::format("{}: not in the form of Xen's device model: {}",
                                                      section.idstr, again.error().text()));
}

Section keep(const Section& section, const DeviceTree& model, AuditReport& audit) {
    Section result = section;
    const auto* same = same_device(model, section);
    if (same == nullptr) return result;
    Section target = *same;
    copy_device(section, target, 0, audit);  // Xen's clock of the device model goes on where QEMU's stood
    return result;
}

/// With Xen as accelerator the bus has a wire for each slot and pin, not the four of the PIIX3.
Result<Section> count_wires(const Section& section, const DeviceTree& source, const DeviceTree& model) {
    std::uint64_t wires = 128;
    if (const auto* bus = model.find("PCIBUS")) {
        VMFERRY_ASSIGN(wires, bus->get("nirq"));
    }
    std::vector<std::uint32_t> counts(wires, 0);
    for (const auto& device : pci_devices(source))
        for (std::size_t pin = 0; pin < device.asserted.size(); ++pin)
            if (const auto wire = std::size_t{4} * device.device + pin;
                device.asserted[pin] && !device.interrupts_disabled() && wire < wires)
                ++counts[wire];

    Field number;
    number.name = "nirq";
    number.type = "int32 equal";
    number.size = 4;
    append_be(number.data, static_cast<std::uint32_t>(wires));
    Field levels;
    levels.name = "irq_count";
    levels.type = "int32";
    levels.count = static_cast<std::uint32_t>(wires);
    levels.size = 4;
    for (const auto count : counts) append_be(levels.data, count);
    Section result = section;
    result.root.fields = {std::move(number), std::move(levels)};
    return result;
}

Field u32_field(std::string name) {
    Field field;
    field.name = std::move(name);
    field.type = "uint32";
    field.size = 4;
    field.data.resize(4);
    return field;
}

/// Machine types up to 3.1 do not send the SMBus controller; Xen's device model expects it: as after a reset.
void add_smbus(Section& section, const DeviceTree& model) {
    const auto* same = same_device(model, section);
    const auto* smbus = same == nullptr ? nullptr : same->find("smb");
    const auto timer = std::ranges::find(section.root.fields, "ar.tmr.timer", &Field::name);
    if (smbus == nullptr || section.find("smb") != nullptr || timer == section.root.fields.end()) return;
    auto idle = *smbus;
    for (auto& part : idle.elements)
        for (auto& field : part.fields)
            std::ranges::fill(field.data, field.name == "op_done" ? std::byte{1} : std::byte{0});
    section.root.fields.insert(timer, std::move(idle));
}

/// The common part as it is; behind it the state of slots of bus 0 alone, and memory hot-plug.
Section without_hotplug(const Section& section, const DeviceTree& model, AuditReport& audit) {
    constexpr std::string_view prefix = "acpi_pci_hotplug.", memory = "piix4_pm/memhp";
    Section result = section;
    auto& fields = result.root.fields;
    bool pending = false;
    for (const auto& field : fields) {
        if (!field.name.starts_with(prefix)) continue;
        for (const auto& slots : field.elements)
            for (const auto& bits : slots.fields)
                pending =
                    pending || std::ranges::any_of(bits.data, [](auto byte) { return byte != std::byte{}; });
    }
    std::erase_if(fields, [&](const Field& field) { return field.name.starts_with(prefix); });
    Field status;
    status.name = "acpi_pci_hotplug.acpi_pcihp_pci_status[0x0]";
    status.type = "struct";
    status.elements.push_back(
        {.vmsd_name = "pci_status", .version = 1, .fields = {u32_field("up"), u32_field("down")}});
    fields.push_back(std::move(status));
    add_smbus(result, model);

    auto& parts = result.root.subsections;
    std::erase_if(parts, [&](const Struct& part) { return part.vmsd_name != memory; });
    const auto* same = same_device(model, section);
    const auto* memory_part = same == nullptr ? nullptr : same->subsection(memory);
    if (parts.empty() && memory_part != nullptr) parts.push_back(*memory_part);

    audit.adapted("device",
                  fmt::format("{}: without ACPI hot-plug of PCI devices and processors{}", section.idstr,
                              pending ? "; one that was under way is forgotten" : ""));
    return result;
}

void leave_out(const Section& section, const Rule* rule, AuditReport& audit) {
    if (rule == nullptr)
        audit.violated("device-left-out", section.idstr);
    else
        audit.adapted("device", fmt::format("{} dropped: {}", section.idstr, rule->reason));
}

/// "0000:00:08.0/" of "0000:00:08.0/xhci" and of "0000:00:08.0/1/usb-ptr"; empty for what is not on the PCI
/// bus.
std::string_view slot_prefix(std::string_view idstr) {
    const auto slash = idstr.find('/');
    return idstr.starts_with("0000:") && slash != std::string_view::npos ? idstr.substr(0, slash + 1)
                                                                         : std::string_view();
}

/// A device behind a controller that stays behind, stays behind too.
bool behind_unknown(const DeviceTree& source, const Section& section) {
    const auto prefix = slot_prefix(section.idstr);
    return !prefix.empty() && std::ranges::any_of(source.sections, [&](const Section& other) {
        return slot_prefix(other.idstr) == prefix && rule_of(name_without_slot(other.idstr)) == nullptr;
    });
}

/// What the destination's machines have and the source has not.
void name_missing(const DeviceTree& source, const DeviceTree& model, AuditReport& audit) {
    const auto has = [](const DeviceTree& tree, std::string_view name) {
        return std::ranges::any_of(tree.sections, [name](const Section& section) {
            return name_without_slot(section.idstr) == name;
        });
    };
    for (const auto& rule : rules) {
        if (has(source, rule.name)) continue;
        if (rule.every_pc)
            audit.violated("device-missing", std::string(rule.name));
        else if (has(model, rule.name) && (rule.fate == Fate::keep))
            audit.adapted("device",
                          fmt::format("{}: a domain of this Xen can have it, the guest does not; if it "
                                      "appears, in its reset state",
                                      rule.name));
    }
}

}  // namespace

Result<DeviceTree> write_device_model(const DeviceTree& source, const DeviceTree& model, AuditReport& audit) {
    DeviceTree result;
    for (const auto& section : source.sections) {
        const auto* rule = rule_of(name_without_slot(section.idstr));
        if (behind_unknown(source, section)) rule = nullptr;
        const auto fate = rule == nullptr ? Fate::unneeded : rule->fate;
        if (fate == Fate::hypervisor) continue;
        // The one bus of a domain is the machine's own.
        if (fate == Fate::unneeded || (fate == Fate::wires && section.instance != 0)) {
            leave_out(section, fate == Fate::wires ? nullptr : rule, audit);
            continue;
        }
        Section written;
        if (fate == Fate::wires) {
            VMFERRY_ASSIGN(written, count_wires(section, source, model));
        } else if (fate == Fate::power) {
            written = keep(without_hotplug(section, model, audit), model, audit);
        } else {
            written = keep(section, model, audit);
        }
        written.section_id = static_cast<std::uint32_t>(result.sections.size());
        check_form(written, model, audit);
        result.sections.push_back(std::move(written));
    }
    name_missing(source, model, audit);
    return result;
}

}  // namespace vmferry::xen
