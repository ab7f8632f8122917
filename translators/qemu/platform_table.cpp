#include "translators/clocks.hpp"
#include "translators/qemu/tables.hpp"

namespace vmferry::qemu {
namespace {

/// One of the three channels; its times are absolute on the virtual clock.
Row<Pit> channel_times_row(std::size_t n) {
    Row<Pit> row{.field = fmt::format("pit.channel{}.loaded_ago_ns", n),
                 .path = fmt::format("channels|{}|count_load_time", n),
                 .law = Law::normal_form,
                 .reason = "absolute on the virtual clock; next_transition_time follows from mode and count"};
    row.read = [](const Row<Pit>& self, const Context& context, const Section& from,
                  Pit& to) -> Result<void> {
        VMFERRY_ASSIGN(const auto at, from.get_signed(self.path));
        const auto channel = static_cast<std::size_t>(self.path[self.path.find('|') + 1] - '0');
        to.channels[channel].loaded_ago_ns = context.virtual_clock_ns - at;
        return {};
    };
    row.write = [](const Row<Pit>& self, const Context& context, const Pit& from,
                   Section& to) -> Result<void> {
        const auto number = static_cast<std::size_t>(self.path[self.path.find('|') + 1] - '0');
        const auto& channel = from.channels[number];
        const auto now = context.virtual_clock_ns;
        VMFERRY_TRY(to.set(self.path, static_cast<std::uint64_t>(now - channel.loaded_ago_ns)));
        const auto next = static_cast<std::uint64_t>(pit_next_transition(channel, now));
        VMFERRY_TRY(to.set(fmt::format("channels|{}|next_transition_time", number), next));
        // QEMU arms IRQ 0 by this outer copy alone; a time in the past would be caught up with a storm of
        // ticks.
        return number == 0 ? to.set("channels[0].next_transition_time", next) : Result<void>{};
    };
    return row;
}

void add_channel(Table<Pit>& table, std::size_t n) {
    const auto add = [&](const char* name, const char* member, auto row) {
        row.field = fmt::format("pit.channel{}.{}", n, name);
        row.path = fmt::format("channels|{}|{}", n, member);
        table.push_back(std::move(row));
    };
    const auto fields = [&]<std::size_t N>() {
#define CHANNEL(field, member) add(#field, member, scalar_row<Pit>("", "", VMFERRY_MEMBER(channels[N].field)))
        CHANNEL(count, "count");
        CHANNEL(latched_count, "latched_count");
        CHANNEL(count_latched, "count_latched");
        CHANNEL(status_latched, "status_latched");
        CHANNEL(status, "status");
        CHANNEL(read_state, "read_state");
        CHANNEL(write_state, "write_state");
        CHANNEL(write_latch, "write_latch");
        CHANNEL(access_mode, "rw_mode");
        CHANNEL(mode, "mode");
        CHANNEL(bcd, "bcd");
        CHANNEL(gate, "gate");
#undef CHANNEL
    };
    if (n == 0) fields.operator()<0>();
    if (n == 1) fields.operator()<1>();
    if (n == 2) fields.operator()<2>();
    table.push_back(channel_times_row(n));
    table.push_back(semantic<Pit>(fmt::format("channels|{}|next_transition_time", n),
                                  fmt::format("pit.channel{}.loaded_ago_ns", n),
                                  "pit_next_transition(): output change that follows from mode and count"));
}

/// When a timer's comparator matches next, on the virtual clock (IA-PC HPET 1.0a, 2.3.9).
std::int64_t hpet_expiry(const Hpet& hpet, const HpetTimer& timer, std::int64_t now_ns) {
    constexpr std::uint64_t interrupt_enable = 4, mode32 = 0x100;
    if (!hpet.enabled() || !(timer.configuration & interrupt_enable)) return timer_off;
    const bool narrow = (timer.configuration & mode32) != 0;
    const auto ahead = narrow ? static_cast<std::uint32_t>(timer.comparator - hpet.counter)
                              : timer.comparator - hpet.counter;
    // A comparator that lies behind matches after the counter has gone round.
    const auto bounded = std::min<std::uint64_t>(ahead, std::uint64_t{1} << 52);
    return now_ns + static_cast<std::int64_t>(scale(bounded, hpet.period_fs, 1'000'000));
}

template <typename FieldOf>
Row<Hpet> hpet_row(const std::string& field, std::string_view path, FieldOf field_of) {
    return scalar_row<Hpet>("hpet." + field, path, field_of);
}

}  // namespace

const Table<Pit>& pit_table() {
    static const Table<Pit> table = [] {
        Table<Pit> rows{
            scalar_row<Pit>("pit.irq_disabled", "channels[0].irq_disabled", VMFERRY_MEMBER(irq_disabled))};
        for (std::size_t n = 0; n < 3; ++n) add_channel(rows, n);
        rows.push_back(semantic<Pit>("channels[0].next_transition_time", "pit.channel0.loaded_ago_ns",
                                     "pit_next_transition(): the copy that arms IRQ 0"));
        return rows;
    }();
    return table;
}

const Table<Pit>& speaker_table() {
    static const Table<Pit> table = {
        scalar_row<Pit>("pit.speaker_on", "data_on", VMFERRY_MEMBER(speaker_on)),
        from_template<Pit>("dummy_refresh_clock", "toggles on each read of port 0x61")};
    return table;
}

const Table<Rtc>& rtc_table() {
    static const Table<Rtc> table = [] {
        Row<Rtc> cmos{.field = "rtc.cmos", .path = "cmos_data"};
        cmos.law = Law::normal_form;
        cmos.reason =
            "0–13 from Xen's RTC, 14–127 from the device model; update in progress is cleared: QEMU derives "
            "it "
            "from the time";
        cmos.read = [](const Row<Rtc>&, const Context&, const Section& from, Rtc& to) -> Result<void> {
            VMFERRY_ASSIGN(const auto data, from.bytes("cmos_data"));
            for (std::size_t i = 0; i < to.cmos.size() && i < data.size(); ++i)
                to.cmos[i] = std::to_integer<std::uint8_t>(data[i]);
            return {};
        };
        cmos.write = [](const Row<Rtc>&, const Context&, const Rtc& from, Section& to) {
            auto data = from.cmos;
            data[0xA] &= 0x7F;
            return to.set_bytes("cmos_data", std::as_bytes(std::span(data)));
        };
        Row<Rtc> time{.field = "rtc.offset_ns", .path = "base_rtc"};
        time.law = Law::normal_form;
        time.reason = "guest's clock = base_rtc + (host's clock − last_update) + offset";
        time.read = [](const Row<Rtc>&, const Context&, const Section& from, Rtc& to) -> Result<void> {
            VMFERRY_ASSIGN(const auto base, from.get_signed("base_rtc"));
            VMFERRY_ASSIGN(const auto update, from.get_signed("last_update"));
            VMFERRY_ASSIGN(const auto offset, from.get_signed("offset"));
            to.offset_ns = base * ns_per_second - update + offset;
            return {};
        };
        time.write = [](const Row<Rtc>&, const Context& context, const Rtc& from,
                        Section& to) -> Result<void> {
            const auto times = rtc_times(from, context.realtime_ns);
            const auto u64 = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
            VMFERRY_TRY(to.set("base_rtc", u64(times.base_s)));
            VMFERRY_TRY(to.set("last_update", u64(context.realtime_ns)));
            VMFERRY_TRY(to.set("offset", u64(times.offset_ns)));
            VMFERRY_TRY(to.set("period", rtc_period_ticks(from)));
            VMFERRY_TRY(to.set("periodic_timer", u64(times.periodic_ns)));
            VMFERRY_TRY(
                to.set("next_periodic_time", u64(times.periodic_ns == timer_off ? 0 : times.periodic_ns)));
            VMFERRY_TRY(to.set("update_timer", u64(times.update_ns)));
            return to.set("next_alarm_time", u64(times.alarm_ns));
        };
        const auto derived = [](std::string path, std::string how) {
            return semantic<Rtc>(std::move(path), "rtc.offset_ns", "rtc_times(): " + std::move(how));
        };
        return Table<Rtc>{
            cmos,
            scalar_row<Rtc>("rtc.index", "cmos_index", VMFERRY_MEMBER(index)),
            time,
            derived("last_update", "the destination's CLOCK_REALTIME at the instant"),
            derived("offset", "fraction of the guest's present second"),
            derived("period", "rate of register A, if PIE"),
            derived("periodic_timer", "next multiple of the period, on the host's clock"),
            derived("next_periodic_time", "as periodic_timer"),
            derived("update_timer", "end of the guest's present second, on the host's clock"),
            derived("next_alarm_time", "next match of the alarm registers, on the host's clock"),
            from_template<Rtc>("unused[0]", "fields of old versions"),
            from_template<Rtc>("unused[1]", "fields of old versions"),
            from_template<Rtc>("irq_coalesced", "0: no tick has been missed yet"),
            from_template<Rtc>("+mc146818rtc/irq_reinject_on_ack_count", "of the destination's RTC")};
    }();
    return table;
}

const Table<Hpet>& hpet_table() {
    static const Table<Hpet> table = [] {
        Table<Hpet> rows{hpet_row("configuration", "config", VMFERRY_MEMBER(configuration)),
                         hpet_row("interrupt_status", "isr", VMFERRY_MEMBER(interrupt_status)),
                         hpet_row("counter", "hpet_counter", VMFERRY_MEMBER(counter))};
#define HPET_TIMER(n)                                                                                     \
    rows.push_back(hpet_row("timers[" #n "].configuration", "timer|" #n "|config",                        \
                            VMFERRY_MEMBER(timers[n].configuration)));                                    \
    rows.push_back(                                                                                       \
        hpet_row("timers[" #n "].comparator", "timer|" #n "|cmp", VMFERRY_MEMBER(timers[n].comparator))); \
    rows.push_back(                                                                                       \
        hpet_row("timers[" #n "].fsb_route", "timer|" #n "|fsb", VMFERRY_MEMBER(timers[n].fsb_route)));   \
    rows.push_back(                                                                                       \
        hpet_row("timers[" #n "].period", "timer|" #n "|period", VMFERRY_MEMBER(timers[n].period)));      \
    rows.push_back(from_template<Hpet>("timer|" #n "|tn", "the timer's own number"));                     \
    rows.push_back(semantic<Hpet>("timer|" #n "|qemu_timer", "hpet.timers[" #n "].comparator",            \
                                  "hpet_expiry(): next match"));                                          \
    rows.push_back(semantic<Hpet>("timer|" #n "|wrap_flag", "hpet.timers[" #n "].comparator",             \
                                  "hpet_expiry(): no wrap-around is pending"))
        HPET_TIMER(0);
        HPET_TIMER(1);
        HPET_TIMER(2);
#undef HPET_TIMER
        // The name changed with QEMU 10.
        for (const char* name : {"num_timers", "num_timers_save"})
            rows.push_back(from_template<Hpet>(name, "3, as in Xen; checked by the loader"));
        rows.push_back(from_template<Hpet>("+hpet/rtc_irq_level", "follows the RTC's interrupt"));
        Row<Hpet> offset{
            .field = "hpet.counter (running)",
            .path = "+hpet/offset",
            .law = Law::one_way,
            .reason = "a running counter is virtual clock + hpet_offset: must be sent when enabled"};
        offset.write = [](const Row<Hpet>&, const Context& context, const Hpet& from,
                          Section& to) -> Result<void> {
            std::vector<Field> fields;
            if (from.enabled())
                fields.push_back(integer_field("hpet_offset", "uint64", 8,
                                               scale(from.counter, from.period_fs, 1'000'000) -
                                                   static_cast<std::uint64_t>(context.virtual_clock_ns)));
            set_subsection(to, "hpet/offset", std::move(fields));
            for (std::size_t n = 0; n < from.timers.size(); ++n) {
                VMFERRY_TRY(to.set(fmt::format("timer|{}|wrap_flag", n), 0));
                VMFERRY_TRY(to.set(
                    fmt::format("timer|{}|qemu_timer", n),
                    static_cast<std::uint64_t>(hpet_expiry(from, from.timers[n], context.virtual_clock_ns))));
            }
            return {};
        };
        rows.push_back(offset);
        rows.push_back(no_place<Hpet>("hpet.capability", "QEMU's own, with its 10 ns (rule hpet-tick)"));
        return rows;
    }();
    return table;
}

const Table<Machine>& timer_table() {
    static const Table<Machine> table = [] {
        Row<Machine> ticks{.field = "vcpu.tsc of vCPU 0",
                           .path = "cpu_ticks_offset",
                           .law = Law::normal_form,
                           .reason = "TCG has one TSC for all processors; KVM takes cpu env.tsc instead"};
        ticks.read = [](const Row<Machine>&, const Context& context, const Section& from,
                        Machine& to) -> Result<void> {
            VMFERRY_ASSIGN(const auto tsc, from.get("cpu_ticks_offset"));
            if (context.accel == Accel::tcg)
                for (auto& vcpu : to.vcpus) vcpu.tsc = tsc;
            return {};
        };
        ticks.write = [](const Row<Machine>&, const Context&, const Machine& from, Section& to) {
            return from.vcpus.empty() ? Result<void>{} : to.set("cpu_ticks_offset", from.vcpus.front().tsc);
        };
        Row<Machine> clock{.field = "pm.timer",
                           .path = "cpu_clock_offset",
                           .law = Law::one_way,
                           .reason = "virtual_clock_for(): the PM timer is a function of the virtual clock"};
        clock.write = [](const Row<Machine>&, const Context& context, const Machine&, Section& to) {
            return to.set("cpu_clock_offset", static_cast<std::uint64_t>(context.virtual_clock_ns));
        };
        return Table<Machine>{ticks, clock, from_template<Machine>("unused", "a field of old versions")};
    }();
    return table;
}

const Table<InterruptWires>& piix3_table() {
    static const Table<InterruptWires> table = [] {
        Row<InterruptWires> pirq{.field = "wires.pirq", .path = "dev|config[0]", .law = Law::normal_form};
        pirq.reason = "registers 0x60–0x63; the rest of the configuration space from the device model";
        pirq.read = [](const Row<InterruptWires>&, const Context&, const Section& from,
                       InterruptWires& to) -> Result<void> {
            VMFERRY_ASSIGN(const auto config, from.bytes("dev|config[0]"));
            for (std::size_t link = 0; link < 4; ++link)
                to.pirq[link] = std::to_integer<std::uint8_t>(config[0x60 + link]);
            return {};
        };
        pirq.write = [](const Row<InterruptWires>&, const Context&, const InterruptWires& from,
                        Section& to) -> Result<void> {
            VMFERRY_ASSIGN(const auto old, to.bytes("dev|config[0]"));
            Buffer config(old.begin(), old.end());
            for (std::size_t link = 0; link < 4; ++link) config[0x60 + link] = std::byte{from.pirq[link]};
            return to.set_bytes("dev|config[0]", config);
        };
        return Table<InterruptWires>{
            pirq,
            semantic<InterruptWires>("dev", "device",
                                     "copy_device(): device model: the rest of the PCI device"),
            semantic<InterruptWires>("pci_irq_levels_vmstate", "wires.pci",
                                     "write_pci_lines(): 1 where PCIBUS.irq_count is not 0"),
            no_place<InterruptWires>("wires.isa", "shown by pic.lines and ioapic.level_asserted"),
            semantic<InterruptWires>("+PIIX3/rcr", "device",
                                     "copy_device(): device model: reset control register")};
    }();
    return table;
}

const Table<InterruptWires>& pci_bus_table() {
    static const Table<InterruptWires> table = {
        from_template<InterruptWires>(
            "nirq", "4 links on this board; Xen's bus has 128 wires, and the loader compares"),
        semantic<InterruptWires>("irq_count", "wires.pci",
                                 "write_pci_lines(): devices that assert each link: irq_state, unless "
                                 "interrupts are disabled in the command register")};
    return table;
}

const Table<PowerManagement>& piix4_pm_table() {
    static const Table<PowerManagement> table = [] {
        Row<PowerManagement> overflow{.field = "pm.timer (overflow)",
                                      .path = "ar.tmr.overflow_time",
                                      .law = Law::one_way,
                                      .reason = "next change of bit 23; ar.tmr.timer is armed if TMR_EN"};
        overflow.write = [](const Row<PowerManagement>&, const Context& context, const PowerManagement& from,
                            Section& to) -> Result<void> {
            const auto count = pm_timer_overflow(context.virtual_clock_ns);
            VMFERRY_TRY(to.set("ar.tmr.overflow_time", count));
            const auto at = from.pm1_enable & 1 ? scale(count, ns_per_second, pm_timer_hz)
                                                : static_cast<std::uint64_t>(timer_off);
            return to.set("ar.tmr.timer", at);
        };
        const auto merged = [](std::string path, std::string what) {
            return semantic<PowerManagement>(std::move(path), "device",
                                             "copy_device(): device model, " + std::move(what));
        };
        return Table<PowerManagement>{
            scalar_row<PowerManagement>("pm.pm1_status", "ar.pm1.evt.sts", VMFERRY_MEMBER(pm1_status)),
            scalar_row<PowerManagement>("pm.pm1_enable", "ar.pm1.evt.en", VMFERRY_MEMBER(pm1_enable)),
            overflow,
            semantic<PowerManagement>("ar.tmr.timer", "pm.timer (overflow)", "see ar.tmr.overflow_time"),
            merged("parent_obj", "PCI device, with PMBASE"),
            merged("ar.pm1.cnt.cnt", "PM1 control, with SCI_EN"),
            merged("apm", "APM control and status"),
            merged("smb", "SMBus controller"),
            merged("ar.gpe", "general purpose events"),
            merged("acpi_pci_hotplug.acpi_pcihp_pci_status",
                   "PCI hot-plug: its one pair becomes that of bus 0"),
            from_template<PowerManagement>("acpi_pci_hotplug.hotplug_select", "no bus is selected"),
            from_template<PowerManagement>("acpi_pci_hotplug.acpi_index", "no slot is selected"),
            from_template<PowerManagement>("+piix4_pm/memhp", "no memory is hot-plugged in a Xen HVM guest"),
            from_template<PowerManagement>("+piix4_pm/cpuhp",
                                           "the guest's own ACPI tables do not use QEMU's ports")};
    }();
    return table;
}

const Table<Machine>& host_bridge_table() {
    static const Table<Machine> table = {
        semantic<Machine>("parent_obj", "device",
                          "write_host_bridge(): device model, with PAM (0x59–0x5F) such that 0xC0000–0xFFFFF "
                          "is RAM for reads and writes"),
        from_template<Machine>("unused", "a field of old versions")};
    return table;
}

}  // namespace vmferry::qemu
