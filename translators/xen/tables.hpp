// Xen's table: where each field of the neutral machine stands in the HVM save records.
// Structures: Xen's public/arch-x86/hvm/save.h.
#pragma once

#include <span>
#include <string_view>

#include "parsers/xen/hvm_context.hpp"
#include "translators/machine.hpp"
#include "translators/table/row.hpp"

namespace vmferry::xen {

[[nodiscard]] const RecordTable<Vcpu, hvm_hw_cpu>& cpu_table();
[[nodiscard]] const RecordTable<vmferry::Lapic, Lapic>& lapic_table();
[[nodiscard]] const RecordTable<vmferry::Lapic, hvm_hw_lapic_regs>& lapic_regs_table();
[[nodiscard]] const RecordTable<Mtrr, hvm_hw_mtrr>& mtrr_table();
[[nodiscard]] const RecordTable<Vcpu, hvm_tsc_adjust>& tsc_adjust_table();
[[nodiscard]] const RecordTable<Vcpu, hvm_vmce_vcpu>& vmce_table();

[[nodiscard]] const RecordTable<Machine, hvm_save_header>& header_table();
[[nodiscard]] const RecordTable<Pic, hvm_hw_vpic>& pic_table();
[[nodiscard]] const RecordTable<IoApic, hvm_hw_vioapic>& ioapic_table();
[[nodiscard]] const RecordTable<InterruptWires, hvm_hw_pci_irqs>& pci_irq_table();
[[nodiscard]] const RecordTable<InterruptWires, hvm_hw_isa_irqs>& isa_irq_table();
[[nodiscard]] const RecordTable<InterruptWires, hvm_hw_pci_link>& pci_link_table();
[[nodiscard]] const RecordTable<Pit, hvm_hw_pit>& pit_table();
[[nodiscard]] const RecordTable<Rtc, hvm_hw_rtc>& rtc_table();
[[nodiscard]] const RecordTable<Hpet, hvm_hw_hpet>& hpet_table();
[[nodiscard]] const RecordTable<PowerManagement, hvm_hw_pmtimer>& pmtimer_table();

/// Viridian's records have no counterpart: named ignores, checked to be zero at run time (rule viridian).
[[nodiscard]] const RecordTable<Machine, hvm_viridian_domain_context>& viridian_domain_table();
[[nodiscard]] const RecordTable<Vcpu, hvm_viridian_vcpu_context>& viridian_vcpu_table();

/// CPU_XSAVE has no fixed size: its head and its components, read by read_xsave_area().
struct XsaveRow {
    std::string_view field, place;
    Law law;
    std::string_view reason;
};
[[nodiscard]] std::span<const XsaveRow> xsave_table();

/// An MSR that a CPU_MSR record may hold. `member` is null where the destination has no place for it.
struct MsrRow {
    std::uint32_t index;
    std::string_view name;
    std::string_view field;
    std::uint64_t Vcpu::*member;
    std::string_view reason;  ///< for a null member
};
[[nodiscard]] std::span<const MsrRow> msr_table();

/// A parameter of HVM_PARAMS that needs no counterpart, and why. All others are findings unless they are 0.
struct ParamRow {
    std::uint64_t index;
    std::string_view name, reason;
};
[[nodiscard]] std::span<const ParamRow> param_table();

}  // namespace vmferry::xen
