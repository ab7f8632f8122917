// All of a QEMU stream that is not a page, collected; and what the source said of itself besides.
//
//     QemuSource    from the stream: machine type, RAM blocks, device sections decoded by their description
//     SourceFacts   over QMP, before the first page: what no stream says (CPU model, drives, cables, names)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/qemu/stream_writer.hpp"
#include "translators/destination.hpp"
#include "translators/plan.hpp"

namespace vmferry {

struct QemuSource {
    std::string machine;                 ///< of CONFIGURATION: "pc-i440fx-7.2"
    std::vector<qemu::RamBlock> blocks;  ///< in stream order
    qemu::DeviceTree tree;               ///< empty until the stream's end
};

/// A network card of the source.
struct SourceNic {
    std::string model;  ///< QEMU's device type: "e1000", "rtl8139", "virtio-net-pci"
    std::string id;     ///< of -device; may be empty
    std::string mac;    ///< canonical, lower case
    PciSlot slot;
};
/// A drive of the source.
struct SourceDisk {
    std::string model;       ///< "ide-hd", "ide-cd", "virtio-blk-pci"
    std::string id;          ///< of -device; may be empty
    std::string file;        ///< host path at the source, for messages only; empty: no medium
    unsigned ide_index = 0;  ///< bus × 2 + unit; only for ide-*
    PciSlot slot;            ///< only for PCI devices
    std::uint64_t bytes = 0;
    bool readonly = false;
};
/// Any other PCI device that is not part of the machine itself.
struct SourcePciDevice {
    std::string model;
    std::string id;
    PciSlot slot;
};

struct SourceFacts {
    unsigned qemu_major = 0, qemu_minor = 0;
    Accel accel = Accel::tcg;
    std::string machine;  ///< "pc-i440fx-7.2"
    std::string name;     ///< of -name; empty if it has none
    std::string uuid;     ///< canonical; empty or all zero if it has none
    unsigned vcpus = 1, max_vcpus = 1;
    std::uint64_t ram_bytes = 0;  ///< -m, without DIMMs
    std::string vga;              ///< "cirrus-vga", "VGA", "" = none
    PciSlot vga_slot;
    std::uint64_t vram_bytes = 0;
    std::vector<SourceNic> nics;    ///< by slot
    std::vector<SourceDisk> disks;  ///< IDE by index, then the others by slot
    std::vector<SourcePciDevice> others;
    unsigned serial_ports = 0;
    bool usb_uhci = false, usb_tablet = false, hpet = false;
    std::optional<std::uint64_t> tsc_khz;  ///< KVM: what the guest sees; TCG: not known
    CpuFacts cpu;                          ///< what the guest's CPU shows
};

}  // namespace vmferry
