// What the destination must look like: derived from the domain's configuration, its CPUID policy and the
// operator's mapping, before the first page. Everything that a stream says is treated as a claim here;
// nothing of it becomes a host path or a QEMU argument except numbers and enumerations that were parsed and
// checked.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "parsers/wire/error.hpp"
#include "translators/machine.hpp"

namespace vmferry {

enum class Accel { tcg, kvm };

/// A run of guest frames that lies in one QEMU RAM block.
struct RamRange {
    std::uint64_t first_gfn = 0;
    std::uint64_t frames = 0;
    std::string block;               ///< idstr in the stream, "pc.ram", "hi"
    std::uint64_t block_offset = 0;  ///< bytes, of the first frame
};

struct PciSlot {
    unsigned device = 0;
    unsigned function = 0;
};

struct PlannedNic {
    unsigned index = 0;  ///< Xen's devid
    std::string model;   ///< QEMU's -device name: "e1000", "rtl8139"
    std::string vmsd;    ///< its section's name: "e1000", "rtl8139"
    std::string mac;
    PciSlot slot;
    std::string netdev;  ///< the operator's -netdev arguments; empty: the cable is unplugged
};

struct PlannedDisk {
    std::string vdev;           ///< "hda"
    std::string image;          ///< the operator's path; empty for an empty CD-ROM
    std::string format;         ///< "raw", "qcow2", …
    std::string drive_options;  ///< the operator's further -drive options
    bool cdrom = false;
    bool readonly = false;
    unsigned ide_index = 0;   ///< bus × 2 + unit
    std::uint64_t bytes = 0;  ///< virtual size of the image; 0 for an empty CD-ROM
};

/// How one Xen vCPU appears in QEMU.
struct PlannedVcpu {
    unsigned cpu_instance = 0;  ///< instance of sections "cpu" and "cpu_common"
    unsigned apic_id = 0;       ///< instance of section "apic"; also the id the guest sees
};

struct Plan {
    Accel accel = Accel::tcg;
    std::string qemu;     ///< binary
    std::string machine;  ///< "pc-i440fx-7.2"
    std::string name;     ///< of the guest, as the operator or the configuration gives it (checked)
    std::string uuid;     ///< canonical form, or empty

    std::uint64_t ram_bytes = 0;    ///< max_memkb − video_memkb
    std::uint64_t low_ram_end = 0;  ///< first guest-physical address above low RAM
    std::uint64_t mmio_start = 0;   ///< Xen's PCI hole below 4 GiB begins here
    std::vector<RamRange> ram;      ///< plain RAM, disjoint, ascending

    std::uint64_t main_ram_bytes = 0;    ///< QEMU's -m: block pc.ram
    std::uint64_t max_ram_below_4g = 0;  ///< machine property; 0: QEMU's default
    std::uint64_t dimm_bytes = 0;        ///< block "hi", a pc-dimm at 4 GiB; 0: none

    unsigned vcpus = 1;                ///< the domain's maximum
    std::vector<PlannedVcpu> vcpu;     ///< index = Xen's vCPU number
    std::vector<PlannedVcpu> fillers;  ///< CPUs that only fill gaps between APIC ids; they stay in SIPI wait
    std::string cpu;                   ///< QEMU's -cpu argument

    Firmware firmware = Firmware::hvmloader;  ///< whose platform the guest lives on
    bool hpet = false;

    std::string vga;       ///< "cirrus-vga", "VGA" or "" (none)
    std::string vga_vmsd;  ///< "cirrus_vga", "vga"
    PciSlot vga_slot;
    std::uint64_t vram_bytes = 0;
    std::string vram_block;  ///< "0000:00:02.0/vga.vram"

    std::string acpi_block;  ///< RAM block that backs the firmware area at acpi_base: "0000:00:1f.0/xfw";
                             ///< empty: SeaBIOS's guests have none
    std::uint64_t acpi_base = 0xFC000000;
    std::uint64_t acpi_bytes = 0;
    PciSlot acpi_slot;  ///< of the ivshmem-plain device

    std::vector<PlannedNic> nics;
    std::vector<PlannedDisk> disks;
    unsigned serial_ports = 0;
    bool usb_uhci = false;
    bool usb_tablet = false;
    bool reset_stub = true;  ///< patch the firmware in RAM so that a reset finds QEMU's

    /// Arguments after the binary, ready to run: `-S -incoming defer` and QMP are added by whoever starts it.
    std::vector<std::string> arguments;
    /// The same for the twin: null-co disks, null chardevs, unconnected netdevs.
    std::vector<std::string> twin_arguments;
};

}  // namespace vmferry
