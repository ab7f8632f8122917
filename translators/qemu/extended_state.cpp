#include "translators/qemu/extended_state.hpp"

#include <algorithm>

#include "translators/fxsave.hpp"
#include "translators/qemu/row.hpp"

namespace vmferry::qemu {
namespace {

Struct record(std::string vmsd, std::vector<Field> fields) {
    return {.vmsd_name = std::move(vmsd), .version = 1, .fields = std::move(fields), .subsections = {}};
}
Field records_field(std::string name, std::vector<Struct> elements) {
    Field field{.name = std::move(name),
                .type = "struct",
                .count = static_cast<std::uint32_t>(elements.size()),
                .size = 0,
                .data = {},
                .elements = {}};
    field.elements = std::move(elements);
    return field;
}
Field quad(std::string name, std::uint64_t value) {
    return integer_field(std::move(name), "uint64", 8, value);
}
std::string quarter(std::size_t n) {
    return fmt::format("_q_ZMMReg[{}]", n);
}

/// Bits 256–511 of ZMM0–15, or all of ZMM16–31.
template <std::size_t Quads>
Field vectors_field(std::string name, std::string vmsd, std::size_t first,
                    const std::array<std::array<std::uint64_t, Quads>, 16>& values) {
    std::vector<Struct> elements;
    for (const auto& value : values) {
        std::vector<Field> fields;
        fields.reserve(Quads);
        for (std::size_t i = 0; i < Quads; ++i) fields.push_back(quad(quarter(first + i), value[i]));
        elements.push_back(record(vmsd, std::move(fields)));
    }
    return records_field(std::move(name), std::move(elements));
}

bool any(const auto& values) {
    return std::ranges::any_of(values,
                               [](const auto& value) { return value != std::decay_t<decltype(value)>{}; });
}

void write_bounds(const Vcpu& vcpu, const ExtendedState& extended, Section& cpu) {
    std::vector<Field> fields;
    if (any(extended.bound_low) || any(extended.bound_high) || extended.bndcfgu || extended.bndstatus ||
        vcpu.bndcfgs) {
        std::vector<Struct> registers;
        registers.reserve(4);
        for (std::size_t i = 0; i < 4; ++i)
            registers.push_back(
                record("bnd_regs", {quad("lb", extended.bound_low[i]), quad("ub", extended.bound_high[i])}));
        fields = {records_field("env.bnd_regs", std::move(registers)),
                  quad("env.bndcs_regs.cfgu", extended.bndcfgu),
                  quad("env.bndcs_regs.sts", extended.bndstatus), quad("env.msr_bndcfgs", vcpu.bndcfgs)};
    }
    set_subsection(cpu, "cpu/mpx", std::move(fields));
}

void write_avx512(const ExtendedState& extended, Section& cpu) {
    std::vector<Field> fields;
    if (any(extended.opmask) || any(extended.zmm_high) || any(extended.zmm_upper))
        fields = {quads_field("env.opmask_regs", extended.opmask.data(), 8),
                  vectors_field("env.xmm_regs[0]", "zmmh_reg", 4, extended.zmm_high),
                  vectors_field("env.xmm_regs[1]", "hi16_zmm_reg", 0, extended.zmm_upper)};
    set_subsection(cpu, "cpu/avx512", std::move(fields));
}

void write_last_instruction(const Fpu& fpu, Section& cpu) {
    std::vector<Field> fields;
    if (fpu.opcode || fpu.instruction_pointer || fpu.data_pointer)
        fields = {integer_field("env.fpop", "uint16", 2, fpu.opcode),
                  quad("env.fpip", fpu.instruction_pointer), quad("env.fpdp", fpu.data_pointer)};
    set_subsection(cpu, "cpu/fpop_ip_dp", std::move(fields));
}

/// Value of a field of an optional subsection, 0 without it.
Result<std::uint64_t> get_or_zero(const Section& cpu, std::string_view subsection, std::string_view path) {
    if (!cpu.subsection(subsection)) return std::uint64_t{0};
    return cpu.get(fmt::format("+{}|{}", subsection, path));
}

}  // namespace

Result<void> write_extended_state(const Vcpu& vcpu, Section& cpu) {
    const auto& extended = *vcpu.extended;
    VMFERRY_TRY(cpu.set("env.xcr0", extended.xcr0));
    VMFERRY_TRY(cpu.set("env.xstate_bv", extended.xstate_bv));
    for (std::size_t i = 0; i < 16; ++i) {
        VMFERRY_TRY(cpu.set(fmt::format("env.xmm_regs[1]|{}|{}", i, quarter(2)), extended.ymm_high[i].low));
        VMFERRY_TRY(cpu.set(fmt::format("env.xmm_regs[1]|{}|{}", i, quarter(3)), extended.ymm_high[i].high));
    }
    std::vector<Field> keys;
    if (extended.pkru != 0) keys.push_back(integer_field("env.pkru", "uint32", 4, extended.pkru));
    set_subsection(cpu, "cpu/pkru", std::move(keys));
    write_bounds(vcpu, extended, cpu);
    write_avx512(extended, cpu);
    write_last_instruction(vcpu.fpu, cpu);
    return {};
}

Result<void> read_extended_state(const Section& cpu, Vcpu& vcpu) {
    auto& extended = vcpu.extended.emplace();
    VMFERRY_ASSIGN(extended.xcr0, cpu.get("env.xcr0"));
    VMFERRY_ASSIGN(extended.xstate_bv, cpu.get("env.xstate_bv"));
    extended.xcr0_accumulated = extended.xcr0;
    for (std::size_t i = 0; i < 16; ++i) {
        VMFERRY_ASSIGN(extended.ymm_high[i].low,
                       cpu.get(fmt::format("env.xmm_regs[1]|{}|{}", i, quarter(2))));
        VMFERRY_ASSIGN(extended.ymm_high[i].high,
                       cpu.get(fmt::format("env.xmm_regs[1]|{}|{}", i, quarter(3))));
    }
    VMFERRY_ASSIGN(const auto pkru, get_or_zero(cpu, "cpu/pkru", "env.pkru"));
    extended.pkru = static_cast<std::uint32_t>(pkru);
    for (std::size_t i = 0; i < 4; ++i) {
        VMFERRY_ASSIGN(extended.bound_low[i],
                       get_or_zero(cpu, "cpu/mpx", fmt::format("env.bnd_regs|{}|lb", i)));
        VMFERRY_ASSIGN(extended.bound_high[i],
                       get_or_zero(cpu, "cpu/mpx", fmt::format("env.bnd_regs|{}|ub", i)));
    }
    VMFERRY_ASSIGN(extended.bndcfgu, get_or_zero(cpu, "cpu/mpx", "env.bndcs_regs.cfgu"));
    VMFERRY_ASSIGN(extended.bndstatus, get_or_zero(cpu, "cpu/mpx", "env.bndcs_regs.sts"));
    VMFERRY_ASSIGN(vcpu.bndcfgs, get_or_zero(cpu, "cpu/mpx", "env.msr_bndcfgs"));
    for (std::size_t i = 0; i < 8; ++i) {
        VMFERRY_ASSIGN(extended.opmask[i],
                       get_or_zero(cpu, "cpu/avx512", fmt::format("env.opmask_regs|{}", i)));
    }
    for (std::size_t i = 0; i < 16; ++i) {
        for (std::size_t q = 0; q < 4; ++q) {
            VMFERRY_ASSIGN(
                extended.zmm_high[i][q],
                get_or_zero(cpu, "cpu/avx512", fmt::format("env.xmm_regs[0]|{}|{}", i, quarter(4 + q))));
        }
        for (std::size_t q = 0; q < 8; ++q) {
            VMFERRY_ASSIGN(
                extended.zmm_upper[i][q],
                get_or_zero(cpu, "cpu/avx512", fmt::format("env.xmm_regs[1]|{}|{}", i, quarter(q))));
        }
    }
    VMFERRY_ASSIGN(const auto opcode, get_or_zero(cpu, "cpu/fpop_ip_dp", "env.fpop"));
    vcpu.fpu.opcode = static_cast<std::uint16_t>(opcode);
    VMFERRY_ASSIGN(vcpu.fpu.instruction_pointer, get_or_zero(cpu, "cpu/fpop_ip_dp", "env.fpip"));
    VMFERRY_ASSIGN(vcpu.fpu.data_pointer, get_or_zero(cpu, "cpu/fpop_ip_dp", "env.fpdp"));
    return {};
}

}  // namespace vmferry::qemu
