// What the operator wants of the destination, and what the destination's QEMU said of itself.
//
//     DestinationOptions   command line or TOML: which image, which network, which accelerator …
//     DestinationFacts     asked of the QEMU binary and of the images before the plan is made
//     CpuFacts             asked of the twin (QMP qom-get on its first CPU), after the plan is made
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "parsers/xen/policy.hpp"
#include "translators/plan.hpp"

namespace vmferry {

/// The operator's image for one of the guest's drives.
struct MappedDisk {
    std::string path;             ///< a file or block device; "none" = no medium (CD-ROM only)
    std::string format = "raw";   ///< QEMU's block driver for it
    std::string drive_options{};  ///< further -drive options, "cache=none,aio=native"; may be empty
};

struct DestinationOptions {
    using Seconds = std::chrono::seconds;

    std::string qemu = "qemu-system-x86_64";
    std::optional<Accel> accel;               ///< empty: not said; KVM where it works, else TCG
    std::map<std::string, MappedDisk> disks;  ///< by vdev: "hda"
    std::map<unsigned, std::string> nics;     ///< by Xen's devid: "user,net=…" (what -netdev takes, no id=)
    std::vector<std::string> serial;          ///< by port: what -serial takes
    std::string display;                      ///< what -display takes; empty: none
    std::string qmp;                          ///< socket of a QEMU to adopt; empty: spawn one
    std::string name;                         ///< overrides the guest's name
    std::map<std::string, std::string, std::less<>> set;  ///< --set KEY=VALUE, see known_settings()
    std::vector<std::string> extra;                       ///< after "--": for the destination, not the twin
    std::set<std::string, std::less<>> allow;             ///< rules whose risk is accepted
    std::string template_file;                            ///< a stored template instead of a twin

    std::string state_directory = "/var/lib/vmferry";
    std::string spill_directory = "/var/tmp";
    std::uint64_t spill_bytes = 1u << 30;  ///< held pages of one session
    Seconds start_timeout{30};             ///< QEMU answers on QMP
    Seconds twin_timeout{30};              ///< the twin's whole stream
    Seconds peer_timeout{120};             ///< the peer sends nothing in the middle of its stream
    Seconds load_timeout{60};              ///< QEMU reports the load as completed, after the last byte
    Seconds permission_timeout{120};       ///< the peer answers "ready"
};

/// Keys of DestinationOptions::set with a sentence each.
struct Setting {
    const char* key;
    const char* meaning;
};
[[nodiscard]] const std::vector<Setting>& known_settings();

struct DestinationFacts {
    unsigned qemu_major = 0, qemu_minor = 0;
    std::vector<std::string> machines;  ///< names, as query-machines reports them
    bool kvm = false;                   ///< KVM is there and usable
    /// Virtual size of each mapped image by vdev, in bytes (the guest's view, not the file's length).
    std::map<std::string, std::uint64_t> image_bytes;
};

enum class CpuidRegister : std::uint8_t { eax, ebx, ecx, edx };

/// One element of QEMU's property "feature-words".
struct FeatureWord {
    std::uint32_t leaf = 0;
    std::uint32_t subleaf = 0;  ///< 0 where QEMU names none
    CpuidRegister reg = CpuidRegister::eax;
    std::uint32_t bits = 0;
};

/// Place of one XSAVE state component in the standard format (CPUID leaf 0xD, subleaf `index`).
struct XsaveComponent {
    unsigned index = 0;
    std::uint32_t offset = 0, size = 0;
};

/// What a QEMU's CPU shows: the destination's, read from the twin, or the source's.
struct CpuFacts {
    std::string vendor;  ///< 12 characters
    unsigned family = 0, model = 0, stepping = 0;
    std::string brand{};  ///< processor brand string; may be empty
    std::optional<unsigned> phys_bits;
    std::vector<FeatureWord> words;
    /// KVM: of the host CPU (host_xsave_layout()). TCG: ignored, its layout is fixed.
    std::vector<XsaveComponent> xsave;
};

}  // namespace vmferry
