#include <algorithm>

#include "translators/xen/tables.hpp"

namespace vmferry::xen {
namespace {

/// A field of the 8259A record, whose structure has bit-fields: get and set instead of references.
template <typename Get, typename Set>
RecordRow<Pic, hvm_hw_vpic> pic_bits(std::string field, std::string place, ByteClaim bytes, Get, Set) {
    return {.field = "pic." + field,
            .place = "PIC." + place,
            .law = Law::exact,
            .reason = {},
            .absent = "reset value",
            .bytes = bytes,
            .read = [](const hvm_hw_vpic& from, Pic& to) { Get{}(from, to); },
            .write = [](const Pic& from, hvm_hw_vpic& to) { Set{}(from, to); }};
}

void set_init_bits(hvm_hw_vpic& chip, unsigned mask, unsigned value) {
    chip.init_state = ((chip.init_state & ~mask) | (value & mask)) & 15;
}

/// Bits of one byte share a claim: the first row of the byte takes it, the others claim nothing.
constexpr ByteClaim shared{};

#define PIC_BYTE(field, member) \
    exact_row<Pic, hvm_hw_vpic>("pic." #field, "PIC." #member, VMFERRY_MEMBER(field), VMFERRY_MEMBER(member))
#define PIC_FLAG(field, member, claim)                                                                 \
    pic_bits(                                                                                          \
        #field, #member, claim, [](const hvm_hw_vpic& from, Pic& to) { to.field = from.member != 0; }, \
        [](const Pic& from, hvm_hw_vpic& to) { to.member = from.field ? 1 : 0; })

}  // namespace

const RecordTable<Machine, hvm_save_header>& header_table() {
    using Header = hvm_save_header;
    static const RecordTable<Machine, Header> table = {
        ignore_row<Machine, Header>("magic and version", "HEADER.magic, version", {0, 8},
                                    "checked by the reader, same for every guest"),
        ignore_row<Machine, Header>("changeset", "HEADER.changeset", {offsetof(Header, changeset), 8},
                                    "of the Xen that saved; Xen itself only prints it"),
        ignore_row<Machine, Header>("host CPUID signature", "HEADER.cpuid", {offsetof(Header, cpuid), 4},
                                    "of the source's host; what the guest saw is in the CPUID policy"),
        exact_row<Machine, Header>("tsc_khz", "HEADER.gtsc_khz", VMFERRY_MEMBER(tsc_khz),
                                   VMFERRY_MEMBER(gtsc_khz))};
    return table;
}

const RecordTable<Pic, hvm_hw_vpic>& pic_table() {
    static const RecordTable<Pic, hvm_hw_vpic> table = [] {
        auto master = ignore_row<Pic, hvm_hw_vpic>("which of the two", "PIC.is_master", shared,
                                                   "the record's instance says it: 0 is the master");
        auto output = pic_bits(
            "output", "int_output", ByteClaim{7, 1},
            [](const hvm_hw_vpic& from, Pic& to) { to.output = from.int_output != 0; },
            [](const Pic& from, hvm_hw_vpic& to) { to.int_output = from.output ? 1 : 0; });
        output.law = Law::normal_form;
        output.reason = "any non-zero value is asserted; written as 1";
        return RecordTable<Pic, hvm_hw_vpic>{
            PIC_BYTE(irr, irr),
            PIC_BYTE(imr, imr),
            PIC_BYTE(isr, isr),
            PIC_BYTE(vector_base, irq_base),
            pic_bits(
                "init_step", "init_state bits 0–1", ByteClaim{4, 1},
                [](const hvm_hw_vpic& from, Pic& to) { to.init_step = from.init_state & 3; },
                [](const Pic& from, hvm_hw_vpic& to) { set_init_bits(to, 3, from.init_step); }),
            pic_bits(
                "expects_icw4", "init_state bit 2", shared,
                [](const hvm_hw_vpic& from, Pic& to) { to.expects_icw4 = (from.init_state & 4) != 0; },
                [](const Pic& from, hvm_hw_vpic& to) { set_init_bits(to, 4, from.expects_icw4 ? 4 : 0); }),
            pic_bits(
                "single", "init_state bit 3", shared,
                [](const hvm_hw_vpic& from, Pic& to) { to.single = (from.init_state & 8) != 0; },
                [](const Pic& from, hvm_hw_vpic& to) { set_init_bits(to, 8, from.single ? 8 : 0); }),
            pic_bits(
                "lowest_plus_one", "priority_add", shared,
                [](const hvm_hw_vpic& from, Pic& to) { to.lowest_plus_one = from.priority_add; },
                [](const Pic& from, hvm_hw_vpic& to) { to.priority_add = from.lowest_plus_one & 15; }),
            PIC_FLAG(read_isr, readsel_isr, (ByteClaim{5, 1})),
            PIC_FLAG(poll, poll, shared),
            PIC_FLAG(auto_eoi, auto_eoi, shared),
            PIC_FLAG(rotate_on_auto_eoi, rotate_on_auto_eoi, shared),
            PIC_FLAG(special_fully_nested, special_fully_nested_mode, shared),
            PIC_FLAG(special_mask, special_mask_mode, shared),
            master,
            PIC_BYTE(elcr, elcr),
            output};
    }();
    return table;
}

const RecordTable<IoApic, hvm_hw_vioapic>& ioapic_table() {
    using Row = RecordRow<IoApic, hvm_hw_vioapic>;
    static const RecordTable<IoApic, hvm_hw_vioapic> table = [] {
        Row entries{.field = "ioapic.redirection",
                    .place = "IOAPIC.redirtbl",
                    .law = Law::exact,
                    .reason = {},
                    .absent = "48 masked entries",
                    .bytes = detail::claim_of<hvm_hw_vioapic>(VMFERRY_MEMBER(redirtbl))};
        entries.read = [](const hvm_hw_vioapic& from, IoApic& to) {
            to.redirection.clear();
            for (const auto& entry : from.redirtbl) to.redirection.push_back(entry.bits);
        };
        entries.write = [](const IoApic& from, hvm_hw_vioapic& to) {
            for (std::size_t pin = 0; pin < VIOAPIC_NUM_PINS; ++pin)
                to.redirtbl[pin].bits =
                    pin < from.redirection.size() ? from.redirection[pin] : redirection::reset;
        };
        return RecordTable<IoApic, hvm_hw_vioapic>{
            exact_row<IoApic, hvm_hw_vioapic>("ioapic.base", "IOAPIC.base_address", VMFERRY_MEMBER(base),
                                              VMFERRY_MEMBER(base_address)),
            exact_row<IoApic, hvm_hw_vioapic>("ioapic.register_select", "IOAPIC.ioregsel",
                                              VMFERRY_MEMBER(register_select), VMFERRY_MEMBER(ioregsel)),
            exact_row<IoApic, hvm_hw_vioapic>("ioapic.id", "IOAPIC.id", VMFERRY_MEMBER(id),
                                              VMFERRY_MEMBER(id)),
            entries};
    }();
    return table;
}

const RecordTable<InterruptWires, hvm_hw_pci_irqs>& pci_irq_table() {
    static const RecordTable<InterruptWires, hvm_hw_pci_irqs> table = {
        exact_row<InterruptWires, hvm_hw_pci_irqs>("wires.pci", "PCI_IRQ", VMFERRY_MEMBER(pci),
                                                   VMFERRY_MEMBER(pad))};
    return table;
}

const RecordTable<InterruptWires, hvm_hw_isa_irqs>& isa_irq_table() {
    static const RecordTable<InterruptWires, hvm_hw_isa_irqs> table = {
        exact_row<InterruptWires, hvm_hw_isa_irqs>("wires.isa", "ISA_IRQ", VMFERRY_MEMBER(isa),
                                                   VMFERRY_MEMBER(pad[0]))};
    return table;
}

const RecordTable<InterruptWires, hvm_hw_pci_link>& pci_link_table() {
    using Row = RecordRow<InterruptWires, hvm_hw_pci_link>;
    static const RecordTable<InterruptWires, hvm_hw_pci_link> table = [] {
        Row route{
            .field = "wires.pirq",
            .place = "PCI_LINK.route",
            .law = Law::normal_form,
            .reason =
                "Xen numbers links (device + pin) & 3, the PIIX3 (device − 1 + pin) & 3: rotated by one. "
                "0 (not routed) stands for bit 7",
            .absent = "not routed",
            .bytes = detail::claim_of<hvm_hw_pci_link>(VMFERRY_MEMBER(route))};
        route.read = [](const hvm_hw_pci_link& from, InterruptWires& to) {
            for (std::size_t link = 0; link < 4; ++link) {
                const auto irq = from.route[(link + 1) & 3];
                to.pirq[link] = irq == 0 ? std::uint8_t{0x80} : static_cast<std::uint8_t>(irq & 15);
            }
        };
        route.write = [](const InterruptWires& from, hvm_hw_pci_link& to) {
            for (std::size_t link = 0; link < 4; ++link)
                to.route[(link + 1) & 3] = from.pirq[link] & 0x80
                                               ? std::uint8_t{0}
                                               : static_cast<std::uint8_t>(from.pirq[link] & 15);
        };
        return RecordTable<InterruptWires, hvm_hw_pci_link>{
            route, ignore_row<InterruptWires, hvm_hw_pci_link>(
                       "padding", "PCI_LINK.pad0", {offsetof(hvm_hw_pci_link, pad0), 4}, "always 0")};
    }();
    return table;
}

const RecordTable<Pit, hvm_hw_pit>& pit_table() {
    static const RecordTable<Pit, hvm_hw_pit> table = [] {
        RecordTable<Pit, hvm_hw_pit> rows;
#define PIT_FIELD(n, field, member)                                                                         \
    rows.push_back(exact_row<Pit, hvm_hw_pit>("pit.channel" #n "." #field, "PIT.channels[" #n "]." #member, \
                                              VMFERRY_MEMBER(channels[n].field),                            \
                                              VMFERRY_MEMBER(channels[n].member)))
#define PIT_CHANNEL(n)                            \
    PIT_FIELD(n, count, count);                   \
    PIT_FIELD(n, latched_count, latched_count);   \
    PIT_FIELD(n, count_latched, count_latched);   \
    PIT_FIELD(n, status_latched, status_latched); \
    PIT_FIELD(n, status, status);                 \
    PIT_FIELD(n, read_state, read_state);         \
    PIT_FIELD(n, write_state, write_state);       \
    PIT_FIELD(n, write_latch, write_latch);       \
    PIT_FIELD(n, access_mode, rw_mode);           \
    PIT_FIELD(n, mode, mode);                     \
    PIT_FIELD(n, bcd, bcd);                       \
    PIT_FIELD(n, gate, gate)
        PIT_CHANNEL(0);
        PIT_CHANNEL(1);
        PIT_CHANNEL(2);
#undef PIT_CHANNEL
#undef PIT_FIELD
        RecordRow<Pit, hvm_hw_pit> speaker{
            .field = "pit.speaker_on",
            .place = "PIT.speaker_data_on",
            .law = Law::normal_form,
            .reason = "any non-zero value is on; written as 1",
            .absent = "off",
            .bytes = detail::claim_of<hvm_hw_pit>(VMFERRY_MEMBER(speaker_data_on))};
        speaker.read = [](const hvm_hw_pit& from, Pit& to) { to.speaker_on = from.speaker_data_on != 0; };
        speaker.write = [](const Pit& from, hvm_hw_pit& to) { to.speaker_data_on = from.speaker_on ? 1 : 0; };
        rows.push_back(speaker);
        rows.push_back(
            ignore_row<Pit, hvm_hw_pit>("padding", "PIT.pad0", {offsetof(hvm_hw_pit, pad0), 4}, "always 0"));
        return rows;
    }();
    return table;
}

const RecordTable<Rtc, hvm_hw_rtc>& rtc_table() {
    using Row = RecordRow<Rtc, hvm_hw_rtc>;
    static const RecordTable<Rtc, hvm_hw_rtc> table = [] {
        Row offset{.field = "rtc.offset_ns",
                   .place = "RTC.rtc_offset",
                   .law = Law::normal_form,
                   .reason = "Xen keeps whole seconds",
                   .absent = "0",
                   .bytes = detail::claim_of<hvm_hw_rtc>(VMFERRY_MEMBER(rtc_offset))};
        // ±290 years fit into nanoseconds; more is nonsense, and the audit says so.
        offset.read = [](const hvm_hw_rtc& from, Rtc& to) {
            constexpr std::int64_t limit = 9'000'000'000;
            to.offset_ns = std::clamp<std::int64_t>(from.rtc_offset, -limit, limit) * 1'000'000'000;
        };
        offset.write = [](const Rtc& from, hvm_hw_rtc& to) {
            constexpr std::int64_t second = 1'000'000'000;
            const auto floor = from.offset_ns / second - (from.offset_ns % second < 0 ? 1 : 0);
            to.rtc_offset = floor;
        };
        return RecordTable<Rtc, hvm_hw_rtc>{
            exact_row<Rtc, hvm_hw_rtc>("rtc.cmos", "RTC.cmos_data", VMFERRY_MEMBER(cmos),
                                       VMFERRY_MEMBER(cmos_data)),
            exact_row<Rtc, hvm_hw_rtc>("rtc.index", "RTC.cmos_index", VMFERRY_MEMBER(index),
                                       VMFERRY_MEMBER(cmos_index)),
            ignore_row<Rtc, hvm_hw_rtc>("padding", "RTC.pad0", {offsetof(hvm_hw_rtc, pad0), 1}, "padding"),
            offset};
    }();
    return table;
}

const RecordTable<Hpet, hvm_hw_hpet>& hpet_table() {
    static const RecordTable<Hpet, hvm_hw_hpet> table = [] {
        using Row = RecordRow<Hpet, hvm_hw_hpet>;
#define HPET_FIELD(field, member)                                                        \
    exact_row<Hpet, hvm_hw_hpet>("hpet." #field, "HPET." #member, VMFERRY_MEMBER(field), \
                                 VMFERRY_MEMBER(member))
        const auto reserved = [](const std::string& place, ByteClaim bytes) {
            return ignore_row<Hpet, hvm_hw_hpet>("reserved", "HPET." + place, bytes,
                                                 "reserved registers read as 0 (IA-PC HPET 1.0a, 2.3.1)");
        };
        RecordTable<Hpet, hvm_hw_hpet> rows = {
            HPET_FIELD(capability, capability),
            reserved("res0", detail::claim_of<hvm_hw_hpet>(VMFERRY_MEMBER(res0))),
            HPET_FIELD(configuration, config),
            reserved("res1", detail::claim_of<hvm_hw_hpet>(VMFERRY_MEMBER(res1))),
            HPET_FIELD(interrupt_status, isr),
            reserved("res2", detail::claim_of<hvm_hw_hpet>(VMFERRY_MEMBER(res2))),
            HPET_FIELD(counter, mc64),
            reserved("res3", detail::claim_of<hvm_hw_hpet>(VMFERRY_MEMBER(res3))),
            reserved("res5", detail::claim_of<hvm_hw_hpet>(VMFERRY_MEMBER(res5)))};
#define HPET_TIMER(n)                                                                                       \
    HPET_FIELD(timers[n].configuration, timers[n].config), HPET_FIELD(timers[n].comparator, timers[n].cmp), \
        HPET_FIELD(timers[n].fsb_route, timers[n].fsb), HPET_FIELD(timers[n].period, period[n]),            \
        reserved("timers[" #n "].res4", detail::claim_of<hvm_hw_hpet>(VMFERRY_MEMBER(timers[n].res4)))
        const Row timers[] = {HPET_TIMER(0), HPET_TIMER(1), HPET_TIMER(2)};
#undef HPET_TIMER
#undef HPET_FIELD
        rows.insert(rows.end(), std::begin(timers), std::end(timers));
        return rows;
    }();
    return table;
}

const RecordTable<PowerManagement, hvm_hw_pmtimer>& pmtimer_table() {
    static const RecordTable<PowerManagement, hvm_hw_pmtimer> table = {
        exact_row<PowerManagement, hvm_hw_pmtimer>("pm.timer", "PMTIMER.tmr_val", VMFERRY_MEMBER(timer),
                                                   VMFERRY_MEMBER(tmr_val)),
        exact_row<PowerManagement, hvm_hw_pmtimer>("pm.pm1_status", "PMTIMER.pm1a_sts",
                                                   VMFERRY_MEMBER(pm1_status), VMFERRY_MEMBER(pm1a_sts)),
        exact_row<PowerManagement, hvm_hw_pmtimer>("pm.pm1_enable", "PMTIMER.pm1a_en",
                                                   VMFERRY_MEMBER(pm1_enable), VMFERRY_MEMBER(pm1a_en))};
    return table;
}

const RecordTable<Machine, hvm_viridian_domain_context>& viridian_domain_table() {
    static const RecordTable<Machine, hvm_viridian_domain_context> table = {
        ignore_row<Machine, hvm_viridian_domain_context>(
            "Hyper-V enlightenments of the domain", "VIRIDIAN_DOMAIN",
            {0, sizeof(hvm_viridian_domain_context)}, "refused unless zero (rule viridian)")};
    return table;
}

}  // namespace vmferry::xen
