// Xen's records → the neutral machine.
#pragma once

#include "parsers/wire/error.hpp"
#include "translators/audit.hpp"
#include "translators/machine.hpp"
#include "translators/xen_source.hpp"

namespace vmferry::xen {

/// LAPIC bus clock of Xen's virtual LAPIC: 10 ns (xen/arch/x86/hvm/vlapic.c, APIC_BUS_CYCLE_NS).
inline constexpr std::uint64_t lapic_clock_hz = 100'000'000;
/// Period of Xen's HPET: 16 ns, whatever the capability register of a record says.
inline constexpr std::uint32_t hpet_period_fs = 16'000'000;

/// As many vCPUs as the configuration allows; those without a CPU record are not online. What a record holds
/// that has no place in the machine is a finding in `audit`. Errors (kind stream): a record that every domain
/// has is missing, a vCPU number beyond the configuration's, an impossible value.
[[nodiscard]] Result<Machine> read_machine(const XenSource& source, AuditReport& audit);

}  // namespace vmferry::xen
