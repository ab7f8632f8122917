// Devices of the guest, in the order in which libxl names them on its device model's command line; QEMU gives
// out PCI slots in that order:
//
//     00.0 host bridge · 01.0 ISA, 01.1 IDE, 01.2 UHCI (if USB), 01.3 power management
//     02.0 xen-platform (only machine "xenfv") · next: display adapter · next: each emulated card
//
// Everything is placed with an explicit address, so that nothing depends on the destination's own order.
#include <algorithm>
#include <array>
#include <bit>
#include <bitset>
#include <optional>

#include <fmt/format.h>

#include "translators/plan_parts.hpp"

namespace vmferry {

namespace {

constexpr std::uint64_t mib = 1u << 20;
constexpr unsigned slots = 32, first_free_slot = 2;
constexpr unsigned ide_drives = 4, most_serial_ports = 4;
/// hvmloader's ACPI and SMBIOS area and all that it may grow into: 0xFC000000 to 0xFDFFFFFF.
constexpr std::uint64_t firmware_area_bytes = 32 * mib;

class Slots {
  public:
    /// libxl's and QEMU's rule: the lowest one that is free.
    std::optional<PciSlot> lowest() {
        for (unsigned slot = first_free_slot; slot < slots; ++slot)
            if (!used_[slot]) return take(slot);
        return std::nullopt;
    }
    /// For what Xen's guest does not have: as far away as can be.
    std::optional<PciSlot> highest() {
        for (unsigned slot = slots - 1; slot >= first_free_slot; --slot)
            if (!used_[slot]) return take(slot);
        return std::nullopt;
    }

  private:
    PciSlot take(unsigned slot) {
        used_.set(slot);
        return {slot, 0};
    }
    std::bitset<slots> used_;
};

struct DeviceName {
    std::string_view libxl, qemu, vmsd;
};
constexpr std::array adapters{DeviceName{"cirrus", "cirrus-vga", "cirrus_vga"},
                              DeviceName{"std", "VGA", "vga"}};
constexpr std::array cards{DeviceName{"e1000", "e1000", "e1000"},
                           DeviceName{"rtl8139", "rtl8139", "rtl8139"}};

void plan_display(const PlanInput& in, Slots& free, Plan& plan, AuditReport& audit) {
    const auto& config = in.config;
    if (config.vga == "none") return;
    const auto adapter = std::ranges::find(adapters, config.vga, &DeviceName::libxl);
    if (adapter == adapters.end()) {
        audit.violated("vga-kind", config.vga == "qxl" ? "vga is qxl" : "vga is of an unknown kind");
        return;
    }
    plan.vga = adapter->qemu;
    plan.vga_vmsd = adapter->vmsd;
    plan.vga_slot = free.lowest().value_or(PciSlot{});
    // QEMU rounds up to a power of two; cirrus takes only these sizes.
    const auto configured = (config.video_memkb + 1023) / 1024;
    const auto size = std::bit_ceil(configured);
    const bool fits = plan.vga_vmsd == "cirrus_vga" ? configured == 4 || configured == 8 || configured == 16
                                                    : size >= 1 && size <= 256;
    if (!fits) {
        audit.violated("video-memory",
                       fmt::format("{} KiB of video memory for {}", config.video_memkb, plan.vga));
        return;
    }
    plan.vram_bytes = size * mib;
    plan.vram_block = fmt::format("0000:00:{:02x}.0/vga.vram", plan.vga_slot.device);
    audit.carried("display",
                  fmt::format("{} with {} MiB at 00:{:02x}.0", plan.vga, size, plan.vga_slot.device));
}

void plan_usb(const PlanInput& in, Plan& plan, AuditReport& audit) {
    const auto& config = in.config;
    const auto tablets = std::ranges::count(config.usbdevices, "tablet");
    if (config.usb_version != 0 || tablets > 1 ||
        static_cast<std::size_t>(tablets) != config.usbdevices.size()) {
        audit.violated("usb-controllers", fmt::format("usbversion {}, {} USB devices of which {} are tablets",
                                                      config.usb_version, config.usbdevices.size(), tablets));
        return;
    }
    // libxl adds the controller for a device even with usb = 0.
    plan.usb_uhci = config.usb || tablets == 1;
    plan.usb_tablet = tablets == 1;
    if (plan.usb_uhci) audit.carried("USB", plan.usb_tablet ? "PIIX3 with a tablet" : "PIIX3");
}

Result<void> plan_nics(const PlanInput& in, Slots& free, Plan& plan, AuditReport& audit) {
    for (const auto& [devid, netdev] : in.options.nics) {
        const auto has = [&](const DomainNic& nic) { return nic.emulated && nic.devid == devid; };
        if (std::ranges::none_of(in.config.nics, has))
            return plan_usage_error(fmt::format("--nic {}", devid), "the guest has no such emulated card",
                                    "the devid of one that it has");
        if (netdev.empty() || netdev.starts_with("id=") || netdev.find(",id=") != std::string::npos)
            return plan_usage_error(fmt::format("--nic {}", devid), '"' + netdev + '"',
                                    "what -netdev takes, without id=");
    }
    for (const auto& nic : in.config.nics) {
        if (!nic.emulated) {
            audit.violated("pv-nic", fmt::format("card {} is for the paravirtual driver only", nic.devid));
            continue;
        }
        const auto card = std::ranges::find(cards, nic.model, &DeviceName::libxl);
        const auto slot = free.lowest();
        if (card == cards.end() || !slot) {
            audit.violated("nic-model", card == cards.end()
                                            ? fmt::format("card {} is neither e1000 nor rtl8139", nic.devid)
                                            : fmt::format("card {} finds no PCI slot", nic.devid));
            continue;
        }
        PlannedNic planned{.index = nic.devid,
                           .model = std::string(card->qemu),
                           .vmsd = std::string(card->vmsd),
                           .mac = nic.mac,
                           .slot = *slot,
                           .netdev = {}};
        const auto mapped = in.options.nics.find(nic.devid);
        if (mapped == in.options.nics.end())
            audit.violated("unmapped-nic", fmt::format("card {} ({}, {})", nic.devid, card->qemu, nic.mac));
        else
            planned.netdev = mapped->second;
        audit.carried("network", fmt::format("card {}: {} {} at 00:{:02x}.0", nic.devid, card->qemu, nic.mac,
                                             slot->device));
        plan.nics.push_back(std::move(planned));
    }
    return {};
}

/// libxl's rule: the first four disks of any name but sd* are IDE drives; the rest only the PV driver sees.
struct DriveName {
    enum class Kind : std::uint8_t { ide, paravirtual, other } kind = Kind::other;
    unsigned index = 0;
};
DriveName drive_name(std::string_view vdev) {
    for (const std::string_view prefix : {"hd", "xvd"}) {
        if (vdev.size() != prefix.size() + 1 || !vdev.starts_with(prefix)) continue;
        const auto letter = vdev.back();
        if (letter < 'a' || letter > 'z') continue;
        const auto index = static_cast<unsigned>(letter - 'a');
        return {index < ide_drives ? DriveName::Kind::ide : DriveName::Kind::paravirtual, index};
    }
    return vdev.starts_with("xvd") ? DriveName{DriveName::Kind::paravirtual, 0} : DriveName{};
}

/// The operator's image for an IDE drive. Leaves the image empty for a drive without medium.
Result<void> plan_image(const PlanInput& in, const DomainDisk& disk, PlannedDisk& planned,
                        AuditReport& audit) {
    const auto mapped = in.options.disks.find(disk.vdev);
    if (mapped == in.options.disks.end()) {
        if (!disk.empty) audit.violated("unmapped-disk", fmt::format("drive {} has no image", disk.vdev));
        return {};
    }
    const auto& image = mapped->second;
    if (image.path == "none") {
        if (!disk.cdrom)
            return plan_usage_error("--disk " + disk.vdev, "none", "an image, as it is not a CD-ROM drive");
        if (!disk.empty) audit.adapted("disks", fmt::format("drive {}: the medium is taken out", disk.vdev));
        return {};
    }
    if (image.path.empty() || image.format.empty())
        return plan_usage_error("--disk " + disk.vdev, "no path or no format", "PATH[,format=FORMAT]");
    const auto size = in.facts.image_bytes.find(disk.vdev);
    if (size == in.facts.image_bytes.end() || size->second == 0)
        return plan_usage_error("--disk " + disk.vdev, "an image whose size is not known",
                                "an image that exists, or its size");
    planned.image = image.path;
    planned.format = image.format;
    planned.drive_options = image.drive_options;
    planned.bytes = size->second;
    return {};
}

Result<void> plan_disks(const PlanInput& in, Plan& plan, AuditReport& audit) {
    for (const auto& [vdev, image] : in.options.disks)
        if (std::ranges::find(in.config.disks, vdev, &DomainDisk::vdev) == in.config.disks.end())
            return plan_usage_error("--disk " + vdev, "the guest has no such drive", "one that it has");
    if (in.config.hdtype != "ide") audit.violated("disk-type", "hdtype is not ide");

    std::bitset<ide_drives> used;
    for (const auto& disk : in.config.disks) {
        const auto name = drive_name(disk.vdev);
        if (name.kind == DriveName::Kind::paravirtual && !disk.cdrom) {
            audit.violated("pv-disk", fmt::format("drive {} is for the paravirtual driver only", disk.vdev));
            continue;
        }
        if (name.kind != DriveName::Kind::ide || used[name.index]) {
            audit.violated("disk-type",
                           name.kind != DriveName::Kind::ide
                               ? fmt::format("drive {} is not one of hda to hdd", disk.vdev)
                               : fmt::format("drive {} shares its place with another one", disk.vdev));
            continue;
        }
        used.set(name.index);
        if (!disk.cdrom && !disk.readwrite) {
            audit.violated("disk-type", fmt::format("drive {} is a read-only disk", disk.vdev));
            continue;
        }
        PlannedDisk planned{.vdev = disk.vdev,
                            .image = {},
                            .format = {},
                            .drive_options = {},
                            .cdrom = disk.cdrom,
                            .readonly = disk.cdrom,
                            .ide_index = name.index,
                            .bytes = 0};
        VMFERRY_TRY(plan_image(in, disk, planned, audit));
        audit.carried("disks", fmt::format("{}: IDE {} {} of {} bytes", disk.vdev,
                                           disk.cdrom ? "CD-ROM" : "disk", name.index, planned.bytes));
        plan.disks.push_back(std::move(planned));
    }
    return {};
}

void plan_serial(const PlanInput& in, Plan& plan, AuditReport& audit) {
    // "-serial none" makes no port, and what it does to the numbers of later ones depends on QEMU's release.
    const auto& serial = in.config.serial;
    const auto last = std::ranges::find_if(serial.rbegin(), serial.rend(),
                                           [](const std::string& port) { return port != "none"; });
    const auto ports = static_cast<std::size_t>(serial.rend() - last);
    const auto none = std::find(serial.begin(), serial.begin() + static_cast<std::ptrdiff_t>(ports), "none");
    if (ports > most_serial_ports || static_cast<std::size_t>(none - serial.begin()) < ports) {
        audit.violated("serial-ports", fmt::format("{} ports of which some are \"none\"", serial.size()));
        return;
    }
    plan.serial_ports = static_cast<unsigned>(ports);
    const auto mapped = in.options.serial.size();
    if (mapped < ports)
        audit.adapted("serial", fmt::format("{} of {} ports lead nowhere on the destination (see --serial)",
                                            ports - mapped, ports));
    if (mapped > ports)
        audit.adapted("serial", fmt::format("the guest has {} ports, so {} mappings are not used", ports,
                                            mapped - ports));
    if (ports > 0) audit.carried("serial", fmt::format("{} ports", ports));
}

}  // namespace

Result<void> plan_devices(const PlanInput& in, Plan& plan, AuditReport& audit) {
    Slots free;
    // The platform device is not carried, but the slot that it took stays empty.
    if (in.config.xen_platform_pci) (void)free.lowest();
    plan_display(in, free, plan, audit);
    plan_usb(in, plan, audit);
    VMFERRY_TRY(plan_nics(in, free, plan, audit));
    VMFERRY_TRY(plan_disks(in, plan, audit));
    plan_serial(in, plan, audit);

    // SeaBIOS keeps its tables in the guest's RAM.
    if (plan.firmware == Firmware::seabios_on_qemu) return {};
    const auto slot = free.highest();
    if (!slot) audit.violated("nic-model", "no PCI slot is left for the firmware area's device");
    plan.acpi_slot = slot.value_or(PciSlot{});
    plan.acpi_bytes = firmware_area_bytes;
    plan.acpi_block = fmt::format("0000:00:{:02x}.0/xfw", plan.acpi_slot.device);
    audit.adapted(
        "firmware area",
        fmt::format("a PCI device at 00:{:02x}.0 holds Xen's ACPI tables; the guest sees it after its "
                    "next boot or bus scan",
                    plan.acpi_slot.device));
    return {};
}

}  // namespace vmferry
