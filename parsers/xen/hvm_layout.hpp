// The layouts that the save records depend on, checked against Xen's public headers.
#pragma once

#include <cstddef>

#include "parsers/xen/hvm_bodies.hpp"

namespace vmferry::xen {

static_assert(sizeof(hvm_save_descriptor) == 8);
static_assert(HVM_FILE_MAGIC == 0x54381286 && HVM_FILE_VERSION == 1);

static_assert(sizeof(hvm_save_header) == 24);
static_assert(offsetof(hvm_save_header, changeset) == 8 && offsetof(hvm_save_header, gtsc_khz) == 20);

static_assert(sizeof(hvm_hw_cpu) == 1032 && sizeof(hvm_hw_cpu_compat) == cpu_length_before_3_4);
static_assert(offsetof(hvm_hw_cpu, rax) == 512 && offsetof(hvm_hw_cpu, rip) == 640);
static_assert(offsetof(hvm_hw_cpu, cr0) == 656 && offsetof(hvm_hw_cpu, dr7) == 728);
static_assert(offsetof(hvm_hw_cpu, cs_sel) == 736 && offsetof(hvm_hw_cpu, cs_base) == 808);
static_assert(offsetof(hvm_hw_cpu, cs_arbytes) == 888 && offsetof(hvm_hw_cpu, sysenter_cs) == 920);
static_assert(offsetof(hvm_hw_cpu, msr_efer) == 992 && offsetof(hvm_hw_cpu, msr_tsc_aux) == cpu_tsc_aux_at);
static_assert(offsetof(hvm_hw_cpu, tsc) == 1008 && offsetof(hvm_hw_cpu, pending_event) == 1016);
static_assert(offsetof(hvm_hw_cpu, flags) == cpu_length_before_4_7 && offsetof(hvm_hw_cpu, pad0) == 1028);
static_assert(offsetof(hvm_hw_cpu_compat, tsc) == cpu_tsc_aux_at);

static_assert(sizeof(hvm_hw_vpic) == 8);
static_assert(offsetof(hvm_hw_vpic, elcr) == 6 && offsetof(hvm_hw_vpic, int_output) == 7);
static_assert(sizeof(hvm_hw_vioapic) == 400 && offsetof(hvm_hw_vioapic, redirtbl) == 16);
static_assert(sizeof(hvm_hw_lapic) == lapic_length_without_esr ||
              sizeof(hvm_hw_lapic) == lapic_length_with_esr);
static_assert(offsetof(hvm_hw_lapic, timer_divisor) == 12 && offsetof(hvm_hw_lapic, tdt_msr) == 16);
static_assert(offsetof(Lapic, timer_divisor) == 12 && offsetof(Lapic, tdt_msr) == 16);
static_assert(sizeof(Lapic) == lapic_length_with_esr &&
              offsetof(Lapic, pending_esr) == lapic_length_without_esr);
static_assert(sizeof(hvm_hw_lapic_regs) == 1024);

static_assert(sizeof(hvm_hw_pci_irqs) == 16 && sizeof(hvm_hw_isa_irqs) == 8 && sizeof(hvm_hw_pci_link) == 8);
static_assert(sizeof(hvm_hw_pit) == 56 && sizeof(hvm_hw_pit::hvm_hw_pit_channel) == 16);
static_assert(offsetof(hvm_hw_pit::hvm_hw_pit_channel, gate) == 15);
static_assert(offsetof(hvm_hw_pit, speaker_data_on) == 48);
static_assert(sizeof(hvm_hw_rtc) == 24 && offsetof(hvm_hw_rtc, rtc_offset) == 16);
static_assert(sizeof(hvm_hw_hpet) == 1048 && offsetof(hvm_hw_hpet, mc64) == 240);
static_assert(offsetof(hvm_hw_hpet, timers) == 256 && offsetof(hvm_hw_hpet, period) == 1024);
static_assert(sizeof(hvm_hw_pmtimer) == 8 && offsetof(hvm_hw_pmtimer, pm1a_en) == 6);
static_assert(sizeof(hvm_hw_mtrr) == 240 && offsetof(hvm_hw_mtrr, msr_mtrr_fixed) == 136);
static_assert(offsetof(hvm_hw_mtrr, msr_mtrr_cap) == 224);

static_assert(sizeof(hvm_viridian_domain_context) == 32 && sizeof(hvm_viridian_vcpu_context) == 216);
static_assert(offsetof(hvm_viridian_vcpu_context, simp_msr) == 16);
static_assert(offsetof(hvm_hw_cpu_xsave, save_area) == xsave_head_size);
static_assert(sizeof(hvm_hw_cpu_xsave) == xsave_head_size + xsave_legacy_size + xsave_header_size);
static_assert(sizeof(hvm_vmce_vcpu) == 32 && sizeof(hvm_tsc_adjust) == 8);
static_assert(offsetof(hvm_msr, msr) == msr_head_size && sizeof(hvm_msr::hvm_one_msr) == msr_entry_size);

static_assert(HVM_SAVE_CODE(CPU) == std::size_t(HvmType::cpu));
static_assert(HVM_SAVE_CODE(LAPIC_REGS) == std::size_t(HvmType::lapic_regs));
static_assert(HVM_SAVE_CODE(MTRR) == std::size_t(HvmType::mtrr));
static_assert(HVM_SAVE_CODE(TSC_ADJUST) == std::size_t(HvmType::tsc_adjust));
static_assert(CPU_XSAVE_CODE == std::size_t(HvmType::cpu_xsave) &&
              CPU_MSR_CODE == std::size_t(HvmType::cpu_msr));

}  // namespace vmferry::xen
