// What each CPU has: the registers it holds, its tables and its stacks, in one block of 32 KiB.
//
//   +0000 wanted | +0300 found | +0600 for hold.S | values, expected | GDT, LDT, TSS
//   +3000 stack held in RSP | +4000 IST1, interrupts | +5000 IST2, exceptions | +6000 the C++ code's stack,
//   to +8000
//
// The block is aligned to its size, so whatever stack is in use tells which CPU this is.
#pragma once
#include <cstddef>
#include <cstdint>

struct Registers {
    uint64_t general[16];  // rax rcx rdx rbx rsp rbp rsi rdi r8..r15
    uint64_t rflags;
    uint64_t mxcsr;
    uint8_t x87[112];  // FSAVE in protected mode: SDM 1 figure 8-9; 108 bytes
    uint64_t vectors[16][4];
};

struct Value {
    const char* name;
    uint64_t value;
    uint16_t number;  // appended to the name if not NO_NUMBER
    bool absent;
};

constexpr uint16_t NO_NUMBER = 0xFFFF;

struct [[gnu::packed]] TaskState {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, io_map;
};

constexpr unsigned CONTROLS = 160;
constexpr unsigned MOST_CPUS = 8;

struct alignas(0x8000) Cpu {
    Registers wanted, found;
    uint64_t hold_next, hold_return, has_ymm;
    uint32_t index, lapic_id;
    volatile uint32_t online, rounds, breakpoints;
    unsigned controls;
    Value values[CONTROLS], expected[CONTROLS];
    alignas(16) uint64_t gdt[32];
    alignas(16) uint64_t ldt[4];
    alignas(16) TaskState task;
    uint64_t trap_word, harmless[3];
    alignas(0x1000) uint8_t held_stack[0x1000];
    uint8_t interrupt_stack[0x1000], exception_stack[0x1000], stack[0x2000];
};
static_assert(sizeof(Registers) == 0x300 && offsetof(Cpu, hold_next) == 0x600 && sizeof(Cpu) == 0x8000);
static_assert(sizeof(TaskState) == 104);

extern Cpu cpus[MOST_CPUS];
extern unsigned cpu_count;

inline Cpu& this_cpu() {
    uint64_t rsp;
    asm("mov %%rsp, %0" : "=r"(rsp));
    return *reinterpret_cast<Cpu*>(rsp & ~uint64_t(sizeof(Cpu) - 1));
}

// interrupt.S pushes it.
struct Frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

extern "C" void hold();
extern "C" char hold_spin[], hold_halt[], hold_done[];

// held.cpp: the registers of hold.S.
void held_prepare(Cpu& cpu, uint32_t round);
unsigned held_compare(const Cpu& cpu);  // prints, counts

// control.cpp: the others.
void control_start(Cpu& cpu);
void control_collect(Cpu& cpu);  // on that CPU
void control_expect(Cpu& cpu);   // that nothing changes from here on
unsigned control_compare(Cpu& cpu);
void control_report(const Cpu& cpu);

// processors.cpp
void processors_start(unsigned wanted);
unsigned processors_compare();  // lets every other CPU leave its hold and compare

// interrupts.cpp
void interrupts_load();
