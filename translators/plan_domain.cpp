// What the whole domain is, and what Xen offers to it beyond a PC.
#include <fmt/format.h>

#include "translators/plan_parts.hpp"

namespace vmferry {

namespace {

void audit_other_devices(const DomainConfig& config, AuditReport& audit) {
    for (const auto& list : config.other_devices) {
        if (list == "pcidevs" || list == "dtdevs" || list == "rdms")
            audit.violated("pci-passthrough", fmt::format("the list {} is not empty", list));
        else if (list == "vtpms")
            audit.violated("vtpm", "the list vtpms is not empty");
        else if (list == "usbctrls" || list == "usbdevs")
            audit.violated("usb-controllers", fmt::format("the list {} is not empty", list));
        else  // vkbs, vfbs, channels, p9s, …
            audit.adapted(
                "paravirtual devices",
                fmt::format("{}: only Xen's own drivers see them, and these are not carried", list));
    }
    if (config.gfx_passthru) audit.violated("pci-passthrough", "gfx_passthru is set");
}

}  // namespace

void audit_domain(const DomainConfig& config, AuditReport& audit) {
    if (config.type != "hvm") {
        audit.violated(config.type == "pv" ? "pv-domain" : "pvh-domain",
                       fmt::format("the domain is of type {}", config.type));
        return;
    }
    if (config.device_model != "qemu_xen")
        audit.violated("qemu-traditional", "device_model_version is not qemu-xen");
    if (config.stubdomain) audit.violated("stub-domain", "device_model_stubdomain_override is set");
    if (config.bios == "rombios")
        audit.violated("rombios", "bios is rombios");
    else if (config.bios != "seabios")
        audit.violated("ovmf-firmware", config.bios == "ovmf" ? "bios is ovmf" : "bios is not seabios");
    if (!config.acpi) audit.violated("acpi-off", "acpi is 0");
    if (config.viridian) audit.violated("viridian", "viridian is set");
    if (config.nested_hvm) audit.violated("nested-hvm", "nestedhvm is set");
    if (config.xen_platform_pci)
        audit.violated("xen-platform-device", "xen_platform_pci is set, or not said, which means the same");
    if (config.vendor_device) audit.violated("vendor-device", "vendor_device is set");
    if (config.spice) audit.violated("spice", "spice is set");
    if (!config.soundhw.empty()) audit.violated("sound", "soundhw is set");
    if (!config.extra_hvm.empty())
        audit.violated("raw-device-model-arguments",
                       fmt::format("{} raw arguments for the device model", config.extra_hvm.size()));
    audit_other_devices(config, audit);
}

}  // namespace vmferry
