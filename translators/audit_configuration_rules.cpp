#include "translators/audit_configuration_rules.hpp"

#include <array>

namespace vmferry {

namespace {

constexpr auto risk = RuleKind::risk;
constexpr auto impossible = RuleKind::impossible;
constexpr auto configuration = RuleStage::configuration;

constexpr std::array rules{
    // ---- what kind of domain it is ----
    Rule{"pv-domain", impossible, configuration,
         "A PV domain runs on Xen's own interface instead of a PC; QEMU has nothing like it.",
         "Run the guest as an HVM domain (type = \"hvm\" in xl.cfg) before migrating it."},
    Rule{"pvh-domain", impossible, configuration,
         "A PVH domain has no device model and no PC platform; QEMU's machines have both.",
         "Run the guest as an HVM domain (type = \"hvm\" in xl.cfg) before migrating it."},
    Rule{"ovmf-firmware", impossible, configuration,
         "The guest runs on UEFI: its firmware's runtime services and variables are not carried.",
         "Install the guest for BIOS boot and set bios = \"seabios\" on the Xen side."},
    Rule{"rombios", impossible, configuration,
         "ROMBIOS belongs to qemu-traditional, whose device state no stock QEMU understands.",
         "Set bios = \"seabios\" and device_model_version = \"qemu-xen\" on the Xen side."},
    Rule{"qemu-traditional", impossible, configuration,
         "The device model is not upstream QEMU, so its state has another format.",
         "Set device_model_version = \"qemu-xen\" on the Xen side."},
    Rule{"stub-domain", impossible, configuration,
         "The device model runs in a stub domain, whose state is not part of the stream.",
         "Set device_model_stubdomain_override = 0 on the Xen side."},
    Rule{"acpi-off", impossible, configuration,
         "Without ACPI the device model has no power management device; the destination's machine has one.",
         "Set acpi = 1 on the Xen side."},
    Rule{"source-machine", impossible, configuration,
         "The source is another machine than the one that Xen's device model imitates.",
         "Start QEMU with -machine pc (pc-i440fx-X.Y)."},
    Rule{"uefi-firmware", impossible, configuration,
         "The guest runs on UEFI or on another firmware than SeaBIOS: its flash, runtime services and "
         "variables are "
         "not carried.",
         "Install the guest for BIOS boot and start QEMU without pflash and without -bios."},
    Rule{"domain-config", impossible, configuration,
         "The configuration that was given for the domain describes another guest than the one that comes.",
         "Correct it (vmferry plan --to xl prints one that fits), or leave --domain-config out."},
    // ---- how a QEMU that is the source can be asked ----
    Rule{"unconfirmed-source", risk, configuration,
         "Without QMP nobody can ask the source whether it has ended its migration and stands still.",
         "Give its QMP socket (--source-qmp)."},
    Rule{"blind-source", risk, configuration,
         "Without QMP and return path the source neither waits for the load nor can be asked: if it fails, "
         "the guest stands still until somebody continues it.",
         "Give its QMP socket (--source-qmp), or set its migration capability return-path."},
    // ---- what Xen offers to the guest and QEMU does not ----
    Rule{"viridian", impossible, configuration,
         "The guest uses Xen's Hyper-V interface, whose state has no counterpart in the destination.",
         "Set viridian = 0 on the Xen side and restart the guest."},
    Rule{"nested-hvm", risk, configuration,
         "The guest was offered hardware virtualization; a hypervisor running inside it is not carried.",
         "Set nestedhvm = 0 on the Xen side, or make sure that no hypervisor runs in the guest."},
    Rule{"xen-platform-device", risk, configuration,
         "The guest has Xen's platform PCI device, which disappears; drivers bound to it stop working.",
         "Set xen_platform_pci = 0 on the Xen side and boot the guest without its Xen drivers (Linux: nopv "
         "xen_nopv)."},
    Rule{"pci-passthrough", impossible, configuration,
         "Host devices are passed through to the guest; their state cannot be moved.",
         "Detach them first (xl pci-detach, or remove pci/dtdev/gfx_passthru from xl.cfg)."},
    // ---- devices ----
    Rule{"unmapped-disk", impossible, configuration, "A drive of the guest has no image on the destination.",
         "Say which image it is: --disk VDEV=PATH[,format=FORMAT]."},
    Rule{
        "unmapped-nic", risk, configuration,
        "A network card of the guest has no network on the destination; if accepted, its cable is unplugged.",
        "Say which network it is on: --nic DEVID=NETDEV-ARGUMENTS."},
    Rule{"disk-type", impossible, configuration,
         "A drive is attached in a way that has no counterpart: only IDE drives (hda to hdd) are carried.",
         "Attach it as hda … hdd with hdtype = \"ide\", writable unless it is a CD-ROM, on the Xen side."},
    Rule{"pv-disk", risk, configuration,
         "A disk exists only for Xen's paravirtual driver; it disappears for the guest.",
         "Attach it as hda … hdd on the Xen side, or detach it (xl block-detach)."},
    Rule{"nic-model", impossible, configuration, "A network card is of a model that is not carried.",
         "Set model=e1000 or model=rtl8139 for it on the Xen side."},
    Rule{"pv-nic", risk, configuration,
         "A network card exists only for Xen's paravirtual driver; it disappears for the guest.",
         "Set type=ioemu,model=e1000 for it on the Xen side, or detach it (xl network-detach)."},
    Rule{"vga-kind", impossible, configuration, "The display adapter is of a kind that is not carried.",
         "Set vga = \"stdvga\", \"cirrus\" or \"none\" on the Xen side."},
    Rule{"video-memory", impossible, configuration,
         "The display adapter's memory has a size that the destination's adapter cannot have.",
         "Set videoram (vgamem_mb) to a power of two that the adapter takes (cirrus: 4, 8 or 16 MiB)."},
    Rule{"spice", impossible, configuration,
         "SPICE adds devices to the guest (virtio-serial and its channels) that are not carried.",
         "Set spice = 0 on the Xen side; the destination's display is chosen with --display."},
    Rule{"sound", impossible, configuration, "The guest has a sound card, which is not carried.",
         "Remove soundhw on the Xen side."},
    Rule{"usb-controllers", impossible, configuration,
         "The guest has USB controllers or devices other than the PIIX3 one with a tablet.",
         "Remove usbversion, usbctrl and usbdev (and usbdevice other than \"tablet\") on the Xen side."},
    Rule{"vtpm", impossible, configuration, "The guest has a TPM, whose secrets and state are not carried.",
         "Detach the TPM on the Xen side."},
    Rule{"vendor-device", impossible, configuration,
         "The guest has the PCI device for Windows driver updates, which QEMU does not have.",
         "Set vendor_device = \"none\" on the Xen side."},
    Rule{"serial-ports", impossible, configuration,
         "The serial ports are configured in a way whose port numbers are not certain.",
         "List the ports without gaps, at most four, on the Xen side."},
    Rule{"raw-device-model-arguments", risk, configuration,
         "The device model was started with raw arguments; they are never taken from a stream, so what they "
         "add to the guest is missing.",
         "Remove device_model_args and device_model_args_hvm on the Xen side."},
    Rule{"unknown-device", impossible, configuration,
         "The source has a device that cannot be built in the destination at the place where the guest knows "
         "it.",
         "Detach it (device_del), or start QEMU without it; carried are IDE and virtio-blk drives, e1000, "
         "rtl8139 "
         "and virtio-net cards, cirrus and standard VGA, the PIIX3 USB controller with a tablet, serial "
         "ports."},
    Rule{"disk-serial", risk, configuration,
         "A drive has a serial number that is no plain word; the guest finds none on the destination.",
         "Give the drive a serial of letters, digits, '-', '_' and '.'."},
    Rule{"virtio-disk-load", risk, configuration,
         "The device model of newer Xen hosts (seen: 4.20 with QEMU 10.0) aborts while it loads a virtio-blk "
         "disk, at xl restore of a domain of its own as well: bdrv_graph_rdlock_main_loop: Assertion "
         "`!qemu_in_coroutine()' failed.",
         "Give the guest an IDE disk, use a Xen 4.17 host, or accept it where xl restore of such a domain "
         "works."},
    // ---- memory ----
    Rule{"memory-layout", impossible, configuration,
         "The guest's memory layout cannot be built in the destination.",
         "On the Xen side choose whole MiB for memory and an mmio_hole between 256 and 3840 MiB; on the QEMU "
         "side whole pages for -m, whole MiB up to 3840M for max-ram-below-4g, no NUMA nodes and no memory "
         "modules."},
    Rule{
        "tcg-missed-writes", risk, configuration,
        "QEMU before 9.0 does not send all that a guest writes under TCG while it is migrated, where its RAM "
        "is a multiple of 256 KiB: pages may arrive as they were before.",
        "Stop the guest before it is migrated (`stop`), give it RAM that is no such multiple (-m 1048584k), "
        "or use QEMU 9.0 or later, or KVM."},
    // ---- CPU ----
    Rule{"vcpu-count", impossible, configuration,
         "There are more virtual CPUs than APIC ids for them: Xen gives every second id, QEMU's machine ends "
         "at 254, and Xen's domains at 128 virtual CPUs.",
         "Set maxvcpus to at most 127 on the Xen side, -smp to at most 128 on QEMU's."},
    Rule{"tcg-cpu", risk, configuration,
         "The guest would go on under emulation (TCG): correct, but many times slower than on hardware.",
         "Use a destination with KVM, or say --accel tcg."},
    Rule{"cpu-policy", risk, configuration,
         "It is not known which CPU the guest saw, so the destination's cannot be compared.",
         "Migrate from Xen 4.14 or later, which sends the CPUID policy; from QEMU with --source-qmp, and to "
         "a Xen "
         "template of 4.14 or later."},
    Rule{"cpu-vendor", impossible, configuration,
         "The destination's CPU is of another vendor than the one the guest saw.",
         "Use a destination whose CPU has the same vendor, or --accel tcg; to Xen from a TCG source, start "
         "QEMU with "
         "-cpu …,vendor=… of the destination."},
    Rule{
        "cpu-model", risk, configuration,
        "The destination's CPU shows another family, model or stepping: the guest chose its work-arounds and "
        "microcode paths for the one that it saw.",
        "Use a destination with the same CPU model, or one QEMU can imitate (--set cpu=…)."},
    Rule{"cpu-features", risk, configuration,
         "The guest saw CPU features that the destination does not have, and may use them at any time.",
         "Mask them where the guest boots (cpuid = … in xl.cfg, -cpu …,FEATURE=off of QEMU), or use a "
         "destination "
         "that has them."},
    Rule{"cpu-address-width", risk, configuration,
         "The destination's CPU has fewer physical address bits than the guest saw.",
         "Use a destination with at least as many, or boot the guest with fewer (QEMU: -cpu …,phys-bits=N); "
         "to QEMU "
         "--set cpu=…,phys-bits=N where KVM supports it."},
    Rule{"xsave-layout", impossible, configuration,
         "An extended CPU state component lies at another place in the destination's XSAVE area.",
         "Mask the feature where the guest boots (cpuid = … in xl.cfg, -cpu …,FEATURE=off of QEMU), or use a "
         "CPU of "
         "the same line."},
};

}  // namespace

std::span<const Rule> configuration_rules() {
    return rules;
}

}  // namespace vmferry
