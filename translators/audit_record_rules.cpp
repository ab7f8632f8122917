#include "translators/audit_record_rules.hpp"

#include <array>

namespace vmferry {
namespace {

constexpr auto risk = RuleKind::risk;
constexpr auto impossible = RuleKind::impossible;
constexpr auto records = RuleStage::records;

constexpr std::array rules{
    // ---- processors ----
    Rule{"cpu-state", risk, records,
         "A control register or XCR0 holds a bit of a feature that the guest's CPUID policy or the "
         "destination's CPU "
         "does not have.",
         "Mask the feature where the guest boots (cpuid = … in xl.cfg, -cpu …,FEATURE=off), or use a "
         "destination that has it."},
    Rule{"xsave-without-record", risk, records,
         "The guest has enabled XSAVE (CR4.OSXSAVE), but the stream does not say with which components; "
         "accepted, "
         "all that the CPUID policy offers are assumed.",
         "Boot the guest with noxsave, or migrate from a Xen host whose own virtualization is not nested in "
         "emulation."},
    Rule{"cpu-msr", risk, records,
         "A model-specific register holds a value that the destination has no place for; it is lost.",
         "Mask the feature behind it where the guest boots (cpuid = … in xl.cfg, -cpu …,FEATURE=off)."},
    Rule{"nested-virtualization", impossible, records,
         "A hypervisor runs inside the guest (VMX or SVM is enabled); its state is not in the stream.",
         "Stop it, or restart the guest without hardware virtualization (nestedhvm = 0, -cpu "
         "…,vmx=off,svm=off)."},
    Rule{"pending-event", risk, records,
         "An event was on its way into a vCPU that the destination cannot be handed; it would be lost.",
         "Try again: the moment passes."},
    Rule{"vcpu-tsc", risk, records, "The vCPUs' time stamp counters differ; TCG has one for all of them.",
         "Use a destination with KVM, or let the guest keep its counters in step."},
    Rule{"kvm-paravirtual", risk, records,
         "The guest uses KVM's paravirtual interface (its clock, asynchronous page faults, stolen time, …), "
         "which "
         "disappears.",
         "Start QEMU with -cpu …,kvm=off, or boot the guest with no-kvmclock, no-kvmapf, no-steal-acc."},
    Rule{"hyperv-enlightenments", impossible, records,
         "The guest uses QEMU's Hyper-V interface, whose state has no counterpart in the destination.",
         "Start QEMU without hv-… in -cpu and restart the guest."},
    Rule{"system-management-mode", impossible, records,
         "A vCPU is in system management mode, which a Xen guest does not have.",
         "Try again: the moment passes."},
    Rule{"processor-count", impossible, records,
         "The source has another number of vCPUs than the domain's configuration.",
         "Correct --domain-config, or do not plug vCPUs while a migration begins."},
    // ---- local APICs ----
    Rule{"x2apic-ids", risk, records,
         "The guest runs its local APICs in x2APIC mode with ids that Xen does not give: interrupts between "
         "its "
         "vCPUs may go astray.",
         "Boot the guest with nox2apic."},
    Rule{"lapic-divider", risk, records,
         "The guest divides its local APIC timer's clock by less than 10: on Xen, whose clock is ten times "
         "slower, "
         "its timers come late.",
         "Let the guest use the TSC deadline timer, or divide by 16 as most do."},
    Rule{"apic-ids", impossible, records, "A vCPU has another APIC id than the destination gives it.",
         "Do not change APIC ids in the guest; report it, if you have not."},
    Rule{"apic-base", impossible, records,
         "The guest has moved an APIC; the destination's stay at 0xFEE00000 and 0xFEC00000.",
         "Do not move APICs in the guest."},
    Rule{"x2apic-under-tcg", risk, records,
         "The guest runs its local APICs in x2APIC mode, which TCG has only since QEMU 9.0.",
         "Use a destination with KVM or QEMU 9.0, or boot the guest with nox2apic."},
    Rule{"tsc-deadline-under-tcg", impossible, records,
         "The guest's local APIC timer runs in TSC-deadline mode, which TCG does not have: it would never "
         "fire.",
         "Use a destination with KVM, or boot the guest with lapic=notscdeadline."},
    // ---- interrupts ----
    Rule{"intx-collision", impossible, records,
         "Two PCI devices with interrupts of their own on Xen share one interrupt link in QEMU, which has "
         "four.",
         "Move one of them to another slot, use MSI in the guest, or remove one."},
    Rule{"intx-pins", impossible, records,
         "No ISA interrupt is free to carry a PCI device's interrupt: QEMU's I/O APIC has 24 pins, Xen's 48.",
         "Remove ISA devices or PCI devices that share the table, or use MSI in the guest."},
    Rule{"intx-masked", risk, records,
         "The guest has masked a PCI device's interrupt for a moment at a pin that QEMU does not have; it "
         "could never "
         "unmask it.",
         "Try again: the moment passes. If it does not, the device is not in use and the rule can be "
         "accepted."},
    // ---- clocks ----
    Rule{"hpet-tick", risk, records,
         "The guest uses the HPET, which ticks every 16 ns on Xen and every 10 ns in QEMU: its clock would "
         "run 1.6 "
         "times too fast.",
         "Boot the guest with clocksource=acpi_pm or tsc and hpet=disable, or set hpet = 0 on the Xen side."},
    Rule{"hpet-absent", impossible, records,
         "The guest uses the HPET, and the destination has none: its clock would stand still.",
         "Give the destination an HPET, or boot the guest with hpet=disable."},
    Rule{"hpet-on-xen", impossible, records,
         "The guest uses QEMU's HPET. Xen has one of its own at the same address, of another rate: the "
         "guest's clock "
         "would stand still or run wrong.",
         "Start QEMU with -machine hpet=off, or boot the guest with hpet=disable."},
    Rule{"tsc-rate", risk, records,
         "The rate of the guest's time stamp counter is not known, or not the one that is planned for it.",
         "Say it: --set tsc_khz=N."},
    // ---- memory ----
    Rule{"broken-page", impossible, records,
         "A page of the guest's memory is lost: the host's hardware reported it as poisoned.",
         "Reboot the guest on the Xen side, where it gets another page."},
    Rule{"ram-hole", risk, records,
         "The guest has no memory where its configuration says so (a balloon, or populate-on-demand); in the "
         "destination zeros are there.",
         "Give the domain all of its memory (maxmem = memory) and no balloon driver."},
    Rule{"firmware-origin", impossible, records,
         "The guest's platform was set up by another firmware than the plan assumes.",
         "Say which: --set firmware=hvmloader or --set firmware=seabios."},
    // ---- Xen's own interfaces ----
    Rule{"pv-drivers", risk, records,
         "The guest uses Xen's paravirtual drivers: its disks and networks disappear with Xen.",
         "Boot the guest without them (Linux: nopv xen_nopv xen_emul_unplug=never), with xen_platform_pci = "
         "0."},
    Rule{"hvm-parameter", risk, records,
         "A parameter of the domain is set whose meaning for the guest is not known; it is lost.",
         "Look it up in Xen's public/hvm/params.h and switch off what sets it."},
    // ---- devices ----
    Rule{"device-left-out", risk, records,
         "The guest has a device that the destination does not have; it disappears.",
         "Remove it from the guest, or add it to the destination."},
    Rule{"device-missing", impossible, records,
         "The destination has a device of the plan whose state the stream does not contain.",
         "Let the guest's configuration say all that it runs with."},
    Rule{"device-slot", impossible, records, "A device sits in another PCI slot than the destination's.",
         "Remove raw device-model arguments on the Xen side; report it, if there are none."},
    Rule{"device-version", impossible, records,
         "The source's QEMU is newer than the destination's in this device.",
         "Use a destination whose QEMU (on Xen: qemu-xen) is at least as new."},
    Rule{"device-model-rest", risk, records,
         "Bytes of unknown meaning stand behind the end of the device model's state.",
         "Remove what earlier migrations left in /var/lib/xen/qemu-save.* on the Xen side, and try again."},
    Rule{"device-mismatch", impossible, records,
         "A device of the destination is not the same as the guest's in what cannot be changed.",
         "Use a machine type and options that match the source's."},
};

}  // namespace

std::span<const Rule> record_rules() {
    return rules;
}

}  // namespace vmferry
