#include "translators/xen/read_machine.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>

#include <xen/hvm/params.h>

#include "translators/devices.hpp"
#include "translators/fxsave.hpp"
#include "translators/xen/tables.hpp"

namespace vmferry::xen {
namespace {

constexpr auto format = "HVM_CONTEXT";

/// As the parser names them: "CPU[1]" where a domain can have several.
std::string record_label(std::string_view name, unsigned instance, bool several) {
    return several ? fmt::format("{}[{}]", name, instance) : std::string(name);
}

/// That it is missing shows where END comes instead of it.
std::unexpected<Error> missing(const HvmContext& context, std::string record) {
    const auto end =
        context.empty() ? 0 : context.back().offset + sizeof(hvm_save_descriptor) + context.back().length;
    return stream_error(format, std::move(record), "record", end, "END without such a record",
                        "one in every context");
}

/// Reads the one record of this type through its table. Error: there is none.
template <typename Body, typename Neutral>
Result<void> read_one(const HvmContext& context, std::string_view name,
                      const RecordTable<Neutral, Body>& table, Neutral& to,
                      std::optional<unsigned> instance = {}) {
    const auto number = instance.value_or(0);
    const auto* body = find_record<Body>(context, static_cast<std::uint16_t>(number));
    if (!body) return missing(context, record_label(name, number, instance.has_value()));
    read_rows(table, *body, to);
    return {};
}

bool all_zero(Bytes bytes) {
    for (const auto byte : bytes)
        if (byte != std::byte{0}) return false;
    return true;
}

void check_viridian(const HvmContext& context, AuditReport& audit) {
    for (const auto& record : context) {
        const auto check = [&](const auto& body) {
            if (!all_zero(std::as_bytes(std::span(&body, 1))))
                audit.violated("viridian", fmt::format("record {} {} is not zero",
                                                       hvm_record_name(record.typecode), record.instance));
        };
        if (const auto* domain = std::get_if<hvm_viridian_domain_context>(&record.body)) check(*domain);
        if (const auto* vcpu = std::get_if<hvm_viridian_vcpu_context>(&record.body)) check(*vcpu);
    }
}

void check_params(const std::vector<HvmParam>& params, AuditReport& audit) {
    for (const auto& param : params) {
        if (param.value == 0 ||
            std::ranges::find(param_table(), param.index, &ParamRow::index) != param_table().end())
            continue;
        if (param.index == HVM_PARAM_VIRIDIAN)
            audit.violated("viridian", fmt::format("HVM parameter VIRIDIAN is {:#x}", param.value));
        else if (param.index == HVM_PARAM_CALLBACK_IRQ)
            audit.violated("pv-drivers", fmt::format("event channel callback {:#x} is set", param.value));
        else
            audit.violated("hvm-parameter", fmt::format("parameter {} is {:#x}", param.index, param.value));
    }
}

void read_msrs(const CpuMsrs& msrs, unsigned number, Vcpu& to, AuditReport& audit) {
    for (const auto& entry : msrs.entries) {
        const auto known = std::ranges::find(msr_table(), entry.index, &MsrRow::index);
        const bool listed = known != msr_table().end();
        if (listed && known->member)
            to.*known->member = entry.value;
        else if (entry.value != 0)
            audit.violated("cpu-msr", fmt::format("vCPU {}: MSR {:#x} ({}) is {:#x}", number, entry.index,
                                                  listed ? known->name : "unknown", entry.value));
    }
}

/// Per-vCPU records are numbered by vCPU, the two 8259s 0 and 1; everything else is there once.
Result<void> check_instances(const HvmContext& context, unsigned vcpus) {
    for (const auto& record : context) {
        const unsigned limit = std::holds_alternative<hvm_hw_vpic>(record.body) ? 2 : vcpus;
        if (record.instance >= limit)
            return stream_error(format, record_label(hvm_record_name(record.typecode), record.instance, true),
                                "instance", record.offset + offsetof(hvm_save_descriptor, instance),
                                fmt::format("{}", record.instance), fmt::format("less than {}", limit));
    }
    return {};
}

/// What the timer was doing. The record does not hold the present count. Xen starts the whole count anew when
/// it loads; a periodic timer does so here too. A one-shot timer is taken as due: an interrupt that comes
/// early is looked at and the timer armed again, one that comes late can do harm. A Linux guest sleeps for up
/// to 2.09 s while its clock is the PM timer, which wraps around after 4.69 s; with the whole count on top of
/// what it had slept it may find most of the range gone. Linux 6.12 was seen to stand still then, its clock
/// going round and round between two wraps.
void settle_lapic_timer(vmferry::Lapic& lapic) {
    lapic.clock_hz = lapic_clock_hz;
    const auto mode = lapic.lvt[0] >> 17 & 3;
    constexpr std::uint32_t periodic = 1, deadline = 2;
    if (mode == deadline || lapic.initial_count == 0) return;
    lapic.expiry_ns = mode == periodic
                          ? static_cast<std::int64_t>(std::uint64_t{lapic.initial_count} * lapic.divider * 10)
                          : 0;
}

/// The area with what is wrong in it at its place in the stream.
Result<void> read_xsave(const XenSource& source, unsigned number, Vcpu& to) {
    for (const auto& record : source.context) {
        const auto* xsave = std::get_if<CpuXsave>(&record.body);
        if (xsave == nullptr || record.instance != number) continue;
        to.extended.emplace();
        to.extended->xcr0 = xsave->xcr0;
        to.extended->xcr0_accumulated = xsave->xcr0_accum;
        auto done = read_xsave_area(xsave->area, source.cpuid, to.fpu, *to.extended);
        if (!done) {
            done.error().record = record_label("CPU_XSAVE", number, true);
            done.error().offset +=
                record.offset + sizeof(hvm_save_descriptor) + offsetof(hvm_hw_cpu_xsave, save_area);
        }
        return done;
    }
    return {};
}

Result<void> read_vcpu(const XenSource& source, unsigned number, Vcpu& to, AuditReport& audit) {
    const auto instance = static_cast<std::uint16_t>(number);
    const auto& context = source.context;
    if (const auto* cpu = find_record<hvm_hw_cpu>(context, instance)) {
        read_rows(cpu_table(), *cpu, to);
        to.online = true;
        VMFERRY_TRY(read_xsave(source, number, to));
        if (const auto* msrs = find_record<CpuMsrs>(context, instance)) read_msrs(*msrs, number, to, audit);
        if (const auto* adjust = find_record<hvm_tsc_adjust>(context, instance))
            read_rows(tsc_adjust_table(), *adjust, to);
    }
    VMFERRY_TRY(read_one(context, "LAPIC", lapic_table(), to.lapic, number));
    VMFERRY_TRY(read_one(context, "LAPIC_REGS", lapic_regs_table(), to.lapic, number));
    VMFERRY_TRY(read_one(context, "MTRR", mtrr_table(), to.mtrr, number));
    to.lapic.waits_for_sipi = !to.online;
    settle_lapic_timer(to.lapic);
    return {};
}

}  // namespace

Result<Machine> read_machine(const XenSource& source, AuditReport& audit) {
    const auto& context = source.context;
    const auto vcpus = source.config.max_vcpus;
    VMFERRY_TRY(check_instances(context, vcpus));
    // Without a policy (before libxc's version 3) nothing tells where the components lie.
    if (!source.cpuid.empty()) VMFERRY_TRY(check_xsave_lengths(context, source.cpuid));

    Machine machine;
    VMFERRY_TRY(read_one(context, "HEADER", header_table(), machine));
    machine.vcpus.resize(vcpus);
    for (unsigned number = 0; number < vcpus; ++number)
        VMFERRY_TRY(read_vcpu(source, number, machine.vcpus[number], audit));
    if (std::ranges::none_of(machine.vcpus, &Vcpu::online)) return missing(context, "CPU");

    for (unsigned chip = 0; chip < 2; ++chip)
        VMFERRY_TRY(read_one(context, "PIC", pic_table(), machine.pic[chip], chip));
    VMFERRY_TRY(read_one(context, "IOAPIC", ioapic_table(), machine.ioapic));
    VMFERRY_TRY(read_one(context, "PCI_IRQ", pci_irq_table(), machine.wires));
    VMFERRY_TRY(read_one(context, "ISA_IRQ", isa_irq_table(), machine.wires));
    VMFERRY_TRY(read_one(context, "PCI_LINK", pci_link_table(), machine.wires));
    VMFERRY_TRY(read_one(context, "PIT", pit_table(), machine.pit));
    VMFERRY_TRY(read_one(context, "RTC", rtc_table(), machine.rtc));
    VMFERRY_TRY(read_one(context, "PMTIMER", pmtimer_table(), machine.pm));
    if (const auto* hpet = find_record<hvm_hw_hpet>(context)) {
        machine.hpet.emplace();
        read_rows(hpet_table(), *hpet, *machine.hpet);
        machine.hpet->period_fs = hpet_period_fs;
        machine.pit.irq_disabled = machine.hpet->legacy_replacement();
    }
    for (unsigned chip = 0; chip < 2; ++chip)
        machine.pic[chip].lines = static_cast<std::uint8_t>(machine.wires.isa >> (8 * chip));

    // The device model keeps the CMOS memory, and where the guest's firmware put the power management ports.
    if (const auto* rtc = source.device_model.find("mc146818rtc")) {
        VMFERRY_ASSIGN(const auto cmos, rtc->bytes("cmos_data"));
        for (std::size_t i = RTC_CMOS_SIZE; i < machine.rtc.cmos.size() && i < cmos.size(); ++i)
            machine.rtc.cmos[i] = std::to_integer<std::uint8_t>(cmos[i]);
    }
    machine.firmware = firmware_of(source.device_model);
    check_viridian(context, audit);
    check_params(source.params, audit);
    return machine;
}

}  // namespace vmferry::xen
