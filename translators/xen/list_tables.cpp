#include <cstdint>

#include <xen/hvm/params.h>

#include "translators/xen/tables.hpp"

namespace vmferry::xen {

std::span<const XsaveRow> xsave_table() {
    static constexpr std::string_view component =
        "at the offset of CPUID leaf 0xD; initial if XSTATE_BV says so";
    static constexpr XsaveRow rows[] = {
        {"features of the host", "CPU_XSAVE.xfeature_mask", Law::one_way, "Xen itself ignores it on load"},
        {"vcpu.extended.xcr0", "CPU_XSAVE.xcr0", Law::exact, {}},
        {"vcpu.extended.xcr0_accumulated", "CPU_XSAVE.xcr0_accum", Law::one_way,
         "gives the length of the area; QEMU does not keep it"},
        {"vcpu.fpu", "CPU_XSAVE area 0–511", Law::normal_form,
         "as CPU.fpu_regs, and instead of it; components not in XSTATE_BV are in their initial state"},
        {"vcpu.extended.xstate_bv", "CPU_XSAVE XSTATE_BV", Law::exact, {}},
        {"compaction", "CPU_XSAVE XCOMP_BV and reserved", Law::one_way,
         "0: the standard format; anything else is an error"},
        {"vcpu.extended.ymm_high", "CPU_XSAVE component 2", Law::normal_form, component},
        {"vcpu.extended.bound_low, bound_high", "CPU_XSAVE component 3", Law::normal_form, component},
        {"vcpu.extended.bndcfgu, bndstatus", "CPU_XSAVE component 4", Law::normal_form, component},
        {"vcpu.extended.opmask", "CPU_XSAVE component 5", Law::normal_form, component},
        {"vcpu.extended.zmm_high", "CPU_XSAVE component 6", Law::normal_form, component},
        {"vcpu.extended.zmm_upper", "CPU_XSAVE component 7", Law::normal_form, component},
        {"vcpu.extended.pkru", "CPU_XSAVE component 9", Law::normal_form, component},
    };
    return rows;
}

std::span<const MsrRow> msr_table() {
    static constexpr std::string_view masks = "QEMU does not carry AMD's breakpoint masks";
    static constexpr MsrRow rows[] = {
        {0x48, "SPEC_CTRL", "vcpu.spec_ctrl", &Vcpu::spec_ctrl, {}},
        {0x140, "MISC_FEATURES_ENABLES", "CPUID faulting", nullptr, "QEMU does not carry CPUID faulting"},
        {0x6E1, "PKRS", "vcpu.pkrs", &Vcpu::pkrs, {}},
        {0xD90, "BNDCFGS", "vcpu.bndcfgs", &Vcpu::bndcfgs, {}},
        {0xDA0, "XSS", "supervisor state components", nullptr, "Xen allows 0 only"},
        {0xC001011F, "VIRT_SPEC_CTRL", "vcpu.virt_spec_ctrl", &Vcpu::virt_spec_ctrl, {}},
        {0xC0011027, "DR0_ADDRESS_MASK", "breakpoint mask 0", nullptr, masks},
        {0xC0011019, "DR1_ADDRESS_MASK", "breakpoint mask 1", nullptr, masks},
        {0xC001101A, "DR2_ADDRESS_MASK", "breakpoint mask 2", nullptr, masks},
        {0xC001101B, "DR3_ADDRESS_MASK", "breakpoint mask 3", nullptr, masks},
    };
    return rows;
}

std::span<const ParamRow> param_table() {
    static constexpr std::string_view special = "one of Xen's special pages, which do not exist outside Xen";
    static constexpr std::string_view channel = "event channels exist for Xen's drivers only";
    static constexpr std::string_view assistance = "help for processors without unrestricted guest mode";
    static constexpr ParamRow rows[] = {
        {HVM_PARAM_STORE_PFN, "STORE_PFN", special},
        {HVM_PARAM_STORE_EVTCHN, "STORE_EVTCHN", channel},
        {HVM_PARAM_IOREQ_PFN, "IOREQ_PFN", special},
        {HVM_PARAM_BUFIOREQ_PFN, "BUFIOREQ_PFN", special},
        {HVM_PARAM_IDENT_PT, "IDENT_PT", assistance},
        {HVM_PARAM_VM86_TSS, "VM86_TSS", assistance},
        {HVM_PARAM_CONSOLE_PFN, "CONSOLE_PFN", special},
        {HVM_PARAM_CONSOLE_EVTCHN, "CONSOLE_EVTCHN", channel},
        {HVM_PARAM_ACPI_IOPORTS_LOCATION, "ACPI_IOPORTS_LOCATION", "PMBASE in the device model says it too"},
        {HVM_PARAM_PAGING_RING_PFN, "PAGING_RING_PFN", special},
        {HVM_PARAM_MONITOR_RING_PFN, "MONITOR_RING_PFN", special},
        {HVM_PARAM_SHARING_RING_PFN, "SHARING_RING_PFN", special},
        {HVM_PARAM_IOREQ_SERVER_PFN, "IOREQ_SERVER_PFN", special},
        {HVM_PARAM_NR_IOREQ_SERVER_PAGES, "NR_IOREQ_SERVER_PAGES", special},
        {HVM_PARAM_VM_GENERATION_ID_ADDR, "VM_GENERATION_ID_ADDR",
         "the identifier is in guest memory and stays"},
        {HVM_PARAM_X87_FIP_WIDTH, "X87_FIP_WIDTH", "how Xen saves FIP and FDP; both are carried in full"},
        {HVM_PARAM_VM86_TSS_SIZED, "VM86_TSS_SIZED", assistance},
        {HVM_PARAM_MCA_CAP, "MCA_CAP", "Intel's local machine checks, only offered"},
    };
    return rows;
}

}  // namespace vmferry::xen
