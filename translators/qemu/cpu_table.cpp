#include "translators/hflags.hpp"
#include "translators/qemu/tables.hpp"
#include "translators/segments.hpp"

namespace vmferry::qemu {
namespace {

using CpuRow = Row<Vcpu>;

#define REGISTER(field, path) scalar_row<Vcpu>("vcpu." #field, path, VMFERRY_MEMBER(field))

/// flags is the second dword of a descriptor (SDM vol. 3, 3.4.5).
template <typename FieldOf>
CpuRow attributes_row(std::string field, std::string path, FieldOf) {
    CpuRow row{.field = std::move(field),
               .path = std::move(path),
               .law = Law::normal_form,
               .reason = "the descriptor's second dword without base and limit bits"};
    row.read = [](const CpuRow& self, const Context&, const Section& from, Vcpu& to) -> Result<void> {
        VMFERRY_ASSIGN(const auto flags, from.get(self.path));
        FieldOf{}(to) = attributes_of_descriptor(static_cast<std::uint32_t>(flags));
        return {};
    };
    row.write = [](const CpuRow& self, const Context&, const Vcpu& from, Section& to) {
        return to.set(self.path, descriptor_of_attributes(FieldOf{}(from)));
    };
    return row;
}

// NOLINTBEGIN(bugprone-macro-parentheses): a member's name cannot stand in parentheses.
#define SEGMENT(field, path)                                                                        \
    scalar_row<Vcpu>("vcpu." #field ".selector", path "|selector", VMFERRY_MEMBER(field.selector)), \
        scalar_row<Vcpu>("vcpu." #field ".base", path "|base", VMFERRY_MEMBER(field.base)),         \
        scalar_row<Vcpu>("vcpu." #field ".limit", path "|limit", VMFERRY_MEMBER(field.limit)),      \
        attributes_row("vcpu." #field ".attributes", path "|flags", VMFERRY_MEMBER(field.attributes))

/// GDT and IDT are kept as segments without selector and attributes.
#define DESCRIPTOR_TABLE(field, path)                                                          \
    scalar_row<Vcpu>("vcpu." #field ".base", path "|base", VMFERRY_MEMBER(field.base)),        \
        scalar_row<Vcpu>("vcpu." #field ".limit", path "|limit", VMFERRY_MEMBER(field.limit)), \
        from_template<Vcpu>(path "|selector", "a descriptor table has none: 0"),               \
        from_template<Vcpu>(path "|flags", "a descriptor table has none: 0")
// NOLINTEND(bugprone-macro-parentheses)

/// Index in env.fpregs of ST(i): TCG keeps the registers in physical order, KVM in the order of the stack (it
/// copies the FXSAVE image).
std::size_t fpreg_index(const Context& context, std::uint16_t status, std::size_t i) {
    return context.accel == Accel::kvm ? i : ((status >> 11 & 7) + i) & 7;
}

CpuRow fpregs_row() {
    CpuRow row{.field = "vcpu.fpu.st", .path = "env.fpregs"};
    row.read = [](const CpuRow&, const Context& context, const Section& from, Vcpu& to) -> Result<void> {
        for (std::size_t i = 0; i < 8; ++i) {
            const auto path = fmt::format("env.fpregs|{}|tmp|", fpreg_index(context, to.fpu.status, i));
            VMFERRY_ASSIGN(const auto mantissa, from.get(path + "tmp_mant"));
            VMFERRY_ASSIGN(const auto exponent, from.get(path + "tmp_exp"));
            to.fpu.st[i] = {mantissa, static_cast<std::uint16_t>(exponent)};
        }
        return {};
    };
    row.write = [](const CpuRow&, const Context& context, const Vcpu& from, Section& to) -> Result<void> {
        for (std::size_t i = 0; i < 8; ++i) {
            const auto path = fmt::format("env.fpregs|{}|tmp|", fpreg_index(context, from.fpu.status, i));
            VMFERRY_TRY(to.set(path + "tmp_mant", from.fpu.st[i].mantissa));
            VMFERRY_TRY(to.set(path + "tmp_exp", from.fpu.st[i].exponent));
        }
        return {};
    };
    return row;
}

/// Sixteen pairs of quadwords inside QEMU's 512-bit registers.
template <typename FieldOf>
CpuRow vector_row(const std::string& field, std::string path, FieldOf) {
    CpuRow row{.field = "vcpu." + field, .path = std::move(path)};
    // "env.xmm_regs[0]" holds _q_ZMMReg[0] and [1], "env.xmm_regs[1]" (the high halves of YMM) [2] and [3].
    row.read = [](const CpuRow& self, const Context&, const Section& from, Vcpu& to) -> Result<void> {
        const int first = self.path.ends_with("[1]") ? 2 : 0;
        for (std::size_t i = 0; i < 16; ++i) {
            VMFERRY_ASSIGN(const auto low, from.get(fmt::format("{}|{}|_q_ZMMReg[{}]", self.path, i, first)));
            VMFERRY_ASSIGN(const auto high,
                           from.get(fmt::format("{}|{}|_q_ZMMReg[{}]", self.path, i, first + 1)));
            FieldOf{}(to)[i] = {low, high};
        }
        return {};
    };
    row.write = [](const CpuRow& self, const Context&, const Vcpu& from, Section& to) -> Result<void> {
        const int first = self.path.ends_with("[1]") ? 2 : 0;
        for (std::size_t i = 0; i < 16; ++i) {
            const Quads2& value = FieldOf{}(from)[i];
            VMFERRY_TRY(to.set(fmt::format("{}|{}|_q_ZMMReg[{}]", self.path, i, first), value.low));
            VMFERRY_TRY(to.set(fmt::format("{}|{}|_q_ZMMReg[{}]", self.path, i, first + 1), value.high));
        }
        return {};
    };
    return row;
}

CpuRow mtrr_variable_row() {
    CpuRow row{.field = "mtrr.variable", .path = "env.mtrr_var"};
    row.read = [](const CpuRow&, const Context&, const Section& from, Vcpu& to) -> Result<void> {
        for (std::size_t i = 0; i < 8; ++i) {
            VMFERRY_ASSIGN(to.mtrr.variable[i].base, from.get(fmt::format("env.mtrr_var|{}|base", i)));
            VMFERRY_ASSIGN(to.mtrr.variable[i].mask, from.get(fmt::format("env.mtrr_var|{}|mask", i)));
        }
        return {};
    };
    row.write = [](const CpuRow&, const Context&, const Vcpu& from, Section& to) -> Result<void> {
        for (std::size_t i = 0; i < 8; ++i) {
            VMFERRY_TRY(to.set(fmt::format("env.mtrr_var|{}|base", i), from.mtrr.variable[i].base));
            VMFERRY_TRY(to.set(fmt::format("env.mtrr_var|{}|mask", i), from.mtrr.variable[i].mask));
        }
        return {};
    };
    return row;
}

/// An MSR that QEMU sends as a subsection of its own, only when it differs from `normal`.
template <typename FieldOf, std::uint64_t normal = 0>
CpuRow msr_row(const std::string& field, const std::string& subsection_and_field, FieldOf) {
    CpuRow row{.field = "vcpu." + field, .path = "+" + subsection_and_field};
    row.absent = fmt::format("{}", normal);
    row.read = [](const CpuRow& self, const Context&, const Section& from, Vcpu& to) -> Result<void> {
        FieldOf{}(to) = normal;
        if (!from.find(self.path)) return {};
        VMFERRY_ASSIGN(const auto value, from.get(self.path));
        FieldOf{}(to) = value;
        return {};
    };
    row.write = [](const CpuRow& self, const Context&, const Vcpu& from, Section& to) -> Result<void> {
        const auto bar = self.path.find('|');
        const auto name = std::string_view(self.path).substr(1, bar - 1);
        const auto value = static_cast<std::uint64_t>(FieldOf{}(from));
        // cpu/pkrs is the one that QEMU keeps in 32 bits.
        const std::uint32_t size = name == "cpu/pkrs" ? 4 : 8;
        std::vector<Field> fields;
        if (value != normal)
            fields.push_back(
                integer_field(self.path.substr(bar + 1), size == 4 ? "uint32" : "uint64", size, value));
        set_subsection(to, name, std::move(fields));
        return {};
    };
    return row;
}

CpuRow event_row() {
    CpuRow row{
        .field = "vcpu.event",
        .path = "env.interrupt_injected",
        .law = Law::one_way,
        .reason =
            "interrupt_injected, exception_nr, nmi_* and has_error_code; read by KVM only. TCG gets pending "
            "events through interrupt_request and the interrupt controllers (settle_events). The value of "
            "an error code has no place"};
    row.write = [](const CpuRow&, const Context&, const Vcpu& from, Section& to) -> Result<void> {
        using Type = PendingEvent::Type;
        const auto& event = from.event;
        const auto is = [&event](Type type) { return event.valid && event.type == type; };
        constexpr auto none = static_cast<std::uint64_t>(-1);
        VMFERRY_TRY(to.set("env.interrupt_injected", is(Type::external) ? event.vector : none));
        VMFERRY_TRY(to.set("env.soft_interrupt", 0));
        VMFERRY_TRY(to.set("env.exception_nr", is(Type::exception) ? event.vector : none));
        VMFERRY_TRY(to.set("env.has_error_code", is(Type::exception) && event.has_error_code ? 1 : 0));
        VMFERRY_TRY(to.set("env.nmi_injected", 0));
        return to.set("env.nmi_pending", is(Type::nmi) ? 1 : 0);
    };
    return row;
}

CpuRow normal_form(CpuRow row, std::string reason) {
    row.law = Law::normal_form;
    row.reason = std::move(reason);
    return row;
}

CpuRow sysenter_cs_row() {
    auto row =
        normal_form(REGISTER(sysenter_cs, "env.sysenter_cs"), "QEMU keeps the 32 bits that have a meaning");
    row.write = [](const CpuRow& self, const Context&, const Vcpu& from, Section& to) {
        return to.set(self.path, from.sysenter_cs & 0xFFFFFFFF);
    };
    return row;
}
CpuRow rflags_row() {
    auto row = normal_form(REGISTER(rflags, "env.eflags"), "bit 1 is always set (SDM vol. 1, 3.4.3)");
    row.read = [](const CpuRow& self, const Context&, const Section& from, Vcpu& to) -> Result<void> {
        VMFERRY_ASSIGN(const auto flags, from.get(self.path));
        to.rflags = flags | 2;
        return {};
    };
    row.write = [](const CpuRow& self, const Context&, const Vcpu& from, Section& to) {
        return to.set(self.path, from.rflags | 2);
    };
    return row;
}

Table<Vcpu> claims() {
    using T = Vcpu;
    return {
        semantic<T>("env.hflags", "processor mode",
                    "hflags(): TCG's summary of CR0, CR4, EFER and the segments; never recomputed on load"),
        semantic<T>("env.xcr0", "vcpu.extended.xcr0",
                    "write_extended_state(): without a record 1, or guessed and allowed", Law::exact),
        semantic<T>("env.xstate_bv", "vcpu.extended.xstate_bv",
                    "write_extended_state(): without a record x87 and SSE", Law::exact),
        semantic<T>("env.xmm_regs[1]", "vcpu.extended.ymm_high", "write_extended_state()", Law::exact),
        semantic<T>("+cpu/pkru", "vcpu.extended.pkru", "write_extended_state(): absent when 0", Law::exact),
        semantic<T>("+cpu/mpx|env.bnd_regs", "vcpu.extended.bound_low, bound_high",
                    "write_extended_state(): absent when all is 0", Law::exact),
        semantic<T>("+cpu/mpx|env.bndcs_regs", "vcpu.extended.bndcfgu, bndstatus", "write_extended_state()",
                    Law::exact),
        semantic<T>("+cpu/mpx|env.msr_bndcfgs", "vcpu.bndcfgs", "write_extended_state()", Law::exact),
        semantic<T>("+cpu/avx512|env.opmask_regs", "vcpu.extended.opmask",
                    "write_extended_state(): absent when all is 0", Law::exact),
        semantic<T>("+cpu/avx512|env.xmm_regs[0]", "vcpu.extended.zmm_high", "write_extended_state()",
                    Law::exact),
        semantic<T>("+cpu/avx512|env.xmm_regs[1]", "vcpu.extended.zmm_upper", "write_extended_state()",
                    Law::exact),
        semantic<T>("+cpu/fpop_ip_dp|env.fpop", "vcpu.fpu.opcode",
                    "write_extended_state(): absent when all three are 0", Law::exact),
        semantic<T>("+cpu/fpop_ip_dp|env.fpip", "vcpu.fpu.instruction_pointer", "write_extended_state()",
                    Law::exact),
        semantic<T>("+cpu/fpop_ip_dp|env.fpdp", "vcpu.fpu.data_pointer", "write_extended_state()",
                    Law::exact),
        semantic<T>("env.exception_nr", "vcpu.event", "see env.interrupt_injected"),
        semantic<T>("env.soft_interrupt", "vcpu.event", "see env.interrupt_injected"),
        semantic<T>("env.nmi_injected", "vcpu.event", "see env.interrupt_injected"),
        semantic<T>("env.nmi_pending", "vcpu.event", "see env.interrupt_injected"),
        semantic<T>("env.has_error_code", "vcpu.event", "see env.interrupt_injected"),
        semantic<T>("env.mp_state", "vcpu.online",
                    "write_run_state(): 0 with a CPU record, 1 (waits for INIT) without"),
        semantic<T>("+cpu/msr_tscdeadline", "lapic.tsc_deadline", "write_lapic_msrs(): absent when 0",
                    Law::exact),
        semantic<T>("+cpu/tsc_khz", "tsc_khz", "write_run_state(): KVM only: TCG cannot scale the TSC"),
        from_template<T>("+cpu/xss", "Xen allows 0 only"),
        no_place<T>("vcpu.fpu.mxcsr_mask", "the mask of the processor that it runs on"),
        no_place<T>("vcpu.extended.xcr0_accumulated", "follows from XCR0 in QEMU"),
        no_place<T>("mtrr.capabilities",
                    "QEMU's is the same: 8 variable ranges, fixed ranges, write-combining"),
        from_template<T>("env.fpregs_format_vmstate", "0: the only format there is"),
        from_template<T>("env.a20_mask", "A20 is always open on Xen, and after the reset of a PC"),
        from_template<T>("env.smbase", "Xen HVM guests have no SMM"),
        from_template<T>("env.hflags2", "GIF set, not in SMM, no nested guest"),
        from_template<T>("env.vm_hsave", "nested virtualization is refused (rule nested-virtualization)"),
        from_template<T>("env.vm_vmcb", "nested virtualization is refused"),
        from_template<T>("env.tsc_offset", "nested virtualization is refused"),
        from_template<T>("env.intercept", "nested virtualization is refused"),
        from_template<T>("env.intercept_cr_read", "nested virtualization is refused"),
        from_template<T>("env.intercept_cr_write", "nested virtualization is refused"),
        from_template<T>("env.intercept_dr_read", "nested virtualization is refused"),
        from_template<T>("env.intercept_dr_write", "nested virtualization is refused"),
        from_template<T>("env.intercept_exceptions", "nested virtualization is refused"),
        from_template<T>("env.v_tpr", "nested virtualization is refused"),
        from_template<T>("env.sipi_vector", "only between INIT and SIPI; see apic_sipi"),
        from_template<T>("env.mcg_cap",
                         "machine check banks of the destination; Xen's two virtual banks hold nothing"),
        from_template<T>("env.mcg_status", "as env.mcg_cap"),
        from_template<T>("env.mcg_ctl", "as env.mcg_cap"),
        from_template<T>("env.mce_banks", "as env.mcg_cap"),
        from_template<T>("env.system_time_msr", "KVM's clock: a Xen guest never enabled it"),
        from_template<T>("env.wall_clock_msr", "KVM's clock: a Xen guest never enabled it"),
        from_template<T>("+cpu/poll_control_msr", "KVM's polling hint: a Xen guest never wrote it"),
        from_template<T>("+cpu/msr_ia32_misc_enable", "Xen does not migrate MISC_ENABLE"),
        from_template<T>("+cpu/msr_smi_count", "of the destination's own firmware"),
        from_template<T>("+cpu/msr_hwcr", "Xen does not migrate HWCR"),
        from_template<T>("+cpu/amd_tsc_scale_msr", "nested virtualization is refused"),
        from_template<T>("+cpu/msr_tsx_ctrl", "Xen does not migrate TSX_CTRL; the destination's reset value"),
        from_template<T>("+cpu/intel_sgx", "Xen has no virtual SGX"),
        from_template<T>("+cpu/svn_npt", "nested virtualization is refused"),
        from_template<T>("+cpu/svm_guest", "nested virtualization is refused"),
        from_template<T>("+cpu/nested_state", "nested virtualization is refused"),
        from_template<T>("+cpu/pdptrs",
                         "reloaded from memory by MOV to CR3; in PAE mode KVM reads them anew"),
        from_template<T>("+cpu/msr_ia32_feature_control", "Xen does not migrate FEATURE_CONTROL"),
        from_template<T>("+cpu/msr_xfd", "AMX is refused with its XSAVE components"),
        from_template<T>("+cpu/arch_lbr", "Xen does not migrate LBRs"),
    };
}

}  // namespace

const Table<Vcpu>& cpu_table() {
    static const Table<Vcpu> table = [] {
        Table<Vcpu> rows = {
            // QEMU numbers the registers as instructions encode them.
            REGISTER(rax, "env.regs|0"),
            REGISTER(rcx, "env.regs|1"),
            REGISTER(rdx, "env.regs|2"),
            REGISTER(rbx, "env.regs|3"),
            REGISTER(rsp, "env.regs|4"),
            REGISTER(rbp, "env.regs|5"),
            REGISTER(rsi, "env.regs|6"),
            REGISTER(rdi, "env.regs|7"),
            REGISTER(r8, "env.regs|8"),
            REGISTER(r9, "env.regs|9"),
            REGISTER(r10, "env.regs|10"),
            REGISTER(r11, "env.regs|11"),
            REGISTER(r12, "env.regs|12"),
            REGISTER(r13, "env.regs|13"),
            REGISTER(r14, "env.regs|14"),
            REGISTER(r15, "env.regs|15"),
            REGISTER(rip, "env.eip"),
            rflags_row(),
            REGISTER(cr0, "env.cr[0]"),
            REGISTER(cr2, "env.cr[2]"),
            REGISTER(cr3, "env.cr[3]"),
            REGISTER(cr4, "env.cr[4]"),
            REGISTER(dr0, "env.dr|0"),
            REGISTER(dr1, "env.dr|1"),
            REGISTER(dr2, "env.dr|2"),
            REGISTER(dr3, "env.dr|3"),
            from_template<Vcpu>("env.dr|4", "no such register"),
            from_template<Vcpu>("env.dr|5", "no such register"),
            REGISTER(dr6, "env.dr|6"),
            REGISTER(dr7, "env.dr|7"),
            SEGMENT(es, "env.segs|0"),
            SEGMENT(cs, "env.segs|1"),
            SEGMENT(ss, "env.segs|2"),
            SEGMENT(ds, "env.segs|3"),
            SEGMENT(fs, "env.segs|4"),
            SEGMENT(gs, "env.segs|5"),
            SEGMENT(ldtr, "env.ldt"),
            SEGMENT(tr, "env.tr"),
            DESCRIPTOR_TABLE(gdtr, "env.gdt"),
            DESCRIPTOR_TABLE(idtr, "env.idt"),
            sysenter_cs_row(),
            REGISTER(sysenter_esp, "env.sysenter_esp"),
            REGISTER(sysenter_eip, "env.sysenter_eip"),
            REGISTER(efer, "env.efer"),
            REGISTER(star, "env.star"),
            REGISTER(lstar, "env.lstar"),
            REGISTER(cstar, "env.cstar"),
            REGISTER(fmask, "env.fmask"),
            REGISTER(kernel_gs_base, "env.kernelgsbase"),
            REGISTER(tsc_aux, "env.tsc_aux"),
            REGISTER(tsc, "env.tsc"),
            REGISTER(fpu.control, "env.fpuc"),
            REGISTER(fpu.status, "env.fpus_vmstate"),
            normal_form(REGISTER(fpu.tag, "env.fptag_vmstate"), "8 of 16 bits have a meaning"),
            REGISTER(fpu.mxcsr, "env.mxcsr"),
            fpregs_row(),
            vector_row("fpu.xmm", "env.xmm_regs[0]", VMFERRY_MEMBER(fpu.xmm)),
            scalar_row<Vcpu>("mtrr.pat", "env.pat", VMFERRY_MEMBER(mtrr.pat)),
            array_row<Vcpu>("mtrr.fixed", "env.mtrr_fixed", VMFERRY_MEMBER(mtrr.fixed)),
            scalar_row<Vcpu>("mtrr.default_type", "env.mtrr_deftype", VMFERRY_MEMBER(mtrr.default_type)),
            mtrr_variable_row(),
            event_row(),
            msr_row("tsc_adjust", "cpu/msr_tsc_adjust|env.tsc_adjust", VMFERRY_MEMBER(tsc_adjust)),
            msr_row("spec_ctrl", "cpu/spec_ctrl|env.spec_ctrl", VMFERRY_MEMBER(spec_ctrl)),
            msr_row("virt_spec_ctrl", "cpu/virt_ssbd|env.virt_ssbd", VMFERRY_MEMBER(virt_spec_ctrl)),
            msr_row("pkrs", "cpu/pkrs|env.pkrs", VMFERRY_MEMBER(pkrs))};
        for (auto& claim : claims()) rows.push_back(std::move(claim));
        return rows;
    }();
    return table;
}

const Table<Vcpu>& cpu_common_table() {
    static const Table<Vcpu> table = {
        semantic<Vcpu>("halted", "vcpu.online",
                       "write_run_state(): 0 with a CPU record: Xen does not say whether a vCPU was in HLT, "
                       "and lets each "
                       "return from it once"),
        semantic<Vcpu>(
            "interrupt_request", "deliverable interrupt",
            "interrupt_request(): TCG: what the interrupt controllers already hold for this processor")};
    return table;
}

}  // namespace vmferry::qemu
