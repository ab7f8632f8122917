#include <bit>

#include "translators/clocks.hpp"
#include "translators/qemu/tables.hpp"

namespace vmferry::qemu {
namespace {

using ApicRow = Row<Lapic>;

/// A register of which QEMU keeps `bits` bits, from bit `shift` on.
template <unsigned shift, unsigned bits, std::uint64_t lost, typename FieldOf>
ApicRow part_row(std::string field, std::string path, std::string reason, FieldOf) {
    ApicRow row{.field = "lapic." + field,
                .path = std::move(path),
                .law = Law::normal_form,
                .reason = std::move(reason)};
    row.read = [](const ApicRow& self, const Context&, const Section& from, Lapic& to) -> Result<void> {
        VMFERRY_ASSIGN(const auto value, from.get(self.path));
        auto& target = FieldOf{}(to);
        target = static_cast<std::decay_t<decltype(target)>>(value << shift | lost);
        return {};
    };
    row.write = [](const ApicRow& self, const Context&, const Lapic& from, Section& to) {
        const std::uint64_t value = FieldOf{}(from);
        return to.set(self.path, value >> shift & ((std::uint64_t{1} << bits) - 1));
    };
    return row;
}

ApicRow divider_row() {
    ApicRow row{.field = "lapic.divider",
                .path = "count_shift",
                .law = Law::normal_form,
                .reason = "the logarithm of the divider; under TCG it and TDCR are independent"};
    row.read = [](const ApicRow&, const Context&, const Section& from, Lapic& to) -> Result<void> {
        VMFERRY_ASSIGN(const auto shift, from.get("count_shift"));
        to.divider = std::uint32_t{1} << (shift & 7);
        to.clock_hz = ns_per_second;
        return {};
    };
    row.write = [](const ApicRow&, const Context&, const Lapic& from, Section& to) {
        return to.set("count_shift", static_cast<std::uint64_t>(std::countr_zero(from.divider)));
    };
    return row;
}

ApicRow expiry_row() {
    ApicRow row{
        .field = "lapic.expiry_ns",
        .path = "timer_expiry",
        .law = Law::normal_form,
        .reason =
            "absolute on the virtual clock, with next_time and initial_count_load_time; TCG arms the timer "
            "by timer_expiry alone, KVM starts the count anew"};
    row.read = [](const ApicRow&, const Context& context, const Section& from, Lapic& to) -> Result<void> {
        VMFERRY_ASSIGN(const auto at, from.get_signed("timer_expiry"));
        to.expiry_ns.reset();
        if (at != timer_off) to.expiry_ns = at - context.virtual_clock_ns;
        return {};
    };
    row.write = [](const ApicRow&, const Context& context, const Lapic& from, Section& to) -> Result<void> {
        const auto now = context.virtual_clock_ns;
        const auto at = from.expiry_ns ? now + *from.expiry_ns : timer_off;
        // The whole count runs from here to the expiry: what the guest reads as the present count follows
        // from it, and whether a one-shot timer that has fired is over.
        const auto loaded =
            from.expiry_ns ? at - (std::int64_t{from.initial_count} + 1) * std::int64_t{from.divider} : now;
        VMFERRY_TRY(to.set("initial_count_load_time", static_cast<std::uint64_t>(loaded)));
        VMFERRY_TRY(to.set("next_time", static_cast<std::uint64_t>(from.expiry_ns ? at : 0)));
        return to.set("timer_expiry", static_cast<std::uint64_t>(at));
    };
    return row;
}

ApicRow sipi_row() {
    ApicRow row{.field = "lapic.waits_for_sipi",
                .path = "+apic_sipi",
                .law = Law::normal_form,
                .reason = "absent: does not wait"};
    row.read = [](const ApicRow&, const Context&, const Section& from, Lapic& to) -> Result<void> {
        to.waits_for_sipi = false;
        if (!from.subsection("apic_sipi")) return {};
        VMFERRY_ASSIGN(const auto waits, from.get("+apic_sipi|wait_for_sipi"));
        to.waits_for_sipi = waits != 0;
        return {};
    };
    row.write = [](const ApicRow&, const Context&, const Lapic& from, Section& to) -> Result<void> {
        std::vector<Field> fields;
        if (from.waits_for_sipi) {
            fields.push_back(integer_field("sipi_vector", "int32", 4, 0));
            fields.push_back(integer_field("wait_for_sipi", "int32", 4, 1));
        }
        set_subsection(to, "apic_sipi", std::move(fields));
        return {};
    };
    return row;
}

#define REGISTER(field, path) scalar_row<Lapic>("lapic." #field, path, VMFERRY_MEMBER(field))
#define REGISTERS(field, path) array_row<Lapic>("lapic." #field, path, VMFERRY_MEMBER(field))

}  // namespace

const Table<Lapic>& apic_table() {
    static const Table<Lapic> table = [] {
        return Table<Lapic>{
            part_row<0, 32, 0>("base_msr", "apicbase", "QEMU keeps 32 bits: an APIC above 4 GiB is refused",
                               VMFERRY_MEMBER(base_msr)),
            part_row<0, 8, 0>("id", "id", "8 bits; in x2APIC mode QEMU takes the processor's own id",
                              VMFERRY_MEMBER(id)),
            from_template<Lapic>("arb_id", "0: arbitration ended with the P6 family's APIC bus"),
            part_row<0, 8, 0>("tpr", "tpr", "8 bits, the others are reserved", VMFERRY_MEMBER(tpr)),
            REGISTER(svr, "spurious_vec"),
            part_row<24, 8, 0>("ldr", "log_dest", "bits 24–31; in x2APIC mode the value follows from the id",
                               VMFERRY_MEMBER(ldr)),
            part_row<28, 4, 0xFFFFFFF>("dfr", "dest_mode", "bits 28–31, the others read as 1",
                                       VMFERRY_MEMBER(dfr)),
            REGISTERS(isr, "isr"),
            REGISTERS(tmr, "tmr"),
            REGISTERS(irr, "irr"),
            REGISTERS(lvt, "lvt"),
            REGISTER(esr, "esr"),
            REGISTER(icr_low, "icr|0"),
            REGISTER(icr_high, "icr|1"),
            REGISTER(divide_configuration, "divide_conf"),
            divider_row(),
            REGISTER(initial_count, "initial_count"),
            semantic<Lapic>("initial_count_load_time", "lapic.expiry_ns",
                            "one whole count before timer_expiry"),
            semantic<Lapic>("next_time", "lapic.expiry_ns", "as timer_expiry"),
            expiry_row(),
            sipi_row(),
            no_place<Lapic>("lapic.version", "QEMU's is the same: 0x14 with six LVT entries"),
            no_place<Lapic>("lapic.pending_esr", "errors not yet made visible: reported, and lost")};
    }();
    return table;
}

const Table<IoApic>& ioapic_table() {
    static const Table<IoApic> table = [] {
        Row<IoApic> entries{.field = "ioapic.redirection", .path = "ioredtbl"};
        entries.read = [](const Row<IoApic>&, const Context&, const Section& from,
                          IoApic& to) -> Result<void> {
            const auto* field = from.find("ioredtbl");
            to.redirection.clear();
            for (std::size_t pin = 0; field && pin < field->count; ++pin) {
                VMFERRY_ASSIGN(const auto entry, from.get(fmt::format("ioredtbl|{}", pin)));
                to.redirection.push_back(entry);
            }
            return {};
        };
        entries.write = [](const Row<IoApic>&, const Context&, const IoApic& from,
                           Section& to) -> Result<void> {
            for (std::size_t pin = 0; pin < from.redirection.size(); ++pin)
                VMFERRY_TRY(to.set(fmt::format("ioredtbl|{}", pin), from.redirection[pin]));
            return {};
        };
        return Table<IoApic>{
            scalar_row<IoApic>("ioapic.id", "id", VMFERRY_MEMBER(id)),
            scalar_row<IoApic>("ioapic.register_select", "ioregsel", VMFERRY_MEMBER(register_select)),
            from_template<IoApic>("unused", "was a base address, always 0xFEC00000"),
            scalar_row<IoApic>("ioapic.level_asserted", "irr", VMFERRY_MEMBER(level_asserted)),
            entries,
            no_place<IoApic>("ioapic.base", "0xFEC00000; another one is refused")};
    }();
    return table;
}

const Table<Pic>& pic_table() {
#define PIC(field, path) scalar_row<Pic>("pic." #field, path, VMFERRY_MEMBER(field))
    static const Table<Pic> table = {
        PIC(lines, "last_irr"),
        PIC(irr, "irr"),
        PIC(imr, "imr"),
        PIC(isr, "isr"),
        PIC(lowest_plus_one, "priority_add"),
        PIC(vector_base, "irq_base"),
        PIC(read_isr, "read_reg_select"),
        PIC(poll, "poll"),
        PIC(special_mask, "special_mask"),
        PIC(init_step, "init_state"),
        PIC(auto_eoi, "auto_eoi"),
        PIC(rotate_on_auto_eoi, "rotate_on_auto_eoi"),
        PIC(special_fully_nested, "special_fully_nested_mode"),
        PIC(expects_icw4, "init4"),
        PIC(single, "single_mode"),
        PIC(elcr, "elcr"),
        no_place<Pic>("pic.output", "follows from IRR, ISR and IMR; interrupt_request() tells TCG")};
#undef PIC
    return table;
}

}  // namespace vmferry::qemu
