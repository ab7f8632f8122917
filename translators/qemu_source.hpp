// All of a QEMU stream that is not a page, collected; and what the source said of itself besides.
//
//     QemuSource    from the stream: machine type, RAM blocks, device sections decoded by their description
//     SourceFacts   over QMP, before the first page: what no stream says (CPU model, drives, cables, names)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
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

/// Settings of a device that shape its state and what the guest sees of it: "vectors" "3", "mq" "off". Names
/// are ours, values are numbers, "on", "off" or "auto".
using DeviceProperties = std::vector<std::pair<std::string, std::string>>;

/// A network card of the source.
struct SourceNic {
    std::string model;  ///< QEMU's device type: "e1000", "rtl8139", "virtio-net-pci"
    std::string id;     ///< of -device; may be empty
    std::string mac;    ///< canonical, lower case
    PciSlot slot;
    DeviceProperties properties{};
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
    std::string serial{};  ///< number that the guest reads; as it is, unchecked
    DeviceProperties properties{};
};
/// Any other device that is not part of the machine itself.
struct SourceDevice {
    std::string model;
    std::string id;
    std::optional<PciSlot> slot;  ///< only for devices on the machine's own PCI bus
};
/// A memory module behind -m (pc-dimm).
struct SourceDimm {
    std::string block;  ///< RAM block in the stream: the backend's id
    std::uint64_t base = 0, bytes = 0;
};

struct SourceFacts {
    unsigned qemu_major = 0, qemu_minor = 0;
    Accel accel = Accel::tcg;
    bool stopped = false;  ///< the guest stood still before it was migrated, as far as can be told
    std::string machine;   ///< "pc-i440fx-7.2"
    std::string name;      ///< of -name; empty if it has none
    std::string uuid;      ///< canonical; empty or all zero if it has none
    unsigned vcpus = 1, max_vcpus = 1;
    std::vector<unsigned> apic_ids;  ///< of the `vcpus` that are there, in QEMU's order
    std::string ram_block;          ///< RAM block of -m: "pc.ram", or its backend's id; empty: several (NUMA)
    std::uint64_t ram_bytes = 0;    ///< -m, without DIMMs
    std::uint64_t low_ram_end = 0;  ///< first guest-physical address above the part of -m below 4 GiB
    std::vector<SourceDimm> dimms;
    std::string vga;  ///< "cirrus-vga", "VGA", "" = none
    PciSlot vga_slot;
    std::uint64_t vram_bytes = 0;
    std::vector<SourceNic> nics;       ///< by slot
    std::vector<SourceDisk> disks;     ///< IDE by index, then the others by slot
    std::vector<SourceDevice> others;  ///< in no order
    unsigned serial_ports = 0;
    bool usb_uhci = false, usb_tablet = false, hpet = false;
    std::optional<std::uint64_t> tsc_khz;  ///< KVM: what the guest sees; TCG: not known
    CpuFacts cpu;                          ///< what the guest's CPU shows
};

}  // namespace vmferry
