// The platform of a stock QEMU, read out of its device sections: the inverse of write_machine().
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/wire/error.hpp"
#include "translators/audit.hpp"
#include "translators/machine.hpp"
#include "translators/plan.hpp"
#include "translators/qemu/row.hpp"

namespace vmferry::qemu {

/// The clock of the machine at the instant (section timer), with the source's accelerator.
/// Error (kind stream): no such section, or a clock that no QEMU has.
[[nodiscard]] Result<Context> source_context(const DeviceTree& tree, Accel accel, std::uint64_t realtime_ns);

/// All processors that the sections hold, in the order of their instances, and the platform. Error (kind
/// stream): a section that every PC has is missing, a processor without a local APIC or the other way round.
[[nodiscard]] Result<Machine> read_machine(const DeviceTree& tree, const Context& context);

/// What the sections hold that Machine has no place for. Findings: kvm-paravirtual, cpu-msr, cpu-state,
/// nested-virtualization, pending-event.
Result<void> check_processor_rest(const DeviceTree& tree, const Machine& machine, const Context& context,
                                  AuditReport& audit);

/// A subsection of section "cpu", and what becomes of it where Machine has no place for it.
struct CpuSubsection {
    std::string_view name;
    std::string_view rule;    ///< violated when it is there; empty: of no weight
    std::string_view reason;  ///< what it is, or why it can go
};
[[nodiscard]] std::span<const CpuSubsection> left_out_cpu_subsections();

}  // namespace vmferry::qemu
