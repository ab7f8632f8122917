#include "parsers/qemu/schema.hpp"

namespace vmferry::qemu::schema {
namespace {

/// qemu-system-x86_64; without it qemu-system-i386, which is what Xen's own build of QEMU is.
constexpr Layout wide = 1;
constexpr LayoutChoice widths[] = {{0}, {wide}};

constexpr FieldSpec exception_index_fields[] = {i32("exception_index")};
constexpr Spec exception_index_vmsd{"cpu_common/exception_index", 1, 1, exception_index_fields};
constexpr FieldSpec crash_occurred_fields[] = {flag("crash_occurred")};
constexpr Spec crash_occurred_vmsd{"cpu_common/crash_occurred", 1, 1, crash_occurred_fields};
constexpr const Spec* cpu_common_subsections[] = {&exception_index_vmsd, &crash_occurred_vmsd};

constexpr FieldSpec timer_fields[] = {i64("cpu_ticks_offset"), unused("unused", 8), i64("cpu_clock_offset")};
constexpr Spec timer_vmsd{"timer", 2, 2, timer_fields};

constexpr FieldSpec cpu_common_fields[] = {u32("halted"), u32("interrupt_request")};
constexpr Spec cpu_common_vmsd{"cpu_common", 1, 1, cpu_common_fields, cpu_common_subsections};

constexpr FieldSpec fpreg_tmp_fields[] = {u64("tmp_mant"), u16("tmp_exp")};
constexpr Spec fpreg_tmp_vmsd{"fpreg_tmp", 0, 0, fpreg_tmp_fields};

constexpr FieldSpec fpreg_fields[] = {tmp("tmp", fpreg_tmp_vmsd)};
constexpr Spec fpreg_vmsd{"fpreg", 0, 0, fpreg_fields};

constexpr FieldSpec segment_fields[] = {u32("selector"), u64("base").in(wide), u32("base").not_in(wide),
                                        u32("limit"), u32("flags")};
constexpr Spec segment_vmsd{"segment", 1, 1, segment_fields};

constexpr FieldSpec xmm_reg_fields[] = {u64("_q_ZMMReg[0]"), u64("_q_ZMMReg[1]")};
constexpr Spec xmm_reg_vmsd{"xmm_reg", 1, 1, xmm_reg_fields};

constexpr FieldSpec mtrr_var_fields[] = {u64("base"), u64("mask")};
constexpr Spec mtrr_var_vmsd{"mtrr_var", 1, 1, mtrr_var_fields};

constexpr FieldSpec ymmh_reg_fields[] = {u64("_q_ZMMReg[2]"), u64("_q_ZMMReg[3]")};
constexpr Spec ymmh_reg_vmsd{"ymmh_reg", 1, 1, ymmh_reg_fields};

constexpr FieldSpec bnd_regs_fields[] = {u64("lb"), u64("ub")};
constexpr Spec bnd_regs_vmsd{"bnd_regs", 1, 1, bnd_regs_fields};

constexpr FieldSpec zmmh_reg_fields[] = {u64("_q_ZMMReg[4]"), u64("_q_ZMMReg[5]"), u64("_q_ZMMReg[6]"),
                                         u64("_q_ZMMReg[7]")};
constexpr Spec zmmh_reg_vmsd{"zmmh_reg", 1, 1, zmmh_reg_fields};

constexpr FieldSpec hi16_zmm_reg_fields[] = {u64("_q_ZMMReg[0]"), u64("_q_ZMMReg[1]"), u64("_q_ZMMReg[2]"),
                                             u64("_q_ZMMReg[3]"), u64("_q_ZMMReg[4]"), u64("_q_ZMMReg[5]"),
                                             u64("_q_ZMMReg[6]"), u64("_q_ZMMReg[7]")};
constexpr Spec hi16_zmm_reg_vmsd{"hi16_zmm_reg", 1, 1, hi16_zmm_reg_fields};

constexpr FieldSpec exception_info_fields[] = {u8("env.exception_pending"), u8("env.exception_injected"),
                                               u8("env.exception_has_payload"), u64("env.exception_payload")};
constexpr Spec exception_info_vmsd{"cpu/exception_info", 1, 1, exception_info_fields};
constexpr FieldSpec async_pf_msr_fields[] = {u64("env.async_pf_en_msr")};
constexpr Spec async_pf_msr_vmsd{"cpu/async_pf_msr", 1, 1, async_pf_msr_fields};
constexpr FieldSpec async_pf_int_msr_fields[] = {u64("env.async_pf_int_msr")};
constexpr Spec async_pf_int_msr_vmsd{"cpu/async_pf_int_msr", 1, 1, async_pf_int_msr_fields};
constexpr FieldSpec async_pv_eoi_msr_fields[] = {u64("env.pv_eoi_en_msr")};
constexpr Spec async_pv_eoi_msr_vmsd{"cpu/async_pv_eoi_msr", 1, 1, async_pv_eoi_msr_fields};
constexpr FieldSpec steal_time_msr_fields[] = {u64("env.steal_time_msr")};
constexpr Spec steal_time_msr_vmsd{"cpu/steal_time_msr", 1, 1, steal_time_msr_fields};
constexpr FieldSpec poll_control_msr_fields[] = {u64("env.poll_control_msr")};
constexpr Spec poll_control_msr_vmsd{"cpu/poll_control_msr", 1, 1, poll_control_msr_fields};
constexpr FieldSpec fpop_ip_dp_fields[] = {u16("env.fpop"), u64("env.fpip"), u64("env.fpdp")};
constexpr Spec fpop_ip_dp_vmsd{"cpu/fpop_ip_dp", 1, 1, fpop_ip_dp_fields};
constexpr FieldSpec msr_tsc_adjust_fields[] = {u64("env.tsc_adjust")};
constexpr Spec msr_tsc_adjust_vmsd{"cpu/msr_tsc_adjust", 1, 1, msr_tsc_adjust_fields};
constexpr FieldSpec msr_tscdeadline_fields[] = {u64("env.tsc_deadline")};
constexpr Spec msr_tscdeadline_vmsd{"cpu/msr_tscdeadline", 1, 1, msr_tscdeadline_fields};
constexpr FieldSpec msr_ia32_misc_enable_fields[] = {u64("env.msr_ia32_misc_enable")};
constexpr Spec msr_ia32_misc_enable_vmsd{"cpu/msr_ia32_misc_enable", 1, 1, msr_ia32_misc_enable_fields};
constexpr FieldSpec msr_ia32_feature_control_fields[] = {u64("env.msr_ia32_feature_control")};
constexpr Spec msr_ia32_feature_control_vmsd{"cpu/msr_ia32_feature_control", 1, 1,
                                             msr_ia32_feature_control_fields};
constexpr FieldSpec msr_architectural_pmu_fields[] = {
    u64("env.msr_fixed_ctr_ctrl"),          u64("env.msr_global_ctrl"),
    u64("env.msr_global_status"),           u64("env.msr_global_ovf_ctrl"),
    u64("env.msr_fixed_counters").array(3), u64("env.msr_gp_counters").array(18),
    u64("env.msr_gp_evtsel").array(18)};
constexpr Spec msr_architectural_pmu_vmsd{"cpu/msr_architectural_pmu", 1, 1, msr_architectural_pmu_fields};
constexpr FieldSpec mpx_fields[] = {structure("env.bnd_regs", bnd_regs_vmsd).array(4),
                                    u64("env.bndcs_regs.cfgu"), u64("env.bndcs_regs.sts"),
                                    u64("env.msr_bndcfgs")};
constexpr Spec mpx_vmsd{"cpu/mpx", 1, 1, mpx_fields};
constexpr FieldSpec msr_hyperv_hypercall_fields[] = {u64("env.msr_hv_guest_os_id"),
                                                     u64("env.msr_hv_hypercall")};
constexpr Spec msr_hyperv_hypercall_vmsd{"cpu/msr_hyperv_hypercall", 1, 1, msr_hyperv_hypercall_fields};
constexpr FieldSpec msr_hyperv_vapic_fields[] = {u64("env.msr_hv_vapic")};
constexpr Spec msr_hyperv_vapic_vmsd{"cpu/msr_hyperv_vapic", 1, 1, msr_hyperv_vapic_fields};
constexpr FieldSpec msr_hyperv_time_fields[] = {u64("env.msr_hv_tsc")};
constexpr Spec msr_hyperv_time_vmsd{"cpu/msr_hyperv_time", 1, 1, msr_hyperv_time_fields};
constexpr FieldSpec msr_hyperv_crash_fields[] = {u64("env.msr_hv_crash_params").array(5)};
constexpr Spec msr_hyperv_crash_vmsd{"cpu/msr_hyperv_crash", 1, 1, msr_hyperv_crash_fields};
constexpr FieldSpec msr_hyperv_runtime_fields[] = {u64("env.msr_hv_runtime")};
constexpr Spec msr_hyperv_runtime_vmsd{"cpu/msr_hyperv_runtime", 1, 1, msr_hyperv_runtime_fields};
constexpr FieldSpec msr_hyperv_synic_fields[] = {
    u64("env.msr_hv_synic_control"), u64("env.msr_hv_synic_evt_page"), u64("env.msr_hv_synic_msg_page"),
    u64("env.msr_hv_synic_sint").array(16)};
constexpr Spec msr_hyperv_synic_vmsd{"cpu/msr_hyperv_synic", 1, 1, msr_hyperv_synic_fields};
constexpr FieldSpec msr_hyperv_stimer_fields[] = {u64("env.msr_hv_stimer_config").array(4),
                                                  u64("env.msr_hv_stimer_count").array(4)};
constexpr Spec msr_hyperv_stimer_vmsd{"cpu/msr_hyperv_stimer", 1, 1, msr_hyperv_stimer_fields};
constexpr FieldSpec msr_hyperv_reenlightenment_fields[] = {u64("env.msr_hv_reenlightenment_control"),
                                                           u64("env.msr_hv_tsc_emulation_control"),
                                                           u64("env.msr_hv_tsc_emulation_status")};
constexpr Spec msr_hyperv_reenlightenment_vmsd{"cpu/msr_hyperv_reenlightenment", 1, 1,
                                               msr_hyperv_reenlightenment_fields};
constexpr FieldSpec avx512_fields[] = {u64("env.opmask_regs").array(8),
                                       structure("env.xmm_regs[0]", zmmh_reg_vmsd).array(16).in(wide),
                                       structure("env.xmm_regs", zmmh_reg_vmsd).array(8).not_in(wide),
                                       structure("env.xmm_regs[1]", hi16_zmm_reg_vmsd).array(16).in(wide)};
constexpr Spec avx512_vmsd{"cpu/avx512", 1, 1, avx512_fields};
constexpr FieldSpec xss_fields[] = {u64("env.xss")};
constexpr Spec xss_vmsd{"cpu/xss", 1, 1, xss_fields};
constexpr FieldSpec umwait_fields[] = {u32("env.umwait")};
constexpr Spec umwait_vmsd{"cpu/umwait", 1, 1, umwait_fields};
constexpr FieldSpec tsc_khz_fields[] = {i64("env.tsc_khz")};
constexpr Spec tsc_khz_vmsd{"cpu/tsc_khz", 1, 1, tsc_khz_fields};
constexpr FieldSpec msr_smi_count_fields[] = {u64("env.msr_smi_count")};
constexpr Spec msr_smi_count_vmsd{"cpu/msr_smi_count", 1, 1, msr_smi_count_fields};
constexpr FieldSpec pkru_fields[] = {u32("env.pkru")};
constexpr Spec pkru_vmsd{"cpu/pkru", 1, 1, pkru_fields};
constexpr FieldSpec pkrs_fields[] = {u32("env.pkrs")};
constexpr Spec pkrs_vmsd{"cpu/pkrs", 1, 1, pkrs_fields};
constexpr FieldSpec spec_ctrl_fields[] = {u64("env.spec_ctrl")};
constexpr Spec spec_ctrl_vmsd{"cpu/spec_ctrl", 1, 1, spec_ctrl_fields};
constexpr FieldSpec amd_tsc_scale_msr_fields[] = {u64("env.amd_tsc_scale_msr")};
constexpr Spec amd_tsc_scale_msr_vmsd{"cpu/amd_tsc_scale_msr", 1, 1, amd_tsc_scale_msr_fields};
constexpr FieldSpec mcg_ext_ctl_fields[] = {u64("env.mcg_ext_ctl")};
constexpr Spec mcg_ext_ctl_vmsd{"cpu/mcg_ext_ctl", 1, 1, mcg_ext_ctl_fields};
constexpr FieldSpec intel_pt_fields[] = {u64("env.msr_rtit_ctrl"),        u64("env.msr_rtit_status"),
                                         u64("env.msr_rtit_output_base"), u64("env.msr_rtit_output_mask"),
                                         u64("env.msr_rtit_cr3_match"),   u64("env.msr_rtit_addrs").array(8)};
constexpr Spec intel_pt_vmsd{"cpu/intel_pt", 1, 1, intel_pt_fields};
constexpr FieldSpec virt_ssbd_fields[] = {u64("env.virt_ssbd")};
constexpr Spec virt_ssbd_vmsd{"cpu/virt_ssbd", 1, 1, virt_ssbd_fields};
constexpr FieldSpec svn_npt_fields[] = {u64("env.nested_cr3"), u32("env.nested_pg_mode")};
constexpr Spec svn_npt_vmsd{"cpu/svn_npt", 1, 1, svn_npt_fields};
constexpr FieldSpec svm_guest_fields[] = {u32("env.int_ctl")};
constexpr Spec svm_guest_vmsd{"cpu/svm_guest", 1, 1, svm_guest_fields};
constexpr FieldSpec efer32_fields[] = {u64("env.efer")};
constexpr Spec efer32_vmsd{"cpu/efer32", 1, 1, efer32_fields};
constexpr FieldSpec msr_tsx_ctrl_fields[] = {u32("env.tsx_ctrl")};
constexpr Spec msr_tsx_ctrl_vmsd{"cpu/msr_tsx_ctrl", 1, 1, msr_tsx_ctrl_fields};
constexpr FieldSpec pdptrs_fields[] = {u64("env.pdptrs").array(4)};
constexpr Spec pdptrs_vmsd{"cpu/pdptrs", 1, 1, pdptrs_fields};
constexpr FieldSpec msr_xfd_fields[] = {u64("env.msr_xfd"), u64("env.msr_xfd_err")};
constexpr Spec msr_xfd_vmsd{"cpu/msr_xfd", 1, 1, msr_xfd_fields};
constexpr FieldSpec triple_fault_fields[] = {u8("env.triple_fault_pending")};
constexpr Spec triple_fault_vmsd{"cpu/triple_fault", 1, 1, triple_fault_fields};
constexpr FieldSpec msr_hwcr_fields[] = {u64("env.msr_hwcr")};
constexpr Spec msr_hwcr_vmsd{"cpu/msr_hwcr", 1, 1, msr_hwcr_fields};

constexpr FieldSpec cpu_fields[] = {u64("env.regs").array(16).in(wide),
                                    u32("env.regs").array(8).not_in(wide),
                                    u64("env.eip").in(wide),
                                    u32("env.eip").not_in(wide),
                                    u64("env.eflags").in(wide),
                                    u32("env.eflags").not_in(wide),
                                    u32("env.hflags"),
                                    u16("env.fpuc"),
                                    u16("env.fpus_vmstate"),
                                    u16("env.fptag_vmstate"),
                                    u16("env.fpregs_format_vmstate"),
                                    structure("env.fpregs", fpreg_vmsd).array(8),
                                    structure("env.segs", segment_vmsd).array(6),
                                    structure("env.ldt", segment_vmsd),
                                    structure("env.tr", segment_vmsd),
                                    structure("env.gdt", segment_vmsd),
                                    structure("env.idt", segment_vmsd),
                                    u32("env.sysenter_cs"),
                                    u64("env.sysenter_esp").in(wide),
                                    u32("env.sysenter_esp").not_in(wide),
                                    u64("env.sysenter_eip").in(wide),
                                    u32("env.sysenter_eip").not_in(wide),
                                    u64("env.cr[0]").in(wide),
                                    u32("env.cr[0]").not_in(wide),
                                    u64("env.cr[2]").in(wide),
                                    u32("env.cr[2]").not_in(wide),
                                    u64("env.cr[3]").in(wide),
                                    u32("env.cr[3]").not_in(wide),
                                    u64("env.cr[4]").in(wide),
                                    u32("env.cr[4]").not_in(wide),
                                    u64("env.dr").array(8).in(wide),
                                    u32("env.dr").array(8).not_in(wide),
                                    i32("env.a20_mask"),
                                    u32("env.mxcsr"),
                                    structure("env.xmm_regs[0]", xmm_reg_vmsd).array(16).in(wide),
                                    structure("env.xmm_regs[0]", xmm_reg_vmsd).array(8).not_in(wide),
                                    u64("env.efer").in(wide),
                                    u64("env.star").in(wide),
                                    u64("env.lstar").in(wide),
                                    u64("env.cstar").in(wide),
                                    u64("env.fmask").in(wide),
                                    u64("env.kernelgsbase").in(wide),
                                    u32("env.smbase"),
                                    u64("env.pat"),
                                    u32("env.hflags2"),
                                    u64("env.vm_hsave"),
                                    u64("env.vm_vmcb"),
                                    u64("env.tsc_offset"),
                                    u64("env.intercept"),
                                    u16("env.intercept_cr_read"),
                                    u16("env.intercept_cr_write"),
                                    u16("env.intercept_dr_read"),
                                    u16("env.intercept_dr_write"),
                                    u32("env.intercept_exceptions"),
                                    u8("env.v_tpr"),
                                    u64("env.mtrr_fixed").array(11),
                                    u64("env.mtrr_deftype"),
                                    structure("env.mtrr_var", mtrr_var_vmsd).array(8),
                                    i32("env.interrupt_injected"),
                                    u32("env.mp_state"),
                                    u64("env.tsc"),
                                    i32("env.exception_nr"),
                                    u8("env.soft_interrupt"),
                                    u8("env.nmi_injected"),
                                    u8("env.nmi_pending"),
                                    u8("env.has_error_code"),
                                    u32("env.sipi_vector"),
                                    u64("env.mcg_cap"),
                                    u64("env.mcg_status"),
                                    u64("env.mcg_ctl"),
                                    u64("env.mce_banks").array(40),
                                    u64("env.tsc_aux"),
                                    u64("env.system_time_msr"),
                                    u64("env.wall_clock_msr"),
                                    u64("env.xcr0"),
                                    u64("env.xstate_bv"),
                                    structure("env.xmm_regs[1]", ymmh_reg_vmsd).array(16).in(wide),
                                    structure("env.xmm_regs[1]", ymmh_reg_vmsd).array(8).not_in(wide)};
constexpr const Spec* cpu_subsections[] = {&exception_info_vmsd,
                                           &async_pf_msr_vmsd,
                                           &async_pf_int_msr_vmsd,
                                           &async_pv_eoi_msr_vmsd,
                                           &steal_time_msr_vmsd,
                                           &poll_control_msr_vmsd,
                                           &fpop_ip_dp_vmsd,
                                           &msr_tsc_adjust_vmsd,
                                           &msr_tscdeadline_vmsd,
                                           &msr_ia32_misc_enable_vmsd,
                                           &msr_ia32_feature_control_vmsd,
                                           &msr_architectural_pmu_vmsd,
                                           &mpx_vmsd,
                                           &msr_hyperv_hypercall_vmsd,
                                           &msr_hyperv_vapic_vmsd,
                                           &msr_hyperv_time_vmsd,
                                           &msr_hyperv_crash_vmsd,
                                           &msr_hyperv_runtime_vmsd,
                                           &msr_hyperv_synic_vmsd,
                                           &msr_hyperv_stimer_vmsd,
                                           &msr_hyperv_reenlightenment_vmsd,
                                           &avx512_vmsd,
                                           &xss_vmsd,
                                           &umwait_vmsd,
                                           &tsc_khz_vmsd,
                                           &msr_smi_count_vmsd,
                                           &pkru_vmsd,
                                           &pkrs_vmsd,
                                           &spec_ctrl_vmsd,
                                           &amd_tsc_scale_msr_vmsd,
                                           &mcg_ext_ctl_vmsd,
                                           &intel_pt_vmsd,
                                           &virt_ssbd_vmsd,
                                           &svn_npt_vmsd,
                                           &svm_guest_vmsd,
                                           &efer32_vmsd,
                                           &msr_tsx_ctrl_vmsd,
                                           &pdptrs_vmsd,
                                           &msr_xfd_vmsd,
                                           &triple_fault_vmsd,
                                           &msr_hwcr_vmsd};
constexpr Spec cpu_vmsd{"cpu", 12, 12, cpu_fields, cpu_subsections};

constexpr FieldSpec apic_sipi_fields[] = {i32("sipi_vector"), i32("wait_for_sipi")};
constexpr Spec apic_sipi_vmsd{"apic_sipi", 1, 1, apic_sipi_fields};

constexpr FieldSpec apic_fields[] = {u32("apicbase"),
                                     u8("id"),
                                     u8("arb_id"),
                                     u8("tpr"),
                                     u32("spurious_vec"),
                                     u8("log_dest"),
                                     u8("dest_mode"),
                                     u32("isr").array(8),
                                     u32("tmr").array(8),
                                     u32("irr").array(8),
                                     u32("lvt").array(6),
                                     u32("esr"),
                                     u32("icr").array(2),
                                     u32("divide_conf"),
                                     i32("count_shift"),
                                     u32("initial_count"),
                                     i64("initial_count_load_time"),
                                     i64("next_time"),
                                     i64("timer_expiry")};
constexpr const Spec* apic_subsections[] = {&apic_sipi_vmsd};
constexpr Spec apic_vmsd{"apic", 3, 3, apic_fields, apic_subsections};

constexpr FieldSpec kvmvapic_handlers_fields[] = {u32("set_tpr"), u32("set_tpr_eax"), u32("get_tpr").array(8),
                                                  u32("get_tpr_stack")};
constexpr Spec kvmvapic_handlers_vmsd{"kvmvapic-handlers", 1, 1, kvmvapic_handlers_fields};

constexpr FieldSpec kvmvapic_guest_rom_fields[] = {unused("unused", 8),
                                                   u32("vaddr"),
                                                   u32("fixup_start"),
                                                   u32("fixup_end"),
                                                   u32("vapic_vaddr"),
                                                   u32("vapic_size"),
                                                   u32("vcpu_shift"),
                                                   u32("real_tpr_addr"),
                                                   structure("up", kvmvapic_handlers_vmsd),
                                                   structure("mp", kvmvapic_handlers_vmsd)};
constexpr Spec kvmvapic_guest_rom_vmsd{"kvmvapic-guest-rom", 1, 1, kvmvapic_guest_rom_fields};

constexpr FieldSpec kvm_tpr_opt_fields[] = {structure("rom_state", kvmvapic_guest_rom_vmsd),
                                            u32("state"),
                                            u32("real_tpr_addr"),
                                            u32("rom_state_vaddr"),
                                            u32("vapic_paddr"),
                                            u32("rom_state_paddr")};
constexpr Spec kvm_tpr_opt_vmsd{"kvm-tpr-opt", 1, 1, kvm_tpr_opt_fields};

constexpr SectionSpec sections[] = {
    {&timer_vmsd}, {&cpu_common_vmsd}, {&cpu_vmsd, widths}, {&apic_vmsd}, {&kvm_tpr_opt_vmsd}};

}  // namespace

std::span<const SectionSpec> cpu_sections() {
    return sections;
}

}  // namespace vmferry::qemu::schema
