// What the Xen domain must look like that takes a guest of QEMU over: derived from the source's facts (or the
// operator's own domain configuration), the template of the destination and the operator's mapping, before
// the first page.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "parsers/wire/error.hpp"
#include "parsers/xen/records.hpp"
#include "translators/audit.hpp"
#include "translators/qemu_source.hpp"
#include "translators/xen_source.hpp"

namespace vmferry {

/// All that is not memory of a paused domain of the destination's Xen: its release, CPUID and MSR policy,
/// parameters, the form of its save records and of its device model's state.
using XenTemplate = XenSource;

/// How the guest's TSC is kept on Xen (X86_TSC_INFO, xen-tscmode(7)).
enum class TscMode : std::uint32_t { automatic = 0, always_emulate = 1, never_emulate = 2 };

/// What the operator wants of the domain.
struct XenDestinationOptions {
    struct Disk {
        std::string path;               ///< on the Xen host
        std::string format = "raw";     ///< "raw", "qcow2", …
        std::string backend = "qdisk";  ///< "phy", "qdisk"
    };
    struct Nic {
        std::string bridge;
        std::string script;  ///< empty: Xen's default
    };
    /// By vdev or by the source's device id. IDE drives are hda to hdd by their place, the others vda, vdb, …
    /// in the order of their PCI slots. Path "none": a CD-ROM drive without medium.
    std::map<std::string, Disk, std::less<>> disks;
    /// By number ("0": the one in the lowest PCI slot) or by the source's device id.
    std::map<std::string, Nic, std::less<>> nics;
    std::vector<std::string> serial;  ///< by port: what xl.cfg's serial takes
    std::string name;                 ///< overrides the source's name
    std::string domain_config;  ///< text of --domain-config (JSON as xl sends it), instead of a derived one
    std::optional<TscMode> tsc_mode;       ///< nothing: as `domain_config` says, else automatic
    std::optional<std::uint64_t> tsc_khz;  ///< overrides what the source says
    std::optional<Accel> accel;            ///< of the source, if there is no QMP to ask
    std::set<std::string, std::less<>> allow;
};

struct XenPlan {
    Accel accel = Accel::tcg;  ///< of the source: a few fields mean something else under KVM
    std::string name, uuid;
    std::string config;  ///< the domain's configuration, JSON as xl sends it
    unsigned vcpus = 1;

    unsigned xen_major = 0, xen_minor = 0;
    xen::CpuidPolicy cpuid;
    xen::MsrPolicy msrs;
    TscMode tsc_mode = TscMode::automatic;
    std::uint32_t tsc_khz = 0;

    std::uint64_t ram_bytes = 0;  ///< of all RAM blocks that are plain RAM
    /// What the configuration says: whole MiB, as Xen builds no other domain (xc_dom_mem_init, xenguest.h),
    /// and a reset builds this one anew. The guest does not know of what exceeds ram_bytes before.
    [[nodiscard]] std::uint64_t configured_ram_bytes() const {
        constexpr std::uint64_t mib = 1u << 20;
        return (ram_bytes + mib - 1) / mib * mib;
    }
    std::vector<RamRange> ram;  ///< plain RAM, disjoint, ascending; gaps of the VGA window left out
    std::string vga_vmsd;       ///< "cirrus_vga", "vga"; empty: none
    PciSlot vga_slot;
    std::string vram_block;  ///< "0000:00:02.0/vga.vram"
    std::uint64_t vram_bytes = 0;
    /// A guest that hvmloader set up has its ACPI tables in this block, at acpi_base; empty: none.
    std::string acpi_block;
    std::uint64_t acpi_base = 0xFC000000, acpi_bytes = 0;

    [[nodiscard]] Firmware firmware() const {
        return acpi_block.empty() ? Firmware::seabios_on_qemu : Firmware::hvmloader;
    }
};

/// `facts` is empty for a source without QMP: then options.domain_config must be there.
/// `blocks`, `machine`: of the stream. Findings go into `audit`; an error of kind refused if they forbid to
/// go on, of kind usage if something must be said by the operator (the hint says what).
[[nodiscard]] Result<XenPlan> make_xen_plan(const std::optional<SourceFacts>& facts, const QemuSource& source,
                                            const XenTemplate& xen, const XenDestinationOptions& options,
                                            AuditReport& audit);

}  // namespace vmferry
