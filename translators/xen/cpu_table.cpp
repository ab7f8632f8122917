#include "translators/fxsave.hpp"
#include "translators/xen/tables.hpp"

namespace vmferry::xen {
namespace {

using Row = RecordRow<Vcpu, hvm_hw_cpu>;
using Table = RecordTable<Vcpu, hvm_hw_cpu>;

// NOLINTBEGIN(bugprone-macro-parentheses): a member's name cannot stand in parentheses.
/// Row of a register that has the same width on both sides; its name is the row's name.
#define REGISTER(field, member) \
    exact_row<Vcpu, hvm_hw_cpu>("vcpu." #field, "CPU." #member, VMFERRY_MEMBER(field), VMFERRY_MEMBER(member))

#define SEGMENT(field, member)                                                                    \
    exact_row<Vcpu, hvm_hw_cpu>("vcpu." #field ".selector", "CPU." #member "_sel",                \
                                VMFERRY_MEMBER(field.selector), VMFERRY_MEMBER(member##_sel)),    \
        exact_row<Vcpu, hvm_hw_cpu>("vcpu." #field ".base", "CPU." #member "_base",               \
                                    VMFERRY_MEMBER(field.base), VMFERRY_MEMBER(member##_base)),   \
        exact_row<Vcpu, hvm_hw_cpu>("vcpu." #field ".limit", "CPU." #member "_limit",             \
                                    VMFERRY_MEMBER(field.limit), VMFERRY_MEMBER(member##_limit)), \
        exact_row<Vcpu, hvm_hw_cpu>("vcpu." #field ".attributes", "CPU." #member "_arbytes",      \
                                    VMFERRY_MEMBER(field.attributes), VMFERRY_MEMBER(member##_arbytes))
// NOLINTEND(bugprone-macro-parentheses)

/// A row inside the FXSAVE image at the start of the record.
Row fxsave_row(const FxsaveRow& row) {
    return {.field = "vcpu." + row.field,
            .place = "CPU.fpu_regs " + row.place,
            .law = row.law,
            .reason = row.reason,
            .absent = "initial FPU state",
            .bytes = row.bytes};
}

Row fpu_row() {
    Row row{.field = "vcpu.fpu",
            .place = "CPU.flags",
            .law = Law::normal_form,
            .reason =
                "bit 0 clear: the FPU is in its initial state and the image is not to be read; written as 1",
            .absent = "initial FPU state",
            .bytes = detail::claim_of<hvm_hw_cpu>(VMFERRY_MEMBER(flags))};
    row.read = [](const hvm_hw_cpu& from, Vcpu& to) {
        to.fpu = from.flags & XEN_X86_FPU_INITIALISED ? read_fxsave(std::as_bytes(std::span(from.fpu_regs)))
                                                      : Fpu{};
    };
    row.write = [](const Vcpu& from, hvm_hw_cpu& to) {
        write_fxsave(from.fpu, std::as_writable_bytes(std::span(to.fpu_regs)));
        to.flags = XEN_X86_FPU_INITIALISED;
    };
    return row;
}

Row event_row() {
    Row row{.field = "vcpu.event",
            .place = "CPU.pending_event, error_code",
            .law = Law::normal_form,
            .reason = "an error code without bit 11 of pending_event means nothing and is written as 0",
            .absent = "none",
            .bytes = {offsetof(hvm_hw_cpu, pending_event), 8}};
    // Xen's layout is that of the VMX interruption information field: SDM vol. 3, table 24-13.
    row.read = [](const hvm_hw_cpu& from, Vcpu& to) {
        const auto bits = from.pending_event;
        to.event = {};
        if (!(bits >> 31)) return;
        to.event = {.valid = true,
                    .type = static_cast<PendingEvent::Type>(bits >> 8 & 7),
                    .vector = static_cast<std::uint8_t>(bits),
                    .has_error_code = (bits >> 11 & 1) != 0,
                    .error_code = bits >> 11 & 1 ? from.error_code : 0};
    };
    row.write = [](const Vcpu& from, hvm_hw_cpu& to) {
        const auto& event = from.event;
        to.pending_event = !event.valid ? 0
                                        : std::uint32_t{1} << 31 | std::uint32_t{event.has_error_code} << 11 |
                                              static_cast<std::uint32_t>(event.type) << 8 | event.vector;
        to.error_code = event.error_code;
    };
    return row;
}

Table make_table() {
    Table table;
    for (const auto& row : fxsave_rows()) table.push_back(fxsave_row(row));
    const Row rows[] = {
        REGISTER(rax, rax),
        REGISTER(rbx, rbx),
        REGISTER(rcx, rcx),
        REGISTER(rdx, rdx),
        REGISTER(rbp, rbp),
        REGISTER(rsi, rsi),
        REGISTER(rdi, rdi),
        REGISTER(rsp, rsp),
        REGISTER(r8, r8),
        REGISTER(r9, r9),
        REGISTER(r10, r10),
        REGISTER(r11, r11),
        REGISTER(r12, r12),
        REGISTER(r13, r13),
        REGISTER(r14, r14),
        REGISTER(r15, r15),
        REGISTER(rip, rip),
        REGISTER(rflags, rflags),
        REGISTER(cr0, cr0),
        REGISTER(cr2, cr2),
        REGISTER(cr3, cr3),
        REGISTER(cr4, cr4),
        REGISTER(dr0, dr0),
        REGISTER(dr1, dr1),
        REGISTER(dr2, dr2),
        REGISTER(dr3, dr3),
        REGISTER(dr6, dr6),
        REGISTER(dr7, dr7),
        SEGMENT(cs, cs),
        SEGMENT(ds, ds),
        SEGMENT(es, es),
        SEGMENT(fs, fs),
        SEGMENT(gs, gs),
        SEGMENT(ss, ss),
        SEGMENT(tr, tr),
        SEGMENT(ldtr, ldtr),
        REGISTER(idtr.limit, idtr_limit),
        REGISTER(gdtr.limit, gdtr_limit),
        REGISTER(idtr.base, idtr_base),
        REGISTER(gdtr.base, gdtr_base),
        REGISTER(sysenter_cs, sysenter_cs),
        REGISTER(sysenter_esp, sysenter_esp),
        REGISTER(sysenter_eip, sysenter_eip),
        REGISTER(kernel_gs_base, shadow_gs),
        ignore_row<Vcpu, hvm_hw_cpu>("obsolete flags", "CPU.msr_flags", {offsetof(hvm_hw_cpu, msr_flags), 8},
                                     "Xen itself ignores it on load (save.h: obsolete)"),
        REGISTER(lstar, msr_lstar),
        REGISTER(star, msr_star),
        REGISTER(cstar, msr_cstar),
        REGISTER(fmask, msr_syscall_mask),
        REGISTER(efer, msr_efer),
        REGISTER(tsc_aux, msr_tsc_aux),
        REGISTER(tsc, tsc),
        event_row(),
        fpu_row(),
        ignore_row<Vcpu, hvm_hw_cpu>("padding", "CPU.pad0", {offsetof(hvm_hw_cpu, pad0), 4},
                                     "always 0: Xen refuses anything else")};
    for (const auto& row : rows) table.push_back(row);
    return table;
}

}  // namespace

const Table& cpu_table() {
    static const Table table = make_table();
    return table;
}

const RecordTable<Vcpu, hvm_tsc_adjust>& tsc_adjust_table() {
    static const RecordTable<Vcpu, hvm_tsc_adjust> table = {exact_row<Vcpu, hvm_tsc_adjust>(
        "vcpu.tsc_adjust", "TSC_ADJUST.tsc_adjust", VMFERRY_MEMBER(tsc_adjust), VMFERRY_MEMBER(tsc_adjust))};
    return table;
}

const RecordTable<Vcpu, hvm_vmce_vcpu>& vmce_table() {
    static const RecordTable<Vcpu, hvm_vmce_vcpu> table = {
        ignore_row<Vcpu, hvm_vmce_vcpu>("machine check banks", "VMCE_VCPU", {0, sizeof(hvm_vmce_vcpu)},
                                        "capabilities and CTL2 of Xen's two virtual banks; no bank holds an "
                                        "error in a migratable guest, and the "
                                        "destination's own bank count stays")};
    return table;
}

const RecordTable<Vcpu, hvm_viridian_vcpu_context>& viridian_vcpu_table() {
    static const RecordTable<Vcpu, hvm_viridian_vcpu_context> table = {
        ignore_row<Vcpu, hvm_viridian_vcpu_context>("Hyper-V enlightenments of a vCPU", "VIRIDIAN_VCPU",
                                                    {0, sizeof(hvm_viridian_vcpu_context)},
                                                    "refused unless zero (rule viridian)")};
    return table;
}

}  // namespace vmferry::xen
