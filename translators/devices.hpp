// The devices that are QEMU's own models on both sides: their sections cross as they are, after it has been
// made sure that the destination's device is the same device.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/qemu/device_tree.hpp"
#include "translators/audit.hpp"
#include "translators/machine.hpp"
#include "translators/plan.hpp"

namespace vmferry {

/// What a section says of the PCI device that it belongs to.
struct PciDevice {
    unsigned device = 0, function = 0;
    std::string name;  ///< the section's, without the slot: "e1000"
    Bytes config;      ///< lent by the section: 256 or 4096 bytes
    std::array<bool, 4> asserted{};

    [[nodiscard]] std::uint8_t byte(std::size_t at) const {
        return std::to_integer<std::uint8_t>(config[at]);
    }
    /// INTA# = 0 …; nothing if the device has no interrupt pin.
    [[nodiscard]] std::optional<unsigned> pin() const;
    [[nodiscard]] bool interrupts_disabled() const;  ///< bit 10 of the command register
    [[nodiscard]] std::string title() const;         ///< "e1000 at 00:03.0"
};

/// Of a name on bus 0: "0000:00:03.0/e1000", a section's or a RAM block's. Nothing for what lies behind a
/// bridge
/// ("0000:00:03.0:01.0/…") or a controller.
[[nodiscard]] std::optional<PciSlot> slot_of(std::string_view idstr);

/// Nothing for a section that is not a PCI device's on bus 0.
[[nodiscard]] std::optional<PciDevice> pci_device(const qemu::Section& section);
[[nodiscard]] std::vector<PciDevice> pci_devices(const qemu::DeviceTree& tree);

/// hvmloader puts the power management block at port 0xB000 (and, told to, at 0x1F40); everything else is
/// QEMU's SeaBIOS.
[[nodiscard]] Firmware firmware_of(const qemu::DeviceTree& device_model);

/// Guest-physical base of a PCI memory BAR (0–5), with the upper half of a 64-bit one; 0 if memory decoding
/// is off.
[[nodiscard]] std::uint64_t memory_bar(const PciDevice& device, unsigned bar);

/// How a section of the device model is treated.
enum class SectionRole {
    device,   ///< copied over the destination's
    merged,   ///< copied, then parts of it written by a table: PIIX3, piix4_pm, I440FX
    shadow,   ///< meaningless under Xen: the hypervisor has the state, or the object is QEMU's own
    foreign,  ///< a device that exists under Xen only
};
struct SectionRule {
    std::string_view name;  ///< without the slot
    SectionRole role;
    std::string_view reason;
};
/// All sections that a rule of ours claims; anything else that a device model sends is refused by name.
[[nodiscard]] std::span<const SectionRule> section_rules();
[[nodiscard]] const SectionRule* section_rule(std::string_view idstr);

/// Makes `target`, a section of the template, hold the state of `source`, a section of the device model.
/// Timers and other times on the virtual clock move by `shift_ns`. Findings: device-version, device-mismatch.
void copy_device(const qemu::Section& source, qemu::Section& target, std::int64_t shift_ns,
                 AuditReport& audit);

/// Section names are "0000:00:SS.F/name" for PCI devices, with more path for what hangs behind them.
[[nodiscard]] std::string_view name_without_slot(std::string_view idstr);

}  // namespace vmferry
