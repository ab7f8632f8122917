// The device model's blob of a Xen stream, made from the device sections of a stock QEMU.
//
//     kept      devices that are QEMU's own on both sides, as they are
//     rewritten PCIBUS (128 wires instead of 4), piix4_pm (no ACPI PCI hot-plug behind its common part)
//     dropped   what Xen has in its own records, and what a device model under Xen does not have
//
// A section that the device model does not know, or of a length that it does not expect, is fatal there
// ("Unknown savevm section"), and shows here only as the end of the connection: so sections pass by a list.
#pragma once

#include "parsers/qemu/device_tree.hpp"
#include "translators/audit.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry::xen {

/// `source`: the source's sections; `model`: the device model's blob of the template, which says the versions
/// that the destination takes. Times of the virtual clock stay (section timer carries the clock itself).
/// Findings: device-left-out, device-version, device-mismatch, …
[[nodiscard]] Result<qemu::DeviceTree> write_device_model(const qemu::DeviceTree& source,
                                                          const qemu::DeviceTree& model, AuditReport& audit);

}  // namespace vmferry::xen
