#include "translators/devices.hpp"

#include <algorithm>
#include <charconv>

namespace vmferry {
namespace {

constexpr std::string_view bus0 = "0000:00:";

std::optional<unsigned> hex_number(std::string_view text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc{} || end != text.data() + text.size()) return {};
    return value;
}

const qemu::Struct* pci_part(const qemu::Section& section) {
    if (section.root.fields.empty()) return nullptr;
    const auto& first = section.root.fields.front();
    return first.elements.size() == 1 && first.elements.front().vmsd_name == "PCIDevice"
               ? &first.elements.front()
               : nullptr;
}

/// A virtio section is one field without a description; it begins as a PCI device does: be32 2, 256 bytes of
/// configuration space, be32 × 4 interrupt levels. Empty for other sections.
Bytes virtio_part(const qemu::Section& section) {
    if (section.root.fields.empty() || section.root.fields.front().type != "virtio") return {};
    const Bytes data = section.root.fields.front().data;
    return data.size() >= 276 && load_be<std::uint32_t>(data) == 2 ? data : Bytes();
}

constexpr SectionRule rules[] = {
    {"PCIHost", SectionRole::device, "configuration address register"},
    {"dma", SectionRole::device, {}},
    {"serial", SectionRole::device, {}},
    {"parallel_isa", SectionRole::device, {}},
    {"fdc", SectionRole::device, {}},
    {"ps2kbd", SectionRole::device, {}},
    {"ps2mouse", SectionRole::device, {}},
    {"pckbd", SectionRole::device, {}},
    {"port92", SectionRole::device, {}},
    {"vmmouse", SectionRole::device, {}},
    {"ide", SectionRole::device, {}},
    {"i2c_bus", SectionRole::device, {}},
    {"vga", SectionRole::device, {}},
    {"cirrus_vga", SectionRole::device, {}},
    {"e1000", SectionRole::device, {}},
    {"rtl8139", SectionRole::device, {}},
    {"uhci", SectionRole::device, {}},
    {"usb-ptr", SectionRole::device, {}},
    {"I440FX", SectionRole::merged, "with PAM registers that say RAM"},
    {"PIIX3", SectionRole::merged, "with the interrupt routing of the destination"},
    {"piix4_pm", SectionRole::merged, "with Xen's PM1 status and PM timer"},
    {"timer", SectionRole::shadow,
     "its clock is the base of the device model's timers; the new one is chosen"},
    {"cpu_common", SectionRole::shadow, "Xen runs the processors"},
    {"cpu", SectionRole::shadow, "Xen runs the processors"},
    {"apic", SectionRole::shadow, "Xen emulates the local APICs"},
    {"ioapic", SectionRole::shadow, "Xen emulates the I/O APIC"},
    {"hpet", SectionRole::shadow, "Xen emulates the HPET"},
    {"mc146818rtc", SectionRole::shadow, "Xen emulates the clock; CMOS 14–127 are taken from here"},
    {"PCIBUS", SectionRole::shadow, "counts wires that Xen's board has 128 of; counted anew"},
    {"fw_cfg", SectionRole::shadow, "used by firmware at boot only; the destination's own serves its reboot"},
    {"platform", SectionRole::foreign, "Xen's platform device"},
    {"xen-pvdevice", SectionRole::foreign, "Xen's device for driver updates"},
};

/// Fields that count nanoseconds of the virtual clock without being timers.
struct ClockField {
    std::string_view vmsd, field;
};
constexpr ClockField clock_fields[] = {{"rtl8139", "TCTR_base"}, {"uhci", "expire_time"}};

void shift_times(qemu::Struct& part, std::string_view section, std::int64_t shift_ns) {
    for (auto& field : part.fields) {
        const bool on_clock =
            field.type == "timer" || std::ranges::any_of(clock_fields, [&](const ClockField& known) {
                return known.vmsd == section && known.field == field.name;
            });
        for (std::size_t i = 0; on_clock && field.size == 8 && i < field.count; ++i) {
            const auto at = load_be<std::int64_t>(field.data, 8 * i);
            if (field.type == "timer" && at == -1) continue;  // not armed
            const auto moved = byte_swap(at + shift_ns);
            std::memcpy(field.data.data() + 8 * i, &moved, sizeof moved);
        }
        for (auto& element : field.elements) shift_times(element, section, shift_ns);
    }
    for (auto& sub : part.subsections) shift_times(sub, section, shift_ns);
}

/// Fields that QEMU sends or leaves out by the value of another one: allowed to be on one side only.
constexpr std::string_view conditional_fields[] = {"identify_data"};

bool is_conditional(std::string_view name) {
    return std::ranges::find(conditional_fields, name) != std::end(conditional_fields);
}

std::optional<std::string> difference(const qemu::Struct& source, const qemu::Struct& target,
                                      std::string_view where) {
    const auto place = [&](const qemu::Field& field) { return fmt::format("{}{}", where, field.name); };
    std::size_t t = 0;
    for (const auto& field : source.fields) {
        while (t < target.fields.size() && target.fields[t].name != field.name &&
               is_conditional(target.fields[t].name))
            ++t;
        if (t == target.fields.size() || target.fields[t].name != field.name) {
            if (is_conditional(field.name)) continue;
            return fmt::format("the destination has no field {} there", place(field));
        }
        const auto& twin = target.fields[t++];
        if (twin.count != field.count || twin.elements.size() != field.elements.size() ||
            (field.elements.empty() && twin.size != field.size))
            return fmt::format("{} is {} × {} bytes, the destination's {} × {}", place(field), field.count,
                               field.size, twin.count, twin.size);
        for (std::size_t i = 0; i < field.elements.size(); ++i)
            if (auto found = difference(field.elements[i], twin.elements[i], place(field) + "."))
                return found;
    }
    for (; t < target.fields.size(); ++t)
        if (!is_conditional(target.fields[t].name))
            return fmt::format("the device model sends no {}", place(target.fields[t]));
    return {};
}

/// Bytes of configuration space that QEMU compares when it loads, and that no guest can change: identity,
/// header type, capabilities, and the kind of each BAR.
std::optional<std::string> pci_difference(const PciDevice& source, const PciDevice& target) {
    if (source.config.size() != target.config.size())
        return fmt::format("{} bytes of configuration space, the destination's {}", source.config.size(),
                           target.config.size());
    struct Compared {
        std::size_t at, size;
        std::uint8_t mask;
        std::string_view what;
    };
    constexpr Compared compared[] = {{0x00, 2, 0xFF, "vendor"},
                                     {0x02, 2, 0xFF, "device"},
                                     {0x06, 1, 0x10, "capabilities"},
                                     {0x08, 1, 0xFF, "revision"},
                                     {0x09, 3, 0xFF, "class"},
                                     {0x0E, 1, 0xFF, "header type"},
                                     {0x34, 1, 0xFF, "capability pointer"}};
    for (const auto& field : compared)
        for (std::size_t i = 0; i < field.size; ++i)
            if ((source.byte(field.at + i) ^ target.byte(field.at + i)) & field.mask)
                return fmt::format("PCI {} (byte {:#x}) is {:#04x}, the destination's {:#04x}", field.what,
                                   field.at + i, source.byte(field.at + i), target.byte(field.at + i));
    for (std::size_t bar = 0x10; bar < 0x28; bar += 4) {
        const auto kind = [bar](const PciDevice& device) {
            return device.byte(bar) & (device.byte(bar) & 1 ? 3 : 15);
        };
        if (kind(source) != kind(target))
            return fmt::format("PCI BAR {} is of kind {:#x}, the destination's {:#x}", (bar - 0x10) / 4,
                               kind(source), kind(target));
        if (source.byte(bar) & 4 && !(source.byte(bar) & 1)) bar += 4;  // the upper half has no kind
    }
    return {};
}

}  // namespace

std::optional<PciSlot> slot_of(std::string_view idstr) {
    if (!idstr.starts_with(bus0) || idstr.size() < bus0.size() + 5) return {};
    const auto place = idstr.substr(bus0.size());
    const auto device = hex_number(place.substr(0, 2)), function = hex_number(place.substr(3, 1));
    if (!device || place[2] != '.' || !function || place[4] != '/' || place.find('/', 5) != place.npos)
        return {};
    return PciSlot{*device, *function};
}

std::optional<unsigned> PciDevice::pin() const {
    const auto value = byte(0x3D);
    if (value == 0 || value > 4) return {};
    return value - 1u;
}

bool PciDevice::interrupts_disabled() const {
    return (byte(5) & 4) != 0;
}

std::string PciDevice::title() const {
    return fmt::format("{} at 00:{:02x}.{}", name, device, function);
}

std::string_view name_without_slot(std::string_view idstr) {
    const auto slash = idstr.rfind('/');
    return idstr.starts_with(bus0) && slash != std::string_view::npos ? idstr.substr(slash + 1) : idstr;
}

std::optional<PciDevice> pci_device(const qemu::Section& section) {
    const auto slot = slot_of(section.idstr);
    if (!slot) return {};
    PciDevice device{.device = slot->device, .function = slot->function, .name = {}, .config = {}};
    device.name = name_without_slot(section.idstr);
    Bytes levels;
    if (const auto* part = pci_part(section)) {
        for (const auto& field : part->fields) {
            if (field.name.starts_with("config")) device.config = field.data;
            if (field.name == "irq_state") levels = field.data;
        }
    } else if (const auto opaque = virtio_part(section); !opaque.empty()) {
        device.config = opaque.subspan(4, 256);
        levels = opaque.subspan(260, 16);
    }
    if (levels.size() == 16)
        for (std::size_t pin = 0; pin < 4; ++pin)
            device.asserted[pin] = load_be<std::uint32_t>(levels, 4 * pin) != 0;
    if (device.config.size() < 256) return {};
    return device;
}

std::vector<PciDevice> pci_devices(const qemu::DeviceTree& tree) {
    std::vector<PciDevice> devices;
    for (const auto& section : tree.sections)
        if (auto device = pci_device(section)) devices.push_back(std::move(*device));
    return devices;
}

Firmware firmware_of(const qemu::DeviceTree& device_model) {
    for (const auto* section : device_model.find_pci("piix4_pm"))
        if (const auto device = pci_device(*section)) {
            const auto base = (device->byte(0x40) | device->byte(0x41) << 8) & ~1;
            if (base == 0xB000 || base == 0x1F40) return Firmware::hvmloader;
        }
    return Firmware::seabios_on_qemu;
}

std::uint64_t memory_bar(const PciDevice& device, unsigned bar) {
    if (!(device.byte(4) & 2)) return 0;
    const auto at = 0x10 + std::size_t{4} * bar;
    const auto low = load_le<std::uint32_t>(device.config, at);
    if (low & 1) return 0;
    std::uint64_t base = low & ~15u;
    if (low & 4) base |= std::uint64_t{load_le<std::uint32_t>(device.config, at + 4)} << 32;
    return base;
}

std::span<const SectionRule> section_rules() {
    return rules;
}

const SectionRule* section_rule(std::string_view idstr) {
    const auto found = std::ranges::find(rules, name_without_slot(idstr), &SectionRule::name);
    return found == std::end(rules) ? nullptr : found;
}

void copy_device(const qemu::Section& source, qemu::Section& target, std::int64_t shift_ns,
                 AuditReport& audit) {
    if (source.version > target.version) {
        audit.violated("device-version", fmt::format("{}: version {}, the destination's {}", source.idstr,
                                                     source.version, target.version));
        return;
    }
    const auto from = pci_device(source), to = pci_device(target);
    if (from && to)
        if (const auto found = pci_difference(*from, *to)) {
            audit.violated("device-mismatch", fmt::format("{}: {}", source.idstr, *found));
            return;
        }
    // An older version has fewer fields, and the destination reads it by its number.
    if (source.version == target.version)
        if (const auto found = difference(source.root, target.root, {})) {
            audit.violated("device-mismatch", fmt::format("{}: {}", source.idstr, *found));
            return;
        }
    target.root = source.root;
    target.version = source.version;
    shift_times(target.root, name_without_slot(source.idstr), shift_ns);
}

}  // namespace vmferry
