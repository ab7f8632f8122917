// The domain's configuration as libxl writes it in JSON (xl header): parsed into numbers and enumerations.
//
//     { "c_info": { "type": "hvm", "name": …, "uuid": … },
//       "b_info": { "max_vcpus": N, "max_memkb": N, "video_memkb": N, …,
//                   "type.hvm": { "bios": …, "hpet": "True", "vga": { "kind": … }, … } },
//       "disks": [ { "vdev": "hda", … } ], "nics": [ { "devid": 0, "model": …, "mac": … } ], … }
//
// libxl emits only what differs from the default; a keyed union is a member "<discriminator>.<value>"; a
// defbool is "True", "False" or "<default>"; a bitmap is the list of its set bits; memory is in KiB.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/wire/error.hpp"
#include "translators/machine.hpp"

namespace vmferry {

struct DomainNic {
    unsigned devid = 0;
    std::string model;     ///< "e1000"; libxl's default is rtl8139. Untrusted text: compare, never pass on
    std::string mac;       ///< canonical, lower case; empty only if the card is not emulated
    bool emulated = true;  ///< nictype vif_ioemu
};
struct DomainDisk {
    std::string vdev;    ///< "hda", "xvda", "sda": letters and digits only
    std::string format;  ///< the source's; not used for the destination
    bool cdrom = false;
    bool readwrite = true;
    bool empty = false;  ///< a drive without medium
};

/// Every member holds libxl's default when the JSON leaves it out.
struct DomainConfig {
    std::string type;  ///< "hvm", "pv", "pvh"
    std::string name;  ///< not empty, printable UTF-8 without '/', at most max_name_bytes
    std::string uuid;  ///< canonical, lower case; empty if the JSON has none
    unsigned max_vcpus = 1;
    std::vector<unsigned> avail_vcpus;  ///< online when the domain was built
    std::uint64_t max_memkb = 0, target_memkb = 0, video_memkb = 0;
    std::uint64_t mmio_hole_memkb = 0;  ///< 0: libxl's default
    std::string bios;                   ///< "seabios", "ovmf", "rombios"
    std::string device_model;           ///< "qemu_xen", …
    bool stubdomain = false;
    /// Who built the guest's platform. A guest that vmferry brought from QEMU is known by an entry in its
    /// configuration's platform data, which Xen keeps and only writes into its store.
    Firmware firmware = Firmware::hvmloader;
    bool hpet = true, acpi = true, apic = true, xen_platform_pci = true, nested_hvm = false;
    bool viridian = false;
    std::string tsc_mode;             ///< "default", "always_emulate", "native", "native_paravirt"
    std::optional<bool> msr_relaxed;  ///< nothing: not said
    bool usb = false;
    unsigned usb_version = 0;  ///< 0: the PIIX3 controller, if any; 1, 2, 3: a PCI controller of that USB
    std::vector<std::string> usbdevices;
    std::string vga;                  ///< "cirrus", "std", "qxl", "none"
    std::vector<std::string> serial;  ///< how many, and which are "none"; the text is never used otherwise
    std::vector<std::string> soundhw;
    std::vector<std::string> extra_hvm;  ///< raw device-model arguments: never used, only audited
    std::string hdtype;                  ///< "ide", "ahci"
    bool spice = false, gfx_passthru = false, vendor_device = false;
    std::vector<DomainNic> nics;
    std::vector<DomainDisk> disks;
    /// Names of lists that are not empty: "pcidevs", "vtpms", "usbctrls", …
    std::vector<std::string> other_devices;
};

/// c_info.platformdata of a domain whose guest SeaBIOS set up under QEMU.
inline constexpr const char* firmware_mark = "vmferry-firmware";
inline constexpr std::string_view seabios_mark = "seabios";

namespace domain_config_limit {
inline constexpr std::size_t json_bytes = 4u << 20;
inline constexpr std::size_t depth = 32;
inline constexpr std::size_t name_bytes = 128;
inline constexpr std::size_t text_bytes = 64u << 10;  ///< any other string
inline constexpr std::size_t list_items = 4096;
inline constexpr std::uint64_t memory_kib = 1ull << 34;  ///< 16 TiB
inline constexpr unsigned vcpus = 4096;
}  // namespace domain_config_limit

/// The 16 (6) bytes of a text of hexadecimal digits with '-' (':') in the canonical places, upper or lower
/// case.
[[nodiscard]] bool parse_uuid(std::string_view text, std::array<std::uint8_t, 16>& bytes);
[[nodiscard]] bool parse_mac(std::string_view text, std::array<std::uint8_t, 6>& bytes);

/// Error (kind stream, format "xl config") for bad JSON, wrong types, missing name or type, absurd numbers.
/// `offset` is the place of the JSON's first byte in the whole stream.
[[nodiscard]] Result<DomainConfig> read_domain_config(std::string_view json, std::uint64_t offset);

}  // namespace vmferry
