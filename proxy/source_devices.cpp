#include "proxy/source_devices.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "translators/domain_config.hpp"

namespace vmferry {

using nlohmann::json;

namespace {

constexpr std::string_view main_bus = "/machine/i440fx/pci.0";
constexpr unsigned ide_buses = 2, ide_units = 2, pci_devfns = 256, devfn_bits = 3;
constexpr std::uint64_t mib = 1u << 20;

/// What every PC of QEMU's i440fx line has, with its accelerators' variants; carried or dropped by what the
/// translation knows of their state, not by a mapping.
constexpr std::array<std::string_view, 28> machine_parts{
    "System",    "i440FX-pcihost", "i440FX",    "PIIX3",     "PIIX3-xen",    "piix3-ide", "PIIX4_PM",
    "i8257",     "isa-i8259",      "kvm-i8259", "ioapic",    "kvm-ioapic",   "isa-pit",   "kvm-pit",
    "isa-pcspk", "mc146818rtc",    "i8042",     "isa-fdc",   "floppy",       "port92",    "vmport",
    "vmmouse",   "kvmvapic",       "kvmclock",  "fw_cfg_io", "smbus-eeprom", "or-irq",    "split-irq"};
constexpr std::array<std::string_view, 2> displays{"VGA", "cirrus-vga"};
constexpr std::array<std::string_view, 2> ide_drives{"ide-hd", "ide-cd"};
constexpr std::array<std::string_view, 3> virtio_disks{"virtio-blk-pci", "virtio-blk-pci-transitional",
                                                       "virtio-blk-pci-non-transitional"};

/// Settings that decide how many queues, vectors and feature bits a virtio device has: those of its state
/// must find their place in the device that takes it over.
constexpr std::array virtio_properties{"disable-legacy", "disable-modern", "vectors"};
constexpr std::array block_properties{"num-queues", "queue-size"};
constexpr std::array network_properties{"mq", "rx_queue_size", "tx_queue_size"};

bool one_of(std::span<const std::string_view> names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

/// An object of the tree.
struct Object {
    std::string path, type, name;
    std::vector<std::string> properties;
    [[nodiscard]] bool has(std::string_view property) const {
        return std::ranges::find(properties, property) != properties.end();
    }
};

/// "child<TYPE>" → TYPE.
std::optional<std::string> child_type(const std::string& type) {
    constexpr std::string_view head = "child<";
    if (!type.starts_with(head) || !type.ends_with('>')) return std::nullopt;
    return type.substr(head.size(), type.size() - head.size() - 1);
}

class Walk {
  public:
    explicit Walk(const SourceQuestions& questions) : questions_(questions) {}

    /// Adds the devices below `path`. Only containers and the chipset's bridge are looked into: what other
    /// devices consist of is their own affair.
    Result<void> below(const std::string& path) {
        VMFERRY_ASSIGN(const json entries, questions_.list(path));
        for (const auto& entry : entries) {
            VMFERRY_ASSIGN(const auto name, questions_.text_in(entry, "/name", "qom-list"));
            VMFERRY_ASSIGN(const auto kind, questions_.text_in(entry, "/type", "qom-list"));
            const auto type = child_type(kind);
            if (!type || *type == "memory-region" || *type == "irq") continue;
            if (++seen_ > max_source_objects)
                return environment_error("QEMU", "its object tree",
                                         fmt::format("more than {} objects", max_source_objects));
            const auto child = path + "/" + name;
            if (*type == "container") {
                VMFERRY_TRY(below(child));
                continue;
            }
            VMFERRY_TRY(add(child, *type, name));
            if (type->starts_with("PIIX3")) VMFERRY_TRY(below(child));
        }
        return {};
    }
    [[nodiscard]] const std::vector<Object>& devices() const { return devices_; }

  private:
    Result<void> add(const std::string& path, const std::string& type, const std::string& name) {
        Object object{path, type, name, {}};
        VMFERRY_ASSIGN(const json entries, questions_.list(path));
        for (const auto& entry : entries) {
            VMFERRY_ASSIGN(auto property, questions_.text_in(entry, "/name", "qom-list"));
            object.properties.push_back(std::move(property));
        }
        if (object.has("hotpluggable")) devices_.push_back(std::move(object));
        return {};
    }

    const SourceQuestions& questions_;
    std::vector<Object> devices_;
    std::size_t seen_ = 0;
};

/// Sorts the devices into the facts.
class Devices {
  public:
    Devices(const SourceQuestions& questions, SourceFacts& facts) : questions_(questions), facts_(facts) {}

    Result<void> read(const std::vector<Object>& objects) {
        VMFERRY_ASSIGN(drives_, questions_.ask("query-block"));
        for (const auto& object : objects) {
            VMFERRY_TRY(read_one(object));
        }
        count_serial_ports();
        const auto place = [](const PciSlot& slot) { return slot.device * 8 + slot.function; };
        std::ranges::sort(facts_.nics, {}, [&](const SourceNic& nic) { return place(nic.slot); });
        std::ranges::sort(facts_.disks, {}, [&](const SourceDisk& disk) {
            return disk.model.starts_with("ide-") ? disk.ide_index : pci_devfns + place(disk.slot);
        });
        std::ranges::sort(facts_.dimms, {}, &SourceDimm::base);
        return {};
    }

  private:
    Result<void> read_one(const Object& object) {
        const auto& type = object.type;
        if (one_of(machine_parts, type) || type.ends_with("-cpu")) return {};
        if (one_of(ide_drives, type)) return read_ide_drive(object);
        if (type == "hpet") {
            facts_.hpet = true;
            return {};
        }
        if (type == "pc-dimm") return read_dimm(object);
        if (type == "isa-serial") return read_serial(object);
        if (type == "usb-tablet" && !facts_.usb_tablet) {
            facts_.usb_tablet = true;
            return {};
        }
        VMFERRY_ASSIGN(const auto slot, slot_of(object));
        if (!slot) {
            facts_.others.push_back({type, id_of(object), std::nullopt});
            return {};
        }
        if (type == "piix3-usb-uhci" && slot->device == 1) {
            facts_.usb_uhci = true;
            return {};
        }
        if (one_of(displays, type) && facts_.vga.empty()) return read_display(object, *slot);
        if (one_of(virtio_disks, type)) return read_virtio_disk(object, *slot);
        if (object.has("mac")) return read_nic(object, *slot);
        facts_.others.push_back({type, id_of(object), slot});
        return {};
    }

    /// Of a device on the machine's own PCI bus.
    Result<std::optional<PciSlot>> slot_of(const Object& object) const {
        if (!object.has("addr") || !object.has("multifunction") || !object.has("parent_bus"))
            return std::nullopt;
        VMFERRY_ASSIGN(const auto bus, questions_.text(object.path, "parent_bus"));
        if (bus != main_bus) return std::nullopt;
        VMFERRY_ASSIGN(const auto devfn, questions_.number(object.path, "addr"));
        if (devfn >= pci_devfns)
            return environment_error("QEMU", object.path + ".addr", fmt::format("{}", devfn), "0 to 255");
        return PciSlot{static_cast<unsigned>(devfn >> devfn_bits), static_cast<unsigned>(devfn % 8)};
    }

    static std::string id_of(const Object& object) {
        return object.path.starts_with("/machine/peripheral/") ? object.name : std::string{};
    }

    Result<void> read_display(const Object& object, PciSlot slot) {
        facts_.vga = object.type;
        facts_.vga_slot = slot;
        VMFERRY_ASSIGN(const auto size, questions_.number(object.path, "vgamem_mb"));
        facts_.vram_bytes = size * mib;
        return {};
    }

    Result<void> read_nic(const Object& object, PciSlot slot) {
        SourceNic nic{.model = object.type, .id = id_of(object), .mac = {}, .slot = slot};
        VMFERRY_ASSIGN(const auto text, questions_.text(object.path, "mac"));
        std::array<std::uint8_t, 6> b{};
        if (!parse_mac(text, b))
            return environment_error("QEMU", object.path + ".mac", text.substr(0, 100), "a MAC address");
        nic.mac =
            fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2], b[3], b[4], b[5]);
        if (object.type.starts_with("virtio-")) {
            VMFERRY_TRY(read_properties(object, virtio_properties, nic.properties));
            VMFERRY_TRY(read_properties(object, network_properties, nic.properties));
        }
        facts_.nics.push_back(std::move(nic));
        return {};
    }

    Result<void> read_properties(const Object& object, std::span<const char* const> names,
                                 DeviceProperties& properties) const {
        for (const auto* name : names) {
            if (!object.has(name)) continue;  // of a later or an earlier QEMU
            VMFERRY_ASSIGN(const json value, questions_.get(object.path, name));
            std::string word;
            if (value.is_boolean()) word = value.get<bool>() ? "on" : "off";
            if (value.is_number_unsigned()) word = fmt::format("{}", value.get<std::uint64_t>());
            if (value == "on" || value == "off" || value == "auto") word = value.get<std::string>();
            if (word.empty())
                return environment_error("QEMU", object.path + "." + name, value.dump().substr(0, 100),
                                         "a number, on, off or auto");
            properties.emplace_back(name, std::move(word));
        }
        return {};
    }

    Result<void> read_ide_drive(const Object& object) {
        SourceDisk disk{.model = object.type, .id = id_of(object), .file = {}, .slot = {}};
        VMFERRY_ASSIGN(const auto bus, questions_.text(object.path, "parent_bus"));
        VMFERRY_ASSIGN(const auto unit, questions_.number(object.path, "unit"));
        // "…/ide.1"; a SATA controller's buses have the same names.
        const auto dot = bus.rfind("/ide.");
        unsigned number = ide_buses;
        if (dot != std::string::npos) {
            const auto* end = bus.data() + bus.size();
            if (std::from_chars(bus.data() + dot + 5, end, number).ptr != end) number = ide_buses;
        }
        VMFERRY_ASSIGN(const bool piix, is_chipset_ide(bus.substr(0, dot)));
        if (!piix || number >= ide_buses || unit >= ide_units) {
            facts_.others.push_back({object.type, disk.id, std::nullopt});
            return {};
        }
        disk.ide_index = number * ide_units + static_cast<unsigned>(unit);
        return read_drive(object, std::move(disk));
    }

    Result<bool> is_chipset_ide(const std::string& path) const {
        if (path.empty()) return false;
        VMFERRY_ASSIGN(const auto type, questions_.text(path, "type"));
        return type == "piix3-ide";
    }

    Result<void> read_virtio_disk(const Object& object, PciSlot slot) {
        SourceDisk disk{.model = object.type, .id = id_of(object), .file = {}, .slot = slot};
        VMFERRY_TRY(read_properties(object, virtio_properties, disk.properties));
        VMFERRY_TRY(read_properties(object, block_properties, disk.properties));
        return read_drive(object, std::move(disk));
    }

    /// The medium: query-block names the device by its id, else by its place in the tree; for virtio that of
    /// the part behind the PCI function.
    Result<void> read_drive(const Object& object, SourceDisk disk) {
        VMFERRY_ASSIGN(disk.serial, questions_.text(object.path, "serial"));
        for (const auto& drive : drives_) {
            const auto owner = drive.value("qdev", "");
            if (owner != object.path && owner != object.path + "/virtio-backend" &&
                (disk.id.empty() || owner != disk.id))
                continue;
            const auto medium = drive.find("inserted");
            if (medium == drive.end()) break;
            VMFERRY_ASSIGN(disk.file, questions_.text_in(*medium, "/file", "query-block"));
            VMFERRY_ASSIGN(disk.bytes, questions_.number_in(*medium, "/image/virtual-size", "query-block"));
            disk.readonly = medium->value("ro", false);
            break;
        }
        facts_.disks.push_back(std::move(disk));
        return {};
    }

    Result<void> read_serial(const Object& object) {
        VMFERRY_ASSIGN(const auto index, questions_.number(object.path, "index"));
        serial_ports_.emplace(index, id_of(object));
        return {};
    }

    /// COM1 to COM4 by number; one behind a gap or at an address of its own cannot be placed.
    void count_serial_ports() {
        for (const auto& [index, id] : serial_ports_) {
            if (index == facts_.serial_ports)
                ++facts_.serial_ports;
            else
                facts_.others.push_back({"isa-serial", id, std::nullopt});
        }
    }

    Result<void> read_dimm(const Object& object) {
        SourceDimm dimm;
        VMFERRY_ASSIGN(const auto backend, questions_.text(object.path, "memdev"));
        dimm.block = backend.substr(backend.rfind('/') + 1);
        VMFERRY_ASSIGN(dimm.base, questions_.number(object.path, "addr"));
        VMFERRY_ASSIGN(dimm.bytes, questions_.number(object.path, "size"));
        facts_.dimms.push_back(std::move(dimm));
        return {};
    }

    const SourceQuestions& questions_;
    SourceFacts& facts_;
    json drives_;
    std::multimap<std::uint64_t, std::string> serial_ports_;  ///< number → id
};

}  // namespace

Result<void> read_source_devices(const SourceQuestions& questions, SourceFacts& facts) {
    Walk walk(questions);
    VMFERRY_TRY(walk.below("/machine"));
    return Devices(questions, facts).read(walk.devices());
}

}  // namespace vmferry
