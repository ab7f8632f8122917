#include "translators/xen/write_machine.hpp"

#include <algorithm>
#include <bit>

#include <xen/hvm/params.h>

#include "parsers/xen/hvm_bodies.hpp"
#include "translators/clocks.hpp"
#include "translators/fxsave.hpp"
#include "translators/xen/tables.hpp"

namespace vmferry::xen {
namespace {

/// Collects the records.
class Writer {
  public:
    template <typename Body>
    void add(HvmType type, Body body, std::size_t instance = 0, std::uint32_t length = 0) {
        context_.push_back({.typecode = static_cast<std::uint16_t>(type),
                            .instance = static_cast<std::uint16_t>(instance),
                            .length = length,
                            .offset = 0,
                            .body = std::move(body)});
    }
    template <typename Body, typename Neutral>
    void add(HvmType type, const RecordTable<Neutral, Body>& table, const Neutral& from,
             std::size_t instance = 0, std::uint32_t length = 0) {
        Body body{};
        write_rows(table, from, body);
        add(type, std::move(body), instance, length);
    }
    [[nodiscard]] HvmContext take() { return std::move(context_); }

  private:
    HvmContext context_;
};

/// What Xen accepts of a processor's state, in the form in which it writes it itself (its debug builds assert
/// on it, and a processor refuses to be entered otherwise).
Vcpu normal_form(const Vcpu& vcpu) {
    constexpr std::uint64_t cr0_et = 0x10, reserved_flag = 2, low_half = 0xFFFFFFFF;
    constexpr std::uint32_t present = 0x80, accessed_code_or_data = 0x11, busy = 2;
    Vcpu to = vcpu;
    to.cr0 |= cr0_et;
    to.rflags |= reserved_flag;
    to.dr6 &= low_half;
    to.dr7 &= low_half;
    to.tsc_aux &= low_half;
    // TCG keeps a loaded task register as available; the processor marks it busy (SDM vol. 3, LTR).
    to.tr.attributes |= present | busy;
    for (auto* segment : {&to.cs, &to.ss, &to.ds, &to.es, &to.fs, &to.gs})
        if ((segment->attributes & present) && (segment->attributes & 0x10))
            segment->attributes |= accessed_code_or_data;
    to.gdtr.limit &= 0xFFFF;
    to.idtr.limit &= 0xFFFF;
    return to;
}

bool uses_xsave(const Vcpu& vcpu) {
    constexpr std::uint64_t osxsave = 1u << 18;
    return vcpu.online && (vcpu.cr4 & osxsave) && vcpu.extended && vcpu.extended->xcr0 != 0;
}

Result<CpuXsave> xsave_record(const Vcpu& vcpu, const CpuidPolicy& policy) {
    const auto& extended = *vcpu.extended;
    CpuXsave record{.xfeature_mask = extended.xcr0_accumulated,
                    .xcr0 = extended.xcr0,
                    .xcr0_accum = extended.xcr0_accumulated,
                    .area = {}};
    VMFERRY_ASSIGN(record.area, write_xsave_area(policy, vcpu.fpu, extended));
    return record;
}

CpuMsrs msrs_of(const Vcpu& vcpu) {
    CpuMsrs record;
    for (const auto& row : msr_table())
        if (row.member != nullptr && vcpu.*row.member != 0)
            record.entries.push_back({row.index, vcpu.*row.member});
    return record;
}

/// As Xen creates it and a guest finds it that has never used it.
hvm_hw_hpet idle_hpet() {
    hvm_hw_hpet hpet{};
    hpet.capability = 0xF424008086A201;
    for (auto& timer : hpet.timers) {
        timer.config = 0xF0000000000030;
        timer.cmp = ~std::uint64_t{0};
    }
    return hpet;
}

hvm_hw_vpic pic_record(const Pic& pic, bool master) {
    hvm_hw_vpic record{};
    write_rows(pic_table(), pic, record);
    record.is_master = master ? 1 : 0;
    return record;
}

/// Lengths differ by release: 24 or 32 bytes.
std::uint32_t lapic_length(const XenTemplate& xen) {
    for (const auto& record : xen.context)
        if (record.typecode == static_cast<std::uint16_t>(HvmType::lapic)) return record.length;
    return xen::lapic_length_without_esr;
}

/// Of a guest of QEMU's firmware: Xen's own block at 0xB000 is not used by anybody, the guest has the device
/// model's.
PowerManagement xen_power_management(const Machine& machine) {
    return machine.firmware == Firmware::hvmloader ? machine.pm : PowerManagement{};
}

struct Param {
    std::uint64_t index;
    bool is_page;  ///< a frame number
    std::uint64_t value;
};
/// The special pages of every release since 4.7, which libxenguest lays out below 0xFF000.
constexpr Param params[] = {
    {HVM_PARAM_STORE_PFN, true, 0xFEFFC},        {HVM_PARAM_IOREQ_PFN, true, 0xFEFFD},
    {HVM_PARAM_BUFIOREQ_PFN, true, 0xFEFFB},     {HVM_PARAM_PAGING_RING_PFN, true, 0xFEFF8},
    {HVM_PARAM_MONITOR_RING_PFN, true, 0xFEFF9}, {HVM_PARAM_SHARING_RING_PFN, true, 0xFEFFA},
    {HVM_PARAM_CONSOLE_PFN, true, 0xFEFFF},      {HVM_PARAM_ACPI_IOPORTS_LOCATION, false, 1},
    {HVM_PARAM_IDENT_PT, false, 0xFEFFE000},     {HVM_PARAM_IOREQ_SERVER_PFN, true, 0xFEFF0},
    {HVM_PARAM_NR_IOREQ_SERVER_PAGES, false, 8},
};

}  // namespace

Result<HvmContext> write_machine(const Machine& machine, const XenPlan& plan, const XenTemplate& xen) {
    Writer out;
    hvm_save_header header{};
    if (const auto* theirs = find_record<hvm_save_header>(xen.context)) header = *theirs;
    header.magic = HVM_FILE_MAGIC;
    header.version = HVM_FILE_VERSION;
    header.gtsc_khz = plan.tsc_khz;
    out.add(HvmType::header, header);

    const auto each_vcpu = [&machine](const auto& action) {
        for (std::size_t n = 0; n < machine.vcpus.size(); ++n) action(machine.vcpus[n], n);
    };
    each_vcpu([&](const Vcpu& vcpu, std::size_t n) {
        if (vcpu.online) out.add(HvmType::cpu, cpu_table(), normal_form(vcpu), n);
    });
    for (unsigned chip = 0; chip < 2; ++chip)
        out.add(HvmType::pic, pic_record(machine.pic[chip], chip == 0), chip);
    out.add(HvmType::ioapic, ioapic_table(), machine.ioapic);
    each_vcpu([&](const Vcpu& vcpu, std::size_t n) {
        out.add(HvmType::lapic, lapic_table(), vcpu.lapic, n, lapic_length(xen));
    });
    each_vcpu([&](const Vcpu& vcpu, std::size_t n) {
        out.add(HvmType::lapic_regs, lapic_regs_table(), vcpu.lapic, n);
    });
    out.add(HvmType::pci_irq, pci_irq_table(), machine.wires);
    out.add(HvmType::isa_irq, isa_irq_table(), machine.wires);
    out.add(HvmType::pci_link, pci_link_table(), machine.wires);
    out.add(HvmType::pit, pit_table(), machine.pit);
    out.add(HvmType::rtc, rtc_table(), machine.rtc);
    out.add(HvmType::hpet, idle_hpet());
    out.add(HvmType::pmtimer, pmtimer_table(), xen_power_management(machine));
    each_vcpu([&](const Vcpu& vcpu, std::size_t n) { out.add(HvmType::mtrr, mtrr_table(), vcpu.mtrr, n); });
    for (std::size_t n = 0; n < machine.vcpus.size(); ++n) {
        if (!uses_xsave(machine.vcpus[n])) continue;
        VMFERRY_ASSIGN(auto record, xsave_record(machine.vcpus[n], plan.cpuid));
        out.add(HvmType::cpu_xsave, std::move(record), n);
    }
    // What the destination's Xen offers of machine checks; no bank holds an error.
    if (const auto* offered = find_record<hvm_vmce_vcpu>(xen.context))
        each_vcpu([&](const Vcpu&, std::size_t n) { out.add(HvmType::vmce_vcpu, *offered, n); });
    each_vcpu(
        [&](const Vcpu& vcpu, std::size_t n) { out.add(HvmType::tsc_adjust, tsc_adjust_table(), vcpu, n); });
    each_vcpu([&](const Vcpu& vcpu, std::size_t n) {
        if (auto record = msrs_of(vcpu); !record.entries.empty())
            out.add(HvmType::cpu_msr, std::move(record), n);
    });
    return out.take();
}

Result<std::vector<HvmParam>> write_params(const XenTemplate& xen, Firmware firmware) {
    std::vector<HvmParam> out;
    for (const auto& param : params) {
        const auto theirs = std::ranges::find(xen.params, param.index, &HvmParam::index);
        if (param.is_page && theirs != xen.params.end() && theirs->value != param.value)
            return environment_error("template", fmt::format("reading HVM parameter {}", param.index),
                                     fmt::format("page {:#x}", theirs->value),
                                     fmt::format("{:#x}, as in all released versions", param.value));
        out.push_back({param.index, param.value});
    }
    // hvmloader's area holds a task state segment for real mode on processors that need one there.
    const auto segment =
        std::ranges::find(xen.params, std::uint64_t{HVM_PARAM_VM86_TSS_SIZED}, &HvmParam::index);
    if (firmware == Firmware::hvmloader && segment != xen.params.end()) out.push_back(*segment);
    return out;
}

TscInfo write_tsc_info(const Machine& machine, const XenPlan& plan) {
    std::uint64_t tsc = 0;
    for (const auto& vcpu : machine.vcpus)
        if (vcpu.online) {
            tsc = vcpu.tsc;
            break;
        }
    constexpr std::uint64_t ns_in_ms = 1'000'000;
    return {.mode = static_cast<std::uint32_t>(plan.tsc_mode),
            .khz = plan.tsc_khz,
            .nsec = plan.tsc_khz == 0 ? 0 : scale(tsc, ns_in_ms, plan.tsc_khz),
            .incarnation = 1};
}

}  // namespace vmferry::xen
