// The configuration of the Xen domain that takes a QEMU guest over, as libxl reads it (see domain_config.hpp
// for its form), and the device model's arguments that follow from it.
//
// libxl names the devices on its device model's command line in this order, without addresses, and QEMU gives
// each the lowest PCI slot that is free (tools/libs/light/libxl_dm.c, the same in 4.14 to 4.20):
//
//     display adapter → slot 2 · each emulated card → next … · extra_hvm
//
// What the guest knows elsewhere is placed by force: a card by an address behind its model (libxl writes
// `-device MODEL,id=nicN,netdev=netN,mac=…`, so the card still gets its network from libxl), everything else
// by arguments of our own in extra_hvm.
#include <algorithm>
#include <array>
#include <bitset>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "translators/xen_plan_parts.hpp"

namespace vmferry {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kib = 1u << 10, mib = 1u << 20;
constexpr unsigned slots = 32, first_free_slot = 2, ide_drives = 4, most_serial_ports = 4;
constexpr unsigned most_serial_number = 20;  ///< characters of a virtio-blk serial number

struct Adapter {
    std::string_view qemu, libxl;
    std::uint64_t least;  ///< bytes of video memory that libxl takes
};
constexpr std::array adapters{Adapter{"cirrus-vga", "cirrus", 8 * mib}, Adapter{"VGA", "std", 16 * mib}};
constexpr std::array<std::string_view, 5> cards{
    "e1000", "rtl8139", "virtio-net-pci", "virtio-net-pci-transitional", "virtio-net-pci-non-transitional"};

struct Format {
    std::string_view libxl, qemu;
};
constexpr std::array formats{Format{"raw", "raw"}, Format{"qcow2", "qcow2"}, Format{"qcow", "qcow"},
                             Format{"vhd", "vpc"}, Format{"qed", "qed"}};

std::string address(PciSlot slot) {
    return fmt::format("{:#x}", slot.device);
}

/// QEMU's option parser takes ",," for a comma inside a value.
std::string escaped(std::string_view value) {
    std::string out;
    for (const char c : value) out += c == ',' ? std::string(",,") : std::string(1, c);
    return out;
}

std::string listed(const DeviceProperties& properties) {
    std::string text;
    for (const auto& [name, value] : properties) text += fmt::format(",{}={}", name, value);
    return text;
}

bool has_control(std::string_view text) {
    return std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

class Deriver {
  public:
    Deriver(const XenPlanInput& in, const XenPlan& plan, AuditReport& audit)
        : facts_(*in.facts), options_(in.options), plan_(plan), audit_(audit) {}

    Result<std::string> derive(std::uint64_t mmio_hole) {
        VMFERRY_TRY(check_mapping());
        add_display();
        VMFERRY_TRY(add_nics());
        VMFERRY_TRY(add_disks());
        VMFERRY_TRY(add_serial());
        add_usb();
        check_others();
        if (mmio_hole != 0) hvm_["mmio_hole_memkb"] = mmio_hole / kib;
        return whole().dump(4);
    }

  private:
    [[nodiscard]] Json whole() const {
        Json vcpus = Json::array();
        for (unsigned number = 0; number < plan_.vcpus; ++number) vcpus.push_back(number);
        const auto video = plan_.vram_bytes / kib, memory = plan_.configured_ram_bytes() / kib + video;
        Json build = {
            {"max_vcpus", plan_.vcpus}, {"avail_vcpus", vcpus}, {"max_memkb", memory},
            {"target_memkb", memory},   {"video_memkb", video}, {"device_model_version", "qemu_xen"},
            {"acpi", "True"},           {"apic", "True"},       {"nested_hvm", "False"}};
        if (plan_.tsc_mode == TscMode::always_emulate) build["tsc_mode"] = "always_emulate";
        if (plan_.tsc_mode == TscMode::never_emulate) build["tsc_mode"] = "native";
        if (!extra_.empty()) build["extra_hvm"] = extra_;
        Json hvm = {{"bios", "seabios"},
                    {"hpet", "False"},
                    {"vga", {{"kind", vga_kind_}}},
                    {"vnc", {{"enable", "False"}}},
                    {"sdl", {{"enable", "False"}}},
                    {"xen_platform_pci", "False"}};
        for (const auto& [key, value] : hvm_.items()) hvm[key] = value;
        build["type.hvm"] = std::move(hvm);
        build["arch_x86"] = {{"msr_relaxed", "True"}};
        Json create = {
            {"type", "hvm"}, {"name", plan_.name}, {"uuid", plan_.uuid}, {"run_hotplug_scripts", "True"}};
        // The way back knows the guest by it.
        if (plan_.firmware() == Firmware::seabios_on_qemu)
            create["platformdata"] = {{firmware_mark, seabios_mark}};
        Json all = {{"c_info", std::move(create)}, {"b_info", std::move(build)}};
        if (!disks_.empty()) all["disks"] = disks_;
        if (!nics_.empty()) all["nics"] = nics_;
        all["on_reboot"] = "restart";
        return all;
    }

    void argument(std::string option, std::string value) {
        extra_.push_back(std::move(option));
        extra_.push_back(std::move(value));
    }

    bool alone_in_slot(const std::string& what, PciSlot slot) {
        if (slot.function == 0) return true;
        audit_.violated("unknown-device",
                        fmt::format("{} is function {} of PCI slot {:#x}", what, slot.function, slot.device));
        return false;
    }

    // ---- display ----

    void add_display() {
        if (facts_.vga.empty()) return;
        const auto adapter = std::ranges::find(adapters, facts_.vga, &Adapter::qemu);
        if (adapter == adapters.end()) {
            audit_.violated("unknown-device", facts_.vga);
            return;
        }
        const auto slot = facts_.vga_slot;
        if (!alone_in_slot(facts_.vga, slot)) return;
        const bool own = slot.device == first_free_slot && plan_.vram_bytes >= adapter->least;
        if (own)
            vga_kind_ = adapter->libxl;
        else
            argument("-device", fmt::format("{},vgamem_mb={},addr={}", adapter->qemu, plan_.vram_bytes / mib,
                                            address(slot)));
        audit_.carried("display", fmt::format("{} with {} MiB at 00:{:02x}.{}", facts_.vga,
                                              plan_.vram_bytes / mib, slot.device, slot.function));
    }

    // ---- network ----

    Result<void> add_nics() {
        // The display adapter stands before the cards only if libxl itself names it.
        std::bitset<slots> taken;
        if (vga_kind_ != "none") taken.set(first_free_slot);
        for (std::size_t number = 0; number < facts_.nics.size(); ++number) {
            const auto& nic = facts_.nics[number];
            const auto what = fmt::format("card {} ({} {})", number, nic.model, nic.mac);
            if (std::ranges::find(cards, nic.model) == cards.end()) {
                audit_.violated("unknown-device", what);
                continue;
            }
            if (!alone_in_slot(what, nic.slot)) continue;
            audit_.carried("network",
                           fmt::format("{} at 00:{:02x}.{}", what, nic.slot.device, nic.slot.function));
            const auto* mapped = find_nic(number, nic.id);
            if (mapped == nullptr) {
                audit_.violated("unmapped-nic", what);
                // No -netdev: a card with its cable unplugged.
                argument("-device", fmt::format("{},mac={},addr={}{}", nic.model, nic.mac, address(nic.slot),
                                                listed(nic.properties)));
                continue;
            }
            unsigned lowest = first_free_slot;
            while (lowest < slots && taken[lowest]) ++lowest;
            auto model = nic.model;
            if (lowest != nic.slot.device) model += ",addr=" + address(nic.slot);
            model += listed(nic.properties);
            taken.set(nic.slot.device);
            VMFERRY_TRY(add_nic(number, model, nic.mac, *mapped));
        }
        return {};
    }

    Result<void> add_nic(std::size_t number, const std::string& model, const std::string& mac,
                         const XenDestinationOptions::Nic& mapped) {
        // libxl writes the bridge into an option of its device model as it is.
        const bool plain = std::ranges::all_of(mapped.bridge, [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                   c == '_' || c == '-' || c == ':';
        });
        if (mapped.bridge.empty() || !plain)
            return xen_plan_usage_error(fmt::format("--nic {}", number), '"' + mapped.bridge + '"',
                                        "bridge=NAME, the name of a bridge on the Xen host");
        if (has_control(mapped.script))
            return xen_plan_usage_error(fmt::format("--nic {}", number), "control characters", "script=PATH");
        Json nic = {{"devid", number}, {"model", model}, {"mac", mac}, {"bridge", mapped.bridge}};
        if (!mapped.script.empty()) nic["script"] = mapped.script;
        nic["nictype"] = "vif_ioemu";
        nics_.push_back(std::move(nic));
        return {};
    }

    // ---- drives ----

    /// "hda" by place, "vda" by order.
    [[nodiscard]] std::string vdev_of(const SourceDisk& disk, unsigned virtio_number) const {
        return disk.model.starts_with("ide-") ? fmt::format("hd{:c}", 'a' + static_cast<char>(disk.ide_index))
                                              : fmt::format("vd{:c}", 'a' + static_cast<char>(virtio_number));
    }

    Result<void> add_disks() {
        unsigned virtio_number = 0;
        for (const auto& disk : facts_.disks) {
            const bool ide = disk.model.starts_with("ide-");
            const auto vdev = vdev_of(disk, virtio_number);
            if (!ide) {
                ++virtio_number;
                if (!alone_in_slot(vdev, disk.slot)) continue;
            }
            VMFERRY_TRY(add_disk(disk, vdev, ide));
        }
        return {};
    }

    Result<void> add_disk(const SourceDisk& disk, const std::string& vdev, bool ide) {
        const bool cdrom = disk.model == "ide-cd";
        const auto* mapped = find_disk(vdev, disk.id);
        const bool empty = mapped == nullptr || mapped->path == "none";
        const auto option = "--disk " + vdev;
        if (empty && !(cdrom && (mapped != nullptr || disk.file.empty()))) {
            if (mapped != nullptr)
                return xen_plan_usage_error(option, "none", "an image, as it is not a CD-ROM drive");
            audit_.violated("unmapped-disk", fmt::format("drive {} ({}{}) has no image", vdev, disk.model,
                                                         disk.id.empty() ? "" : ", id " + disk.id));
            return {};
        }
        if (empty && !disk.file.empty())
            audit_.adapted("disks", fmt::format("drive {}: the medium is taken out", vdev));
        if (!empty) VMFERRY_TRY(check_image(option, *mapped, ide));
        if (ide)
            add_ide(disk, vdev, cdrom, empty ? nullptr : mapped);
        else
            VMFERRY_TRY(add_virtio_disk(disk, vdev, *mapped));
        audit_.carried("disks", fmt::format("{}: {} of {} bytes", vdev, disk.model, disk.bytes));
        return {};
    }

    static Result<void> check_image(const std::string& option, const XenDestinationOptions::Disk& image,
                                    bool ide) {
        // libxl writes an IDE drive's path into an option of its device model as it is.
        const bool comma = ide && image.path.find(',') != std::string::npos;
        if (image.path.empty() || comma || has_control(image.path))
            return xen_plan_usage_error(
                option, '"' + image.path + '"',
                comma ? "a path without comma, as Xen passes it on to QEMU" : "a path on the Xen host");
        if (std::ranges::find(formats, image.format, &Format::libxl) == formats.end())
            return xen_plan_usage_error(option, "format=" + image.format, "raw, qcow2, qcow, vhd or qed");
        if (image.backend != "qdisk" && image.backend != "phy")
            return xen_plan_usage_error(option, "backend=" + image.backend, "qdisk or phy");
        if (image.backend == "phy" && image.format != "raw")
            return xen_plan_usage_error(option, "backend=phy with format=" + image.format,
                                        "format=raw, as phy takes block devices");
        return {};
    }

    void add_ide(const SourceDisk& disk, const std::string& vdev, bool cdrom,
                 const XenDestinationOptions::Disk* image) {
        if (disk.ide_index >= ide_drives) return;  // source_devices gives none
        Json json = Json::object();
        if (image != nullptr) json["pdev_path"] = image->path;
        json["vdev"] = vdev;
        json["backend"] = image != nullptr ? image->backend : "qdisk";
        json["format"] = image != nullptr ? image->format : "empty";
        if (cdrom) json["removable"] = 1;
        json["readwrite"] = cdrom ? 0 : 1;
        if (cdrom) json["is_cdrom"] = 1;
        disks_.push_back(std::move(json));
    }

    Result<void> add_virtio_disk(const SourceDisk& disk, const std::string& vdev,
                                 const XenDestinationOptions::Disk& image) {
        const auto* format = std::ranges::find(formats, image.format, &Format::libxl);
        argument("-drive",
                 fmt::format("file={},if=none,id=drive-{},format={},cache=writeback{}", escaped(image.path),
                             vdev, format->qemu, disk.readonly ? ",readonly=on" : ""));
        argument("-device",
                 fmt::format("{},id=disk-{},drive=drive-{},addr={}{}{}", disk.model, vdev, vdev,
                             address(disk.slot), listed(disk.properties), serial_number(disk, vdev)));
        return {};
    }

    /// The guest may know its disk by this number. It is carried if it is a plain word.
    std::string serial_number(const SourceDisk& disk, const std::string& vdev) {
        const bool plain =
            disk.serial.size() <= most_serial_number && std::ranges::all_of(disk.serial, [](char c) {
                return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.';
            });
        if (disk.serial.empty()) return {};
        if (plain) return ",serial=" + disk.serial;
        audit_.violated("disk-serial", fmt::format("drive {}", vdev));
        return {};
    }

    // ---- the rest ----

    Result<void> add_serial() {
        const auto ports = facts_.serial_ports;
        const auto& given = options_.serial;
        if (given.size() > ports)
            return xen_plan_usage_error("--serial", fmt::format("given {} times", given.size()),
                                        fmt::format("at most once for each of the guest's {} ports", ports));
        if (ports > most_serial_ports) {
            audit_.violated("serial-ports", fmt::format("{} ports", ports));
            return {};
        }
        Json all = Json::array();
        for (unsigned port = 0; port < ports; ++port) {
            const auto where = port < given.size() ? given[port] : std::string("null");
            if (where.empty() || where == "none" || has_control(where))
                return xen_plan_usage_error("--serial", '"' + where + '"',
                                            "what serial in xl.cfg takes: pty, file:PATH, null, …");
            all.push_back(where);
        }
        if (given.size() < ports)
            audit_.adapted("serial",
                           fmt::format("{} of {} ports lead nowhere on the destination (see --serial)",
                                       ports - given.size(), ports));
        if (ports == 1) hvm_["serial"] = all.front();
        if (ports > 1) hvm_["serial_list"] = all;
        if (ports > 0) audit_.carried("serial", fmt::format("{} ports", ports));
        return {};
    }

    void add_usb() {
        hvm_["usb"] = facts_.usb_uhci ? "True" : "False";
        if (facts_.usb_tablet && facts_.usb_uhci) hvm_["usbdevice_list"] = {"tablet"};
        if (facts_.usb_tablet && !facts_.usb_uhci)
            audit_.violated("unknown-device", "a USB tablet behind another controller than the PIIX3's");
        if (facts_.usb_uhci) audit_.carried("USB", facts_.usb_tablet ? "PIIX3 with a tablet" : "PIIX3");
    }

    void check_others() {
        for (const auto& device : facts_.others) {
            const auto firmware_area =
                device.slot && !plan_.acpi_block.empty() &&
                plan_.acpi_block ==
                    fmt::format("0000:00:{:02x}.{}/xfw", device.slot->device, device.slot->function);
            // What vmferry itself put there when the guest came from Xen: there the area is RAM.
            if (firmware_area && device.model == "ivshmem-plain") continue;
            if (device.model == "isa-parallel") {
                argument("-parallel", "null");
                audit_.adapted("parallel port", "it leads nowhere on the destination");
                continue;
            }
            audit_.violated("unknown-device",
                            fmt::format("{}{}{}", device.model, device.id.empty() ? "" : ", id " + device.id,
                                        device.slot ? fmt::format(" at 00:{:02x}.{}", device.slot->device,
                                                                  device.slot->function)
                                                    : ""));
        }
    }

    // ---- the operator's mapping ----

    [[nodiscard]] const XenDestinationOptions::Disk* find_disk(const std::string& vdev,
                                                               const std::string& id) const {
        auto found = options_.disks.find(vdev);
        if (found == options_.disks.end() && !id.empty()) found = options_.disks.find(id);
        return found == options_.disks.end() ? nullptr : &found->second;
    }
    [[nodiscard]] const XenDestinationOptions::Nic* find_nic(std::size_t number,
                                                             const std::string& id) const {
        auto found = options_.nics.find(std::to_string(number));
        if (found == options_.nics.end() && !id.empty()) found = options_.nics.find(id);
        return found == options_.nics.end() ? nullptr : &found->second;
    }

    /// Every mapping is for something that the guest has.
    Result<void> check_mapping() const {
        std::vector<std::string> drives, networks;
        unsigned virtio_number = 0;
        for (const auto& disk : facts_.disks) {
            drives.push_back(vdev_of(disk, virtio_number));
            if (!disk.model.starts_with("ide-")) ++virtio_number;
            if (!disk.id.empty()) drives.push_back(disk.id);
        }
        for (std::size_t number = 0; number < facts_.nics.size(); ++number) {
            networks.push_back(std::to_string(number));
            if (!facts_.nics[number].id.empty()) networks.push_back(facts_.nics[number].id);
        }
        const auto joined = [](const std::vector<std::string>& names) {
            std::string all;
            for (const auto& name : names) all += (all.empty() ? "" : ", ") + name;
            return all.empty() ? std::string("none, as the guest has none") : "one of " + all;
        };
        for (const auto& [key, image] : options_.disks)
            if (std::ranges::find(drives, key) == drives.end())
                return xen_plan_usage_error("--disk " + key, "the guest has no such drive", joined(drives));
        for (const auto& [key, network] : options_.nics)
            if (std::ranges::find(networks, key) == networks.end())
                return xen_plan_usage_error("--nic " + key, "the guest has no such card", joined(networks));
        return {};
    }

    const SourceFacts& facts_;
    const XenDestinationOptions& options_;
    const XenPlan& plan_;
    AuditReport& audit_;
    std::string vga_kind_ = "none";
    Json extra_ = Json::array(), disks_ = Json::array(), nics_ = Json::array(), hvm_ = Json::object();
};

}  // namespace

Result<std::string> derive_domain_config(const XenPlanInput& in, const XenPlan& plan, std::uint64_t mmio_hole,
                                         AuditReport& audit) {
    return Deriver(in, plan, audit).derive(mmio_hole);
}

}  // namespace vmferry
