// The neutral machine → the sections of the destination's template.
#pragma once

#include <span>

#include "translators/audit.hpp"
#include "translators/devices.hpp"
#include "translators/machine.hpp"
#include "translators/plan.hpp"
#include "translators/qemu/row.hpp"

namespace vmferry::qemu {

/// Copies the device model's sections over the template's and pairs the two lists: what is only in the device
/// model or only in the template is a finding. Times on the virtual clock move by `shift_ns`.
Result<void> write_devices(const DeviceTree& device_model, std::int64_t shift_ns, DeviceTree& tree,
                           AuditReport& audit);

/// Writes the platform. Precondition: write_devices has been here; `machine` is in QEMU's shape (24 I/O APIC
/// pins, timers at QEMU's rates). `devices`: PCI devices of the device model, for the state of the interrupt
/// lines. Errors: the template lacks a section or a field.
Result<void> write_machine(const Machine& machine, const Plan& plan, const Context& context,
                           std::span<const PciDevice> devices, DeviceTree& tree);

/// What the template keeps as its own, for coverage and `vmferry table`.
struct TemplateSection {
    std::string_view name, reason;
};
[[nodiscard]] std::span<const TemplateSection> template_sections();

/// Sections that tables write.
[[nodiscard]] std::span<const std::string_view> synthesized_sections();

}  // namespace vmferry::qemu
