// The registers that no instruction of the main loop changes: control, debug, segment and model-specific
// registers. Each has a value of its own where the CPU lets one choose; all are read again in every round.
//
//   GDT  08 -  10 64-bit code  18 DS  20 ES  28 SS  30 FS  38 GS  40 LDT  50 TSS          LDT  0C data
//
// That LDTR and TR point to their tables, which cannot be read, shows in use: LAR on the LDT's selector, and
// the stacks of interrupts. That DR7 is not only a number shows in DR3, which watches a word that is written
// here.
#include <initializer_list>

#include "console.hpp"
#include "machine.hpp"
#include "processor.hpp"
#include "ticks.hpp"

namespace {

constexpr uint16_t DATA[] = {0x18, 0x20, 0x28, 0x30, 0x38};
constexpr uint16_t LDT = 0x40, TSS = 0x50, IN_LDT = 0x0C;

struct Msr {
    const char* name;
    uint32_t number;
};

// SDM 4; AMD64 APM 2 appendix A.
constexpr Msr MSRS[] = {{"msr.apic_base", 0x1B},
                        {"msr.feature_control", 0x3A},
                        {"msr.tsc_adjust", 0x3B},
                        {"msr.spec_ctrl", 0x48},
                        {"msr.microcode", 0x8B},
                        {"msr.platform_info", 0xCE},
                        {"msr.mtrr.capabilities", 0xFE},
                        {"msr.arch_capabilities", 0x10A},
                        {"msr.sysenter_cs", 0x174},
                        {"msr.sysenter_esp", 0x175},
                        {"msr.sysenter_eip", 0x176},
                        {"msr.mcg_capabilities", 0x179},
                        {"msr.mcg_status", 0x17A},
                        {"msr.mcg_control", 0x17B},
                        {"msr.misc_enable", 0x1A0},
                        {"msr.debug_control", 0x1D9},
                        {"msr.mtrr.fixed.64k_00000", 0x250},
                        {"msr.mtrr.fixed.16k_80000", 0x258},
                        {"msr.mtrr.fixed.16k_a0000", 0x259},
                        {"msr.mtrr.fixed.4k_c0000", 0x268},
                        {"msr.mtrr.fixed.4k_c8000", 0x269},
                        {"msr.mtrr.fixed.4k_d0000", 0x26A},
                        {"msr.mtrr.fixed.4k_d8000", 0x26B},
                        {"msr.mtrr.fixed.4k_e0000", 0x26C},
                        {"msr.mtrr.fixed.4k_e8000", 0x26D},
                        {"msr.mtrr.fixed.4k_f0000", 0x26E},
                        {"msr.mtrr.fixed.4k_f8000", 0x26F},
                        {"msr.pat", 0x277},
                        {"msr.mtrr.type", 0x2FF},
                        {"msr.tsc_deadline", 0x6E0},
                        {"msr.xss", 0xDA0},
                        {"efer", 0xC0000080},
                        {"msr.star", 0xC0000081},
                        {"msr.lstar", 0xC0000082},
                        {"msr.cstar", 0xC0000083},
                        {"msr.fmask", 0xC0000084},
                        {"fs_base", 0xC0000100},
                        {"gs_base", 0xC0000101},
                        {"msr.kernel_gs_base", 0xC0000102},
                        {"msr.tsc_aux", 0xC0000103},
                        {"msr.syscfg", 0xC0010010},
                        {"msr.hwcr", 0xC0010015},
                        {"msr.nb_cfg", 0xC001001F},
                        {"msr.vm_cr", 0xC0010114},
                        {"msr.osvw_length", 0xC0010140},
                        {"msr.osvw_status", 0xC0010141}};

// SDM 3A table 11-1; of the first CPU report.cpp tells these, and more.
constexpr struct {
    const char* name;
    uint16_t offset;
} LAPIC_REGISTERS[] = {
    {"lapic.id", 0x20},           {"lapic.tpr", 0x80},           {"lapic.logical", 0xD0},
    {"lapic.format", 0xE0},       {"lapic.spurious", 0xF0},      {"lapic.lvt_timer", 0x320},
    {"lapic.lvt_thermal", 0x330}, {"lapic.lvt_counters", 0x340}, {"lapic.lvt_lint0", 0x350},
    {"lapic.lvt_lint1", 0x360},   {"lapic.lvt_error", 0x370},    {"lapic.initial", 0x380},
    {"lapic.divider", 0x3E0}};

constexpr uint32_t MTRR_BASE = 0x200;

bool has_ymm() {
    return (cpuid(1).c & (1 << 26 | 1 << 28)) == (1 << 26 | 1 << 28);
}

// SDM 3A 3.4.5: base and limit are ignored in 64-bit mode but for FS and GS, and are kept by the CPU
// nevertheless.
uint64_t data_descriptor(uint64_t base, uint64_t limit, bool pages) {
    return (limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | uint64_t(0x93) << 40 | (limit >> 16 & 0xF) << 48 |
           uint64_t(pages ? 0xC : 0x4) << 52 | (base >> 24) << 56;
}

void system_descriptor(uint64_t* at, uint64_t base, uint64_t limit, uint64_t type) {
    at[0] = (limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | (0x80 | type) << 40 | (base >> 24 & 0xFF) << 56;
    at[1] = base >> 32;
}

void load_tables(Cpu& cpu) {
    cpu.gdt[2] = 0x00AF9B000000FFFF;
    for (unsigned i = 0; i < 5; ++i)
        cpu.gdt[DATA[i] / 8] =
            data_descriptor(0x01100000 * (i + 1) + 0x1000 * cpu.index, 0x10101 * (i + 1) + cpu.index, i & 1);
    cpu.ldt[1] = data_descriptor(0x07700000, 0x77777, true);
    system_descriptor(cpu.gdt + LDT / 8, reinterpret_cast<uint64_t>(cpu.ldt), sizeof cpu.ldt - 1, 2);
    system_descriptor(cpu.gdt + TSS / 8, reinterpret_cast<uint64_t>(&cpu.task), sizeof cpu.task - 1, 9);
    cpu.task = {};
    cpu.task.rsp[0] = reinterpret_cast<uint64_t>(cpu.exception_stack + sizeof cpu.exception_stack);
    cpu.task.ist[0] = reinterpret_cast<uint64_t>(cpu.interrupt_stack + sizeof cpu.interrupt_stack);
    cpu.task.ist[1] = reinterpret_cast<uint64_t>(cpu.exception_stack + sizeof cpu.exception_stack);
    cpu.task.io_map = sizeof cpu.task;
    const struct [[gnu::packed]] {
        uint16_t limit;
        uint64_t base;
    } pointer{uint16_t(TSS + 15), reinterpret_cast<uint64_t>(cpu.gdt)};
    asm volatile("lgdt %0" ::"m"(pointer));
    asm volatile("push $0x10; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:" ::: "rax", "memory");
    asm volatile("mov %0, %%ds" ::"r"(DATA[0]));
    asm volatile("mov %0, %%es" ::"r"(DATA[1]));
    asm volatile("mov %0, %%ss" ::"r"(DATA[2]));
    asm volatile("mov %0, %%fs" ::"r"(DATA[3]));
    asm volatile("mov %0, %%gs" ::"r"(DATA[4]));
    asm volatile("lldt %0" ::"r"(LDT));
    asm volatile("ltr %0" ::"r"(TSS));
    interrupts_load();
}

// Canonical, and of this CPU only.
uint64_t pattern(const Cpu& cpu, uint64_t n, bool high) {
    return (high ? 0xFFFF800000000000 : 0x0000700000000000) | n << 36 | uint64_t(cpu.index + 1) << 28 |
           0x5A3C0F0 | n;
}

void write_msrs(const Cpu& cpu) {
    write_msr_guarded(0xC0000100, pattern(cpu, 1, false));
    write_msr_guarded(0xC0000101, reinterpret_cast<uint64_t>(&cpu));
    write_msr_guarded(0xC0000102, pattern(cpu, 2, true));
    write_msr_guarded(0xC0000081, 0x0023001000000000 | pattern(cpu, 3, false) << 32 >> 32);
    write_msr_guarded(0xC0000082, pattern(cpu, 4, true));
    write_msr_guarded(0xC0000083, pattern(cpu, 5, true));
    write_msr_guarded(0xC0000084, 0x00047700 + cpu.index);
    write_msr_guarded(0x174, 0x0130 + 8 * cpu.index);
    write_msr_guarded(0x175, pattern(cpu, 6, false));
    write_msr_guarded(0x176, pattern(cpu, 7, true));
    write_msr_guarded(0x277, 0x0105040600070406);  // entry 0, which all pages use, remains write-back
    if (cpuid(0x80000001).d & 1 << 27) write_msr_guarded(0xC0000103, 0xA0C0E000 + cpu.index);
    // The last variable range, which BIOSes leave alone: 1 MiB where nothing is, write-protected.
    if (const unsigned count = read_msr(0xFE) & 0xFF) {
        const unsigned bits = cpuid(0x80000000).a >= 0x80000008 ? cpuid(0x80000008).a & 0xFF : 36;
        write_msr_guarded(MTRR_BASE + 2 * (count - 1), 0xD0000000 | 5);
        write_msr_guarded(MTRR_BASE + 2 * (count - 1) + 1,
                          (((uint64_t(1) << bits) - 1) & ~uint64_t(0xFFFFF)) | 0x800);
    }
}

void write_control_registers(Cpu& cpu) {
    const Cpuid features = cpuid(7);
    const bool has_7 = cpuid(0).a >= 7;
    uint64_t cr4 = 0x7E8;                              // DE PAE MCE PGE PCE OSFXSR OSXMMEXCPT
    if (has_7 && features.b & 1) cr4 |= 1 << 16;       // FSGSBASE
    if (has_7 && features.b & 1 << 7) cr4 |= 1 << 20;  // SMEP
    if (has_7 && features.c & 1 << 2) cr4 |= 1 << 11;  // UMIP
    cpu.has_ymm = has_ymm();
    if (cpu.has_ymm) cr4 |= 1 << 18;  // OSXSAVE
    asm volatile("mov %0, %%cr4" ::"r"(cr4));
    if (cpu.has_ymm) asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
    uint64_t cr3;
    asm volatile("mov %%cr3, %0" : "=r"(cr3));
    asm volatile("mov %0, %%cr3" ::"r"(cr3 | 8) : "memory");    // PWT
    asm volatile("mov %0, %%cr0" ::"r"(uint64_t(0x80050033)));  // PG AM WP NE ET MP PE
    asm volatile("mov %0, %%cr2" ::"r"(pattern(cpu, 8, true)));
    asm volatile("fninit");
}

// SDM 3B 17.2: 0 to 2 watch words that nothing touches (8, 4 and 2 bytes), 3 watches trap_word.
void arm_breakpoints(Cpu& cpu) {
    asm volatile("mov %0, %%dr0" ::"r"(&cpu.harmless[0]));
    asm volatile("mov %0, %%dr1" ::"r"(&cpu.harmless[1]));
    asm volatile("mov %0, %%dr2" ::"r"(&cpu.harmless[2]));
    asm volatile("mov %0, %%dr3" ::"r"(&cpu.trap_word));
    asm volatile("mov %0, %%dr6" ::"r"(uint64_t(0xFFFF0FF0)));
    asm volatile("mov %0, %%dr7" ::"r"(uint64_t(0x95F90799)));
}

void add(Cpu& cpu, const char* name, uint64_t value, uint16_t number = NO_NUMBER, bool absent = false) {
    if (cpu.controls < CONTROLS) cpu.values[cpu.controls++] = {name, value, number, absent};
}

uint64_t access_rights(uint64_t selector) {
    uint64_t rights = 0;
    asm volatile("lar %1, %0" : "+r"(rights) : "r"(selector) : "cc");
    return rights;
}

uint64_t segment_limit(uint64_t selector) {
    uint64_t limit = 0;
    asm volatile("lsl %1, %0" : "+r"(limit) : "r"(selector) : "cc");
    return limit;
}

void print_name(const Cpu& cpu, const Value& value) {
    print("cpu%u.%s", cpu.index, value.name);
    if (value.number != NO_NUMBER) print("%u", value.number);
}

void print_value(const Value& value) {
    if (value.absent)
        print("absent");
    else
        print("%x", value.value);
}

}  // namespace

void control_start(Cpu& cpu) {
    load_tables(cpu);
    write_control_registers(cpu);
    write_msrs(cpu);
    arm_breakpoints(cpu);
}

#define ADD_REGISTER(name)                                 \
    do {                                                   \
        uint64_t value = 0;                                \
        asm volatile("mov %%" #name ", %0" : "=r"(value)); \
        add(cpu, #name, value);                            \
    } while (false)
#define ADD_STORED(name, instruction)                             \
    do {                                                          \
        uint64_t value = 0;                                       \
        asm volatile(#instruction " %0" : "=r"(value)::"memory"); \
        add(cpu, name, value & 0xFFFF);                           \
    } while (false)
#define ADD_TABLE(name, instruction)                                \
    do {                                                            \
        struct [[gnu::packed]] {                                    \
            uint16_t limit;                                         \
            uint64_t base;                                          \
        } pointer{};                                                \
        asm volatile(#instruction " %0" : "=m"(pointer)::"memory"); \
        add(cpu, name ".base", pointer.base);                       \
        add(cpu, name ".limit", pointer.limit);                     \
    } while (false)

void control_collect(Cpu& cpu) {
    cpu.controls = 0;
    ADD_REGISTER(cr0);
    ADD_REGISTER(cr2);
    ADD_REGISTER(cr3);
    ADD_REGISTER(cr4);
    ADD_REGISTER(cr8);
    ADD_REGISTER(cs);
    ADD_REGISTER(ds);
    ADD_REGISTER(es);
    ADD_REGISTER(ss);
    ADD_REGISTER(fs);
    ADD_REGISTER(gs);
    ADD_STORED("ldtr", sldt);
    ADD_STORED("tr", str);
    ADD_TABLE("gdtr", sgdt);
    ADD_TABLE("idtr", sidt);
    for (const uint16_t selector : {DATA[0], DATA[2], DATA[4], TSS, IN_LDT}) {
        add(cpu, "rights.", access_rights(selector), selector);
        add(cpu, "limit.", segment_limit(selector), selector);
    }
    const uint32_t taken = cpu.breakpoints;
    store<uint64_t>(reinterpret_cast<uint64_t>(&cpu.trap_word), taken);
    add(cpu, "breakpoints_taken", cpu.breakpoints - taken);
    ADD_REGISTER(dr0);
    ADD_REGISTER(dr1);
    ADD_REGISTER(dr2);
    ADD_REGISTER(dr3);
    ADD_REGISTER(dr6);
    ADD_REGISTER(dr7);
    uint32_t low = 0, high = 0;
    if (cpu.has_ymm) asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    add(cpu, "xcr0", low, NO_NUMBER, !cpu.has_ymm);
    for (const Msr& msr : MSRS) {
        uint64_t value = 0;
        const bool there = read_msr_guarded(msr.number, &value);
        add(cpu, msr.name, value, NO_NUMBER, !there);
    }
    if (cpu.index)
        for (const auto& r : LAPIC_REGISTERS) add(cpu, r.name, load<uint32_t>(LAPIC + r.offset));
    const unsigned ranges = read_msr(0xFE) & 0xFF;
    for (unsigned i = 0; i < ranges; ++i) {
        add(cpu, "msr.mtrr.base", read_msr(MTRR_BASE + 2 * i), i);
        add(cpu, "msr.mtrr.mask", read_msr(MTRR_BASE + 2 * i + 1), i);
    }
}

void control_expect(Cpu& cpu) {
    for (unsigned i = 0; i < cpu.controls; ++i) cpu.expected[i] = cpu.values[i];
}

unsigned control_compare(Cpu& cpu) {
    unsigned changed = 0;
    for (unsigned i = 0; i < cpu.controls; ++i) {
        const Value &expected = cpu.expected[i], &found = cpu.values[i];
        if (expected.value == found.value && expected.absent == found.absent) continue;
        ++changed;
        print("changed ");
        print_name(cpu, found);
        print(" expected ");
        print_value(expected);
        print(" found ");
        print_value(found);
        print("\n");
    }
    control_expect(cpu);  // a change is told once; reports have the value
    return changed;
}

void control_report(const Cpu& cpu) {
    for (unsigned i = 0; i < cpu.controls; ++i) {
        print_name(cpu, cpu.values[i]);
        print(" ");
        print_value(cpu.values[i]);
        print("\n");
    }
}
