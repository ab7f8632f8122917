// The domain's configuration as libxl writes it in JSON (xl header): parsed into numbers and enumerations.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/wire/error.hpp"

namespace vmferry {

struct DomainNic {
    unsigned devid = 0;
    std::string model;  ///< "e1000"; libxl's default is rtl8139
    std::string mac;
    bool emulated = true;  ///< nictype vif_ioemu
};
struct DomainDisk {
    std::string vdev;    ///< "hda", "xvda", "sda"
    std::string format;  ///< the source's; not used for the destination
    bool cdrom = false;
    bool readwrite = true;
    bool empty = false;  ///< a drive without medium
};

/// Every member holds libxl's default when the JSON leaves it out.
struct DomainConfig {
    std::string type;  ///< "hvm", "pv", "pvh"
    std::string name;
    std::string uuid;
    unsigned max_vcpus = 1;
    std::vector<unsigned> avail_vcpus;
    std::uint64_t max_memkb = 0, target_memkb = 0, video_memkb = 0;
    std::uint64_t mmio_hole_memkb = 0;
    std::string bios;          ///< "seabios", "ovmf", "rombios"
    std::string device_model;  ///< "qemu_xen", …
    bool hpet = true, acpi = true, apic = true, xen_platform_pci = true, nested_hvm = false;
    bool viridian = false;
    bool usb = false;
    std::vector<std::string> usbdevices;
    std::string vga;                  ///< "cirrus", "std", "qxl", "none"
    std::vector<std::string> serial;  ///< only how many matter; the text is never used
    std::vector<std::string> soundhw;
    std::vector<std::string> extra_hvm;  ///< raw device-model arguments: never used, only audited
    std::string hdtype;                  ///< "ide", "ahci"
    std::vector<DomainNic> nics;
    std::vector<DomainDisk> disks;
    std::vector<std::string>
        other_devices;  ///< names of lists that are not empty: "pcidevs", "vtpms", "usbctrls", …
};

/// Error (kind stream, format "xl config") for bad JSON, wrong types, missing name or type, absurd numbers.
[[nodiscard]] Result<DomainConfig> read_domain_config(std::string_view json, std::uint64_t offset);

}  // namespace vmferry
