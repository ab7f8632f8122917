#include "translators/xen/tables.hpp"

namespace vmferry::xen {
namespace {

using RegsRow = RecordRow<vmferry::Lapic, hvm_hw_lapic_regs>;

std::uint32_t page_get(const hvm_hw_lapic_regs& page, std::size_t at) {
    return load_le<std::uint32_t>(std::as_bytes(std::span(page.data)), at);
}
void page_set(hvm_hw_lapic_regs& page, std::size_t at, std::uint32_t value) {
    std::memcpy(page.data + at, &value, sizeof value);
}

/// One 32-bit register at `At` of the register page (SDM vol. 3, table 10-1: one register every 16 bytes).
template <std::size_t At, typename FieldOf>
RegsRow page_row(std::string field, std::string name, FieldOf) {
    return {
        .field = "lapic." + field,
        .place = "LAPIC_REGS." + name,
        .law = Law::exact,
        .reason = {},
        .absent = "reset value",
        .bytes = {At, 4},
        .read = [](const hvm_hw_lapic_regs& from, vmferry::Lapic& to) { FieldOf{}(to) = page_get(from, At); },
        .write = [](const vmferry::Lapic& from,
                    hvm_hw_lapic_regs& to) { page_set(to, At, FieldOf{}(from)); }};
}
/// `Count` registers in a row.
template <std::size_t At, std::size_t Count, typename FieldOf>
RegsRow page_array_row(std::string field, std::string name, FieldOf) {
    return {.field = "lapic." + field,
            .place = "LAPIC_REGS." + name,
            .law = Law::exact,
            .reason = {},
            .absent = "reset value",
            .bytes = {At, 4, 16, Count},
            .read =
                [](const hvm_hw_lapic_regs& from, vmferry::Lapic& to) {
                    for (std::size_t i = 0; i < Count; ++i) FieldOf{}(to)[i] = page_get(from, At + 16 * i);
                },
            .write =
                [](const vmferry::Lapic& from, hvm_hw_lapic_regs& to) {
                    for (std::size_t i = 0; i < Count; ++i) page_set(to, At + 16 * i, FieldOf{}(from)[i]);
                }};
}
RegsRow ignored(std::string_view what, const std::string& name, ByteClaim bytes, std::string_view reason) {
    return ignore_row<vmferry::Lapic, hvm_hw_lapic_regs>(what, "LAPIC_REGS." + name, bytes, reason);
}

RegsRow id_row() {
    auto row = page_row<0x20>(
        "id", "ID", [](auto& lapic) -> auto& { return lapic.id; });
    row.law = Law::normal_form;
    row.reason =
        "xAPIC mode: the number in bits 24–31, the rest 0; x2APIC mode: the whole register "
        "(read after LAPIC, which says the mode)";
    row.read = [](const hvm_hw_lapic_regs& from, vmferry::Lapic& to) {
        to.id = to.x2apic() ? page_get(from, 0x20) : page_get(from, 0x20) >> 24;
    };
    row.write = [](const vmferry::Lapic& from, hvm_hw_lapic_regs& to) {
        page_set(to, 0x20, from.x2apic() ? from.id : from.id << 24);
    };
    return row;
}

}  // namespace

const RecordTable<vmferry::Lapic, Lapic>& lapic_table() {
    using Row = RecordRow<vmferry::Lapic, Lapic>;
    static const RecordTable<vmferry::Lapic, Lapic> table = [] {
        auto base = exact_row<vmferry::Lapic, Lapic>("lapic.base_msr", "LAPIC.apic_base_msr",
                                                     VMFERRY_MEMBER(base_msr), VMFERRY_MEMBER(apic_base_msr));
        Row disabled{
            .field = "lapic enable bits",
            .place = "LAPIC.disabled",
            .law = Law::one_way,
            .reason = "bit 0 repeats the enable bit of the base MSR, bit 1 that of SVR; written from them",
            .absent = {},
            .bytes = detail::claim_of<Lapic>(VMFERRY_MEMBER(disabled))};
        disabled.write = [](const vmferry::Lapic& from, Lapic& to) {
            to.disabled = (from.globally_enabled() ? 0u : 1u) | (from.software_enabled() ? 0u : 2u);
        };
        auto divider = exact_row<vmferry::Lapic, Lapic>(
            "lapic.divider", "LAPIC.timer_divisor", VMFERRY_MEMBER(divider), VMFERRY_MEMBER(timer_divisor));
        auto deadline = exact_row<vmferry::Lapic, Lapic>(
            "lapic.tsc_deadline", "LAPIC.tdt_msr", VMFERRY_MEMBER(tsc_deadline), VMFERRY_MEMBER(tdt_msr));
        auto pending =
            exact_row<vmferry::Lapic, Lapic>("lapic.pending_esr", "LAPIC.pending_esr",
                                             VMFERRY_MEMBER(pending_esr), VMFERRY_MEMBER(pending_esr));
        pending.absent = "0 (the 24-byte form of older releases)";
        auto padding = ignore_row<vmferry::Lapic, Lapic>(
            "padding", "after pending_esr",
            {offsetof(Lapic, pending_esr) + 4, sizeof(Lapic) - offsetof(Lapic, pending_esr) - 4},
            "padding of the structure");
        return RecordTable<vmferry::Lapic, Lapic>{base, disabled, divider, deadline, pending, padding};
    }();
    return table;
}

const RecordTable<vmferry::Lapic, hvm_hw_lapic_regs>& lapic_regs_table() {
    static const std::string unused = "no register here (SDM vol. 3, table 10-1)";
    static const RecordTable<vmferry::Lapic, hvm_hw_lapic_regs> table = {
        ignored("reserved", "0x000–0x01F", {0x000, 4, 16, 2}, unused),
        id_row(),
        page_row<0x30>("version", "VERSION", VMFERRY_MEMBER(version)),
        ignored("reserved", "0x040–0x07F", {0x040, 4, 16, 4}, unused),
        page_row<0x80>("tpr", "TPR", VMFERRY_MEMBER(tpr)),
        ignored("APR, PPR, EOI, RRD", "0x090–0x0CF", {0x090, 4, 16, 4},
                "derived from TPR, ISR and IRR on every read, or write-only"),
        page_row<0xD0>("ldr", "LDR", VMFERRY_MEMBER(ldr)),
        page_row<0xE0>("dfr", "DFR", VMFERRY_MEMBER(dfr)),
        page_row<0xF0>("svr", "SVR", VMFERRY_MEMBER(svr)),
        page_array_row<0x100, 8>("isr", "ISR", VMFERRY_MEMBER(isr)),
        page_array_row<0x180, 8>("tmr", "TMR", VMFERRY_MEMBER(tmr)),
        page_array_row<0x200, 8>("irr", "IRR", VMFERRY_MEMBER(irr)),
        page_row<0x280>("esr", "ESR", VMFERRY_MEMBER(esr)),
        ignored("reserved", "0x290–0x2EF", {0x290, 4, 16, 6}, unused),
        ignored("LVT CMCI", "0x2F0", {0x2F0, 4}, "Xen's virtual LAPIC has six LVT entries, without CMCI"),
        page_row<0x300>("icr_low", "ICR low", VMFERRY_MEMBER(icr_low)),
        page_row<0x310>("icr_high", "ICR high", VMFERRY_MEMBER(icr_high)),
        page_array_row<0x320, 6>("lvt", "LVT", VMFERRY_MEMBER(lvt)),
        page_row<0x380>("initial_count", "TMICT", VMFERRY_MEMBER(initial_count)),
        ignored("current count", "TMCCT", {0x390, 4},
                "Xen computes it on each read and does not keep it here; its own restore starts the full "
                "count again"),
        ignored("reserved", "0x3A0–0x3DF", {0x3A0, 4, 16, 4}, unused),
        page_row<0x3E0>("divide_configuration", "TDCR", VMFERRY_MEMBER(divide_configuration)),
        ignored("self IPI", "0x3F0", {0x3F0, 4}, "write-only, x2APIC mode"),
        ignored("reserved", "bytes 4–15 of each register", {0x004, 12, 16, 64}, unused)};
    return table;
}

const RecordTable<Mtrr, hvm_hw_mtrr>& mtrr_table() {
    using Row = RecordRow<Mtrr, hvm_hw_mtrr>;
    static const RecordTable<Mtrr, hvm_hw_mtrr> table = [] {
        Row variable{.field = "mtrr.variable",
                     .place = "MTRR.msr_mtrr_var",
                     .law = Law::exact,
                     .reason = {},
                     .absent = "0",
                     .bytes = detail::claim_of<hvm_hw_mtrr>(VMFERRY_MEMBER(msr_mtrr_var))};
        variable.read = [](const hvm_hw_mtrr& from, Mtrr& to) {
            for (std::size_t i = 0; i < to.variable.size(); ++i)
                to.variable[i] = {from.msr_mtrr_var[2 * i], from.msr_mtrr_var[2 * i + 1]};
        };
        variable.write = [](const Mtrr& from, hvm_hw_mtrr& to) {
            for (std::size_t i = 0; i < from.variable.size(); ++i) {
                to.msr_mtrr_var[2 * i] = from.variable[i].base;
                to.msr_mtrr_var[2 * i + 1] = from.variable[i].mask;
            }
        };
        return RecordTable<Mtrr, hvm_hw_mtrr>{
            exact_row<Mtrr, hvm_hw_mtrr>("mtrr.pat", "MTRR.msr_pat_cr", VMFERRY_MEMBER(pat),
                                         VMFERRY_MEMBER(msr_pat_cr)),
            variable,
            exact_row<Mtrr, hvm_hw_mtrr>("mtrr.fixed", "MTRR.msr_mtrr_fixed", VMFERRY_MEMBER(fixed),
                                         VMFERRY_MEMBER(msr_mtrr_fixed)),
            exact_row<Mtrr, hvm_hw_mtrr>("mtrr.capabilities", "MTRR.msr_mtrr_cap",
                                         VMFERRY_MEMBER(capabilities), VMFERRY_MEMBER(msr_mtrr_cap)),
            exact_row<Mtrr, hvm_hw_mtrr>("mtrr.default_type", "MTRR.msr_mtrr_def_type",
                                         VMFERRY_MEMBER(default_type), VMFERRY_MEMBER(msr_mtrr_def_type))};
    }();
    return table;
}

}  // namespace vmferry::xen
