#include "parsers/xen/hvm_fields.hpp"

#include <array>

#include "parsers/xen/hvm_layout.hpp"

// A member that is one number, an array of numbers, or part of a number.
#define NUMBER(type, member, show) \
    { #member, offsetof(type, member), sizeof(type::member), show }
#define HEX(type, member) NUMBER(type, member, Show::hexadecimal)
#define DECIMAL(type, member) NUMBER(type, member, Show::decimal)
#define ARRAY(type, member, show) \
    { #member, offsetof(type, member), sizeof(type::member[0]), show, std::size(decltype(type::member){}) }
#define RESERVED(type, member) NUMBER(type, member, Show::reserved)

namespace vmferry::xen {

namespace {

// FXSAVE, 64-bit form (SDM vol. 1, 10.5.1).
constexpr FieldSpec fxsave[] = {
    {"fcw", 0, 2},
    {"fsw", 2, 2},
    {"ftw", 4, 1},
    {"reserved", 5, 1, Show::reserved},
    {"fop", 6, 2},
    {"fip", 8, 8},
    {"fdp", 16, 8},
    {"mxcsr", 24, 4},
    {"mxcsr_mask", 28, 4},
    {"st", 32, 16, Show::bytes, 8},
    {"xmm", 160, 16, Show::bytes, 16},
    {"reserved2", 416, 48, Show::reserved},
    {"available", 464, 48, Show::reserved},
};

constexpr FieldSpec header[] = {
    HEX(hvm_save_header, magic), DECIMAL(hvm_save_header, version),  HEX(hvm_save_header, changeset),
    HEX(hvm_save_header, cpuid), DECIMAL(hvm_save_header, gtsc_khz),
};

#define CPU(member) HEX(hvm_hw_cpu, member)
#define CPU_EVENT(name, bit, width, show) \
    { name, offsetof(hvm_hw_cpu, pending_event), 4, show, 1, bit, width }
constexpr FieldSpec cpu[] = {
    {"fpu_regs", 0, 512, Show::bytes, 1, 0, 0, fxsave},
    CPU(rax),
    CPU(rbx),
    CPU(rcx),
    CPU(rdx),
    CPU(rbp),
    CPU(rsi),
    CPU(rdi),
    CPU(rsp),
    CPU(r8),
    CPU(r9),
    CPU(r10),
    CPU(r11),
    CPU(r12),
    CPU(r13),
    CPU(r14),
    CPU(r15),
    CPU(rip),
    CPU(rflags),
    CPU(cr0),
    CPU(cr2),
    CPU(cr3),
    CPU(cr4),
    CPU(dr0),
    CPU(dr1),
    CPU(dr2),
    CPU(dr3),
    CPU(dr6),
    CPU(dr7),
    CPU(cs_sel),
    CPU(ds_sel),
    CPU(es_sel),
    CPU(fs_sel),
    CPU(gs_sel),
    CPU(ss_sel),
    CPU(tr_sel),
    CPU(ldtr_sel),
    CPU(cs_limit),
    CPU(ds_limit),
    CPU(es_limit),
    CPU(fs_limit),
    CPU(gs_limit),
    CPU(ss_limit),
    CPU(tr_limit),
    CPU(ldtr_limit),
    CPU(idtr_limit),
    CPU(gdtr_limit),
    CPU(cs_base),
    CPU(ds_base),
    CPU(es_base),
    CPU(fs_base),
    CPU(gs_base),
    CPU(ss_base),
    CPU(tr_base),
    CPU(ldtr_base),
    CPU(idtr_base),
    CPU(gdtr_base),
    CPU(cs_arbytes),
    CPU(ds_arbytes),
    CPU(es_arbytes),
    CPU(fs_arbytes),
    CPU(gs_arbytes),
    CPU(ss_arbytes),
    CPU(tr_arbytes),
    CPU(ldtr_arbytes),
    CPU(sysenter_cs),
    CPU(sysenter_esp),
    CPU(sysenter_eip),
    CPU(shadow_gs),
    CPU(msr_flags),
    CPU(msr_lstar),
    CPU(msr_star),
    CPU(msr_cstar),
    CPU(msr_syscall_mask),
    CPU(msr_efer),
    CPU(msr_tsc_aux),
    CPU(tsc),
    CPU_EVENT("pending_vector", 0, 8, Show::hexadecimal),
    CPU_EVENT("pending_type", 8, 3, Show::decimal),
    CPU_EVENT("pending_error_valid", 11, 1, Show::decimal),
    CPU_EVENT("pending_reserved", 12, 19, Show::reserved),
    CPU_EVENT("pending_valid", 31, 1, Show::decimal),
    CPU(error_code),
    CPU(flags),
    RESERVED(hvm_hw_cpu, pad0),
};

#define PIC_BITS(name, at, bit, width) \
    { name, at, 1, Show::decimal, 1, bit, width }
constexpr FieldSpec pic[] = {
    HEX(hvm_hw_vpic, irr),
    HEX(hvm_hw_vpic, imr),
    HEX(hvm_hw_vpic, isr),
    HEX(hvm_hw_vpic, irq_base),
    PIC_BITS("init_state", 4, 0, 4),
    PIC_BITS("priority_add", 4, 4, 4),
    PIC_BITS("readsel_isr", 5, 0, 1),
    PIC_BITS("poll", 5, 1, 1),
    PIC_BITS("auto_eoi", 5, 2, 1),
    PIC_BITS("rotate_on_auto_eoi", 5, 3, 1),
    PIC_BITS("special_fully_nested_mode", 5, 4, 1),
    PIC_BITS("special_mask_mode", 5, 5, 1),
    PIC_BITS("is_master", 5, 6, 1),
    {"reserved", 5, 1, Show::reserved, 1, 7, 1},
    HEX(hvm_hw_vpic, elcr),
    DECIMAL(hvm_hw_vpic, int_output),
};

#define ENTRY_BITS(name, bit, width, show) \
    { name, 0, 8, show, 1, bit, width }
constexpr FieldSpec redirection_entry[] = {
    ENTRY_BITS("vector", 0, 8, Show::hexadecimal),   ENTRY_BITS("delivery_mode", 8, 3, Show::decimal),
    ENTRY_BITS("dest_mode", 11, 1, Show::decimal),   ENTRY_BITS("delivery_status", 12, 1, Show::decimal),
    ENTRY_BITS("polarity", 13, 1, Show::decimal),    ENTRY_BITS("remote_irr", 14, 1, Show::decimal),
    ENTRY_BITS("trig_mode", 15, 1, Show::decimal),   ENTRY_BITS("mask", 16, 1, Show::decimal),
    ENTRY_BITS("reserve", 17, 7, Show::reserved),    ENTRY_BITS("reserved", 24, 32, Show::reserved),
    ENTRY_BITS("dest_id", 56, 8, Show::hexadecimal),
};
constexpr FieldSpec ioapic[] = {
    HEX(hvm_hw_vioapic, base_address),
    HEX(hvm_hw_vioapic, ioregsel),
    HEX(hvm_hw_vioapic, id),
    {"redirtbl", 16, 8, Show::hexadecimal, VIOAPIC_NUM_PINS, 0, 0, redirection_entry},
};

constexpr FieldSpec lapic[] = {
    HEX(Lapic, apic_base_msr), HEX(Lapic, disabled),    DECIMAL(Lapic, timer_divisor),
    HEX(Lapic, tdt_msr),       HEX(Lapic, pending_esr), RESERVED(Lapic, pad),
};

// The register page: a 32-bit register every 16 bytes (SDM vol. 3, table 11-1); the names are Xen's.
struct LapicRegister {
    std::uint16_t at;
    const char* name;
};
constexpr LapicRegister lapic_registers[] = {
    {0x020, "ID"},     {0x030, "LVR"},    {0x080, "TASKPRI"},  {0x090, "ARBPRI"}, {0x0A0, "PROCPRI"},
    {0x0B0, "EOI"},    {0x0C0, "RRR"},    {0x0D0, "LDR"},      {0x0E0, "DFR"},    {0x0F0, "SPIV"},
    {0x100, "ISR[0]"}, {0x110, "ISR[1]"}, {0x120, "ISR[2]"},   {0x130, "ISR[3]"}, {0x140, "ISR[4]"},
    {0x150, "ISR[5]"}, {0x160, "ISR[6]"}, {0x170, "ISR[7]"},   {0x180, "TMR[0]"}, {0x190, "TMR[1]"},
    {0x1A0, "TMR[2]"}, {0x1B0, "TMR[3]"}, {0x1C0, "TMR[4]"},   {0x1D0, "TMR[5]"}, {0x1E0, "TMR[6]"},
    {0x1F0, "TMR[7]"}, {0x200, "IRR[0]"}, {0x210, "IRR[1]"},   {0x220, "IRR[2]"}, {0x230, "IRR[3]"},
    {0x240, "IRR[4]"}, {0x250, "IRR[5]"}, {0x260, "IRR[6]"},   {0x270, "IRR[7]"}, {0x280, "ESR"},
    {0x2F0, "CMCI"},   {0x300, "ICR"},    {0x310, "ICR2"},     {0x320, "LVTT"},   {0x330, "LVTTHMR"},
    {0x340, "LVTPC"},  {0x350, "LVT0"},   {0x360, "LVT1"},     {0x370, "LVTERR"}, {0x380, "TMICT"},
    {0x390, "TMCCT"},  {0x3E0, "TDCR"},   {0x3F0, "SELF_IPI"},
};
constexpr auto lapic_regs = [] {
    std::array<FieldSpec, 128> specs{};
    for (std::size_t i = 0; i < specs.size(); i += 2) {
        const auto at = static_cast<std::uint16_t>(8 * i);
        specs[i] = {"reserved", at, 4, Show::reserved};
        for (const auto& known : lapic_registers)
            if (known.at == at) specs[i] = {known.name, at, 4};
        specs[i + 1] = {"padding", static_cast<std::uint16_t>(at + 4), 12, Show::reserved};
    }
    return specs;
}();

constexpr FieldSpec pci_irq[] = {ARRAY(hvm_hw_pci_irqs, pad, Show::hexadecimal)};
constexpr FieldSpec isa_irq[] = {ARRAY(hvm_hw_isa_irqs, pad, Show::hexadecimal)};
constexpr FieldSpec pci_link[] = {
    ARRAY(hvm_hw_pci_link, route, Show::decimal),
    RESERVED(hvm_hw_pci_link, pad0),
};

using PitChannel = hvm_hw_pit::hvm_hw_pit_channel;
constexpr FieldSpec pit_channel[] = {
    DECIMAL(PitChannel, count),
    DECIMAL(PitChannel, latched_count),
    DECIMAL(PitChannel, count_latched),
    DECIMAL(PitChannel, status_latched),
    HEX(PitChannel, status),
    DECIMAL(PitChannel, read_state),
    DECIMAL(PitChannel, write_state),
    DECIMAL(PitChannel, write_latch),
    DECIMAL(PitChannel, rw_mode),
    DECIMAL(PitChannel, mode),
    DECIMAL(PitChannel, bcd),
    DECIMAL(PitChannel, gate),
};
constexpr FieldSpec pit[] = {
    {"channels", 0, sizeof(PitChannel), Show::bytes, 3, 0, 0, pit_channel},
    DECIMAL(hvm_hw_pit, speaker_data_on),
    RESERVED(hvm_hw_pit, pad0),
};

constexpr FieldSpec rtc[] = {
    ARRAY(hvm_hw_rtc, cmos_data, Show::hexadecimal),
    HEX(hvm_hw_rtc, cmos_index),
    RESERVED(hvm_hw_rtc, pad0),
    NUMBER(hvm_hw_rtc, rtc_offset, Show::signed_decimal),
};

using HpetTimer = std::remove_reference_t<decltype(hvm_hw_hpet{}.timers[0])>;
constexpr FieldSpec hpet_timer[] = {
    HEX(HpetTimer, config),
    HEX(HpetTimer, cmp),
    HEX(HpetTimer, fsb),
    RESERVED(HpetTimer, res4),
};
constexpr FieldSpec hpet[] = {
    HEX(hvm_hw_hpet, capability),
    RESERVED(hvm_hw_hpet, res0),
    HEX(hvm_hw_hpet, config),
    RESERVED(hvm_hw_hpet, res1),
    HEX(hvm_hw_hpet, isr),
    RESERVED(hvm_hw_hpet, res2),
    HEX(hvm_hw_hpet, mc64),
    RESERVED(hvm_hw_hpet, res3),
    {"timers", offsetof(hvm_hw_hpet, timers), sizeof(HpetTimer), Show::bytes, HPET_TIMER_NUM, 0, 0,
     hpet_timer},
    RESERVED(hvm_hw_hpet, res5),
    ARRAY(hvm_hw_hpet, period, Show::decimal),
};

constexpr FieldSpec pmtimer[] = {
    HEX(hvm_hw_pmtimer, tmr_val),
    HEX(hvm_hw_pmtimer, pm1a_sts),
    HEX(hvm_hw_pmtimer, pm1a_en),
};

constexpr FieldSpec mtrr[] = {
    HEX(hvm_hw_mtrr, msr_pat_cr),
    ARRAY(hvm_hw_mtrr, msr_mtrr_var, Show::hexadecimal),
    ARRAY(hvm_hw_mtrr, msr_mtrr_fixed, Show::hexadecimal),
    HEX(hvm_hw_mtrr, msr_mtrr_cap),
    HEX(hvm_hw_mtrr, msr_mtrr_def_type),
};

constexpr FieldSpec viridian_domain[] = {
    HEX(hvm_viridian_domain_context, hypercall_gpa),
    HEX(hvm_viridian_domain_context, guest_os_id),
    DECIMAL(hvm_viridian_domain_context, time_ref_count),
    HEX(hvm_viridian_domain_context, reference_tsc),
};
constexpr FieldSpec viridian_vcpu[] = {
    HEX(hvm_viridian_vcpu_context, vp_assist_msr),
    DECIMAL(hvm_viridian_vcpu_context, apic_assist_pending),
    RESERVED(hvm_viridian_vcpu_context, _pad),
    HEX(hvm_viridian_vcpu_context, simp_msr),
    ARRAY(hvm_viridian_vcpu_context, sint_msr, Show::hexadecimal),
    ARRAY(hvm_viridian_vcpu_context, stimer_config_msr, Show::hexadecimal),
    ARRAY(hvm_viridian_vcpu_context, stimer_count_msr, Show::hexadecimal),
};

// XSAVE area, standard format (SDM vol. 1, 13.4).
constexpr FieldSpec xsave_header[] = {
    {"xstate_bv", 0, 8},
    {"xcomp_bv", 8, 8},
    {"reserved", 16, 48, Show::reserved},
};
constexpr FieldSpec xsave[] = {
    HEX(hvm_hw_cpu_xsave, xfeature_mask),
    HEX(hvm_hw_cpu_xsave, xcr0),
    HEX(hvm_hw_cpu_xsave, xcr0_accum),
    {"fpu_sse", xsave_head_size, xsave_legacy_size, Show::bytes, 1, 0, 0, fxsave},
    {"xsave_hdr", xsave_head_size + xsave_legacy_size, xsave_header_size, Show::bytes, 1, 0, 0, xsave_header},
};
constexpr FieldSpec xsave_ymm[] = {{"ymm_hi", 0, 16, Show::bytes, 16}};

constexpr FieldSpec vmce[] = {
    HEX(hvm_vmce_vcpu, caps),
    HEX(hvm_vmce_vcpu, mci_ctl2_bank0),
    HEX(hvm_vmce_vcpu, mci_ctl2_bank1),
    HEX(hvm_vmce_vcpu, mcg_ext_ctl),
};
constexpr FieldSpec tsc_adjust[] = {HEX(hvm_tsc_adjust, tsc_adjust)};

constexpr FieldSpec msrs[] = {{"count", 0, 4, Show::decimal}, {"pad", 4, 4, Show::reserved}};
constexpr FieldSpec msr_entry[] = {{"index", 0, 4}, {"_rsvd", 4, 4, Show::reserved}, {"val", 8, 8}};

}  // namespace

std::span<const FieldSpec> msr_entry_specs() {
    return msr_entry;
}
std::span<const FieldSpec> xsave_ymm_specs() {
    return xsave_ymm;
}

std::span<const FieldSpec> hvm_field_specs(HvmType type) {
    switch (type) {
        case HvmType::end:
            return {};
        case HvmType::header:
            return header;
        case HvmType::cpu:
            return cpu;
        case HvmType::pic:
            return pic;
        case HvmType::ioapic:
            return ioapic;
        case HvmType::lapic:
            return lapic;
        case HvmType::lapic_regs:
            return lapic_regs;
        case HvmType::pci_irq:
            return pci_irq;
        case HvmType::isa_irq:
            return isa_irq;
        case HvmType::pci_link:
            return pci_link;
        case HvmType::pit:
            return pit;
        case HvmType::rtc:
            return rtc;
        case HvmType::hpet:
            return hpet;
        case HvmType::pmtimer:
            return pmtimer;
        case HvmType::mtrr:
            return mtrr;
        case HvmType::viridian_domain:
            return viridian_domain;
        case HvmType::cpu_xsave:
            return xsave;
        case HvmType::viridian_vcpu:
            return viridian_vcpu;
        case HvmType::vmce_vcpu:
            return vmce;
        case HvmType::tsc_adjust:
            return tsc_adjust;
        case HvmType::cpu_msr:
            return msrs;
    }
    return {};
}

}  // namespace vmferry::xen
