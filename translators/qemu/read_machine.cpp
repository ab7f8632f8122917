#include "translators/qemu/read_machine.hpp"

#include <algorithm>

#include "translators/clocks.hpp"
#include "translators/devices.hpp"
#include "translators/events.hpp"
#include "translators/qemu/extended_state.hpp"
#include "translators/qemu/tables.hpp"

namespace vmferry::qemu {
namespace {

std::unexpected<Error> missing(std::string_view name, std::uint32_t instance) {
    return stream_error("qemu", fmt::format("section {} instance {}", name, instance), {}, 0,
                        "no such section", "a section of every PC");
}

Result<const Section*> wanted(const DeviceTree& tree, std::string_view name, std::uint32_t instance = 0) {
    if (const auto* section = tree.find(name, instance)) return section;
    return missing(name, instance);
}

Result<const Section*> wanted_pci(const DeviceTree& tree, std::string_view name) {
    const auto found = tree.find_pci(name);
    if (found.empty()) return missing(name, 0);
    return found.front();
}

template <typename Neutral>
Result<void> read_section(const DeviceTree& tree, std::string_view name, std::uint32_t instance,
                          const Table<Neutral>& table, const Context& context, Neutral& to) {
    VMFERRY_ASSIGN(const auto* section, wanted(tree, name, instance));
    return read_rows(table, context, *section, to);
}

/// Instances of a section, ascending. Those of "cpu" are numbers, those of "apic" the APIC ids; QEMU numbers
/// its processors by ascending APIC id, so that the n-th of each belong together.
std::vector<const Section*> instances(const DeviceTree& tree, std::string_view name) {
    std::vector<const Section*> found;
    for (const auto& section : tree.sections)
        if (section.idstr == name) found.push_back(&section);
    std::ranges::sort(found, {}, &Section::instance);
    return found;
}

/// Under KVM, what was being delivered (KVM_GET_VCPU_EVENTS). Under TCG nothing ever is half delivered; only
/// a latched NMI waits, in interrupt_request.
Result<void> read_event(const Section& cpu, const Section& common, Accel accel, Vcpu& to) {
    using Type = PendingEvent::Type;
    constexpr std::uint8_t nmi_vector = 2;
    constexpr std::uint64_t tcg_nmi = 0x200;
    to.event = {};
    VMFERRY_ASSIGN(const auto request, common.get("interrupt_request"));
    if (accel == Accel::tcg) {
        if (request & tcg_nmi) to.event = {.valid = true, .type = Type::nmi, .vector = nmi_vector};
        return {};
    }
    VMFERRY_ASSIGN(const auto interrupt, cpu.get_signed("env.interrupt_injected"));
    VMFERRY_ASSIGN(const auto software, cpu.get("env.soft_interrupt"));
    VMFERRY_ASSIGN(const auto exception, cpu.get_signed("env.exception_nr"));
    VMFERRY_ASSIGN(const auto has_error_code, cpu.get("env.has_error_code"));
    VMFERRY_ASSIGN(const auto injected, cpu.get("env.nmi_injected"));
    VMFERRY_ASSIGN(const auto pending, cpu.get("env.nmi_pending"));
    if (exception >= 0)
        to.event = {.valid = true,
                    .type = Type::exception,
                    .vector = static_cast<std::uint8_t>(exception),
                    .has_error_code = has_error_code != 0};
    else if (interrupt >= 0)
        to.event = {.valid = true,
                    .type = software != 0 ? Type::software_interrupt : Type::external,
                    .vector = static_cast<std::uint8_t>(interrupt)};
    else if (injected != 0 || pending != 0)
        to.event = {.valid = true, .type = Type::nmi, .vector = nmi_vector};
    return {};
}

/// A processor that has not been started (or has got INIT since) executes nothing until SIPI comes.
Result<bool> is_online(const Section& cpu, const Lapic& lapic, Accel accel) {
    constexpr std::uint64_t uninitialised = 1, init_received = 2;  // KVM_MP_STATE_…
    if (accel == Accel::tcg) return !lapic.waits_for_sipi;
    VMFERRY_ASSIGN(const auto state, cpu.get("env.mp_state"));
    return state != uninitialised && state != init_received;
}

Result<void> read_vcpu(const Section& cpu, const Section& common, const Section& apic, const Context& context,
                       Vcpu& to) {
    VMFERRY_TRY(read_rows(cpu_table(), context, cpu, to));
    VMFERRY_TRY(read_rows(apic_table(), context, apic, to.lapic));
    VMFERRY_TRY(read_extended_state(cpu, to));
    if (cpu.subsection("cpu/msr_tscdeadline")) {
        VMFERRY_ASSIGN(to.lapic.tsc_deadline, cpu.get("+cpu/msr_tscdeadline|env.tsc_deadline"));
    }
    VMFERRY_ASSIGN(to.online, is_online(cpu, to.lapic, context.accel));
    to.lapic.waits_for_sipi = !to.online;
    to.lapic.version = 0x50014;  // six LVT entries, as both sides have
    VMFERRY_TRY(read_event(cpu, common, context.accel, to));
    if (context.accel == Accel::tcg) {
        // TCG keeps no XSTATE_BV: everything that XCR0 enables may be in use.
        to.extended->xstate_bv = to.extended->xcr0;
        return {};
    }
    // KVM's record holds the initial count without what has passed of it. A one-shot timer that comes early
    // is armed again, one that comes late may do harm: it is due (see xen/read_machine.cpp).
    constexpr std::uint32_t one_shot = 0;
    if ((to.lapic.lvt[0] >> 17 & 3) == one_shot && to.lapic.expiry_ns) to.lapic.expiry_ns = 0;
    return {};
}

Result<void> read_vcpus(const DeviceTree& tree, const Context& context, Machine& machine) {
    const auto cpus = instances(tree, "cpu"), apics = instances(tree, "apic");
    if (cpus.empty()) return missing("cpu", 0);
    if (cpus.size() != apics.size())
        return stream_error("qemu", "section apic", "instance", apics.empty() ? 0 : apics.back()->offset,
                            fmt::format("{} local APICs", apics.size()),
                            fmt::format("one for each of {} processors", cpus.size()));
    machine.vcpus.resize(cpus.size());
    for (std::size_t n = 0; n < cpus.size(); ++n) {
        VMFERRY_ASSIGN(const auto* common, wanted(tree, "cpu_common", cpus[n]->instance));
        VMFERRY_TRY(read_vcpu(*cpus[n], *common, *apics[n], context, machine.vcpus[n]));
    }
    if (std::ranges::none_of(machine.vcpus, &Vcpu::online))
        return stream_error("qemu", "section apic", "wait_for_sipi", apics.front()->offset,
                            "every processor waits for SIPI", "one that runs");
    return {};
}

/// The rate that KVM was told to give the guest's TSC.
Result<void> read_tsc_rate(const DeviceTree& tree, Machine& machine) {
    const auto* first = instances(tree, "cpu").front();
    if (!first->subsection("cpu/tsc_khz")) return {};
    VMFERRY_ASSIGN(machine.tsc_khz, first->get("+cpu/tsc_khz|env.tsc_khz"));
    return {};
}

}  // namespace

Result<Context> source_context(const DeviceTree& tree, Accel accel, std::uint64_t realtime_ns) {
    VMFERRY_ASSIGN(const auto* timer, wanted(tree, "timer"));
    VMFERRY_ASSIGN(const auto clock, timer->get_signed("cpu_clock_offset"));
    constexpr std::int64_t limit = std::int64_t{1} << 62;
    if (clock < 0 || clock > limit)
        return stream_error("qemu", "section timer instance 0", "cpu_clock_offset",
                            timer->find("cpu_clock_offset")->offset, fmt::format("{}", clock),
                            fmt::format("0 … {}", limit));
    return Context{
        .accel = accel, .virtual_clock_ns = clock, .realtime_ns = static_cast<std::int64_t>(realtime_ns)};
}

Result<Machine> read_machine(const DeviceTree& tree, const Context& context) {
    Machine machine;
    VMFERRY_TRY(read_vcpus(tree, context, machine));
    VMFERRY_TRY(read_tsc_rate(tree, machine));
    VMFERRY_TRY(read_section(tree, "timer", 0, timer_table(), context, machine));
    VMFERRY_TRY(read_section(tree, "ioapic", 0, ioapic_table(), context, machine.ioapic));
    for (unsigned chip = 0; chip < 2; ++chip) {
        VMFERRY_TRY(read_section(tree, "i8259", chip, pic_table(), context, machine.pic[chip]));
        machine.pic[chip].output = pic_output(machine.pic[chip], chip == 0);
    }
    VMFERRY_TRY(read_section(tree, "i8254", 0, pit_table(), context, machine.pit));
    VMFERRY_TRY(read_section(tree, "pcspk", 0, speaker_table(), context, machine.pit));
    VMFERRY_TRY(read_section(tree, "mc146818rtc", 0, rtc_table(), context, machine.rtc));
    if (tree.find("hpet"))
        VMFERRY_TRY(read_section(tree, "hpet", 0, hpet_table(), context, machine.hpet.emplace()));
    VMFERRY_ASSIGN(const auto* power, wanted_pci(tree, "piix4_pm"));
    VMFERRY_TRY(read_rows(piix4_pm_table(), context, *power, machine.pm));
    machine.pm.timer = static_cast<std::uint32_t>(pm_timer_at(context.virtual_clock_ns));
    VMFERRY_ASSIGN(const auto* piix3, wanted_pci(tree, "PIIX3"));
    VMFERRY_TRY(read_rows(piix3_table(), context, *piix3, machine.wires));
    machine.firmware = firmware_of(tree);
    return machine;
}

}  // namespace vmferry::qemu
