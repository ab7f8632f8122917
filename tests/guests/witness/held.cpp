// The registers that hold.S loads and stores, each with a value of its own, another one in every round.
#include "console.hpp"
#include "machine.hpp"
#include "processor.hpp"

namespace {

constexpr const char* GENERAL[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
// SDM 1 3.4.3: CF PF AF ZF SF DF OF IOPL AC ID, in two halves; always IF and bit 1. TF would trap, NT would
// fault at IRET.
constexpr uint64_t FLAGS[2] = {0x00041686 | 2, 0x00202A51 | 2};
// Rounding mode and sticky flags differ, every exception is masked.
constexpr uint64_t MXCSR[2] = {0x3F95, 0xDFAA};
constexpr uint16_t X87_CONTROL[2] = {0x077F, 0x0A7F};
constexpr uint16_t X87_STATUS[2] = {0x0000 | 3 << 11 | 0x4021, 0x0000 | 6 << 11 | 0x0510};

void put16(uint8_t* at, uint16_t value) {
    at[0] = value;
    at[1] = value >> 8;
}

uint16_t get16(const uint8_t* at) {
    return at[0] | at[1] << 8;
}

uint64_t get64(const uint8_t* at) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; --i) value = value << 8 | at[i];
    return value;
}

// No two registers of any CPUs hold the same, so a swap shows.
uint64_t pattern(const Cpu& cpu, uint32_t round, unsigned number) {
    return (uint64_t(cpu.index + 1) << 56 | uint64_t(number) << 48 | round) * 0x0001000100010003 ^
           0x5AC3A53C0FF0C35A;
}

struct Comparison {
    const Cpu& cpu;
    unsigned changed = 0;

    void operator()(const char* name, unsigned n, bool numbered, uint64_t expected, uint64_t found) {
        if (expected == found) return;
        ++changed;
        if (numbered)
            print("changed cpu%u.%s%u expected %x found %x\n", cpu.index, name, n, expected, found);
        else
            print("changed cpu%u.%s expected %x found %x\n", cpu.index, name, expected, found);
    }
};

}  // namespace

void held_prepare(Cpu& cpu, uint32_t round) {
    Registers& r = cpu.wanted;
    for (unsigned i = 0; i < 16; ++i) r.general[i] = pattern(cpu, round, i);
    r.general[4] = reinterpret_cast<uint64_t>(cpu.held_stack + 0xF00 - round % 16 * 16);
    r.rflags = FLAGS[round & 1];
    r.mxcsr = MXCSR[round & 1];
    // Tag word 0: eight valid numbers. The instruction and operand pointers are not compared: SDM 1 8.1.8
    // lets CPUs drop them.
    for (auto& byte : r.x87) byte = 0;
    put16(r.x87, X87_CONTROL[round & 1]);
    put16(r.x87 + 4, X87_STATUS[round & 1]);
    for (unsigned i = 0; i < 8; ++i) {
        const uint64_t significand = pattern(cpu, round, 16 + i) | uint64_t(1) << 63;
        for (unsigned k = 0; k < 8; ++k) r.x87[28 + 10 * i + k] = significand >> 8 * k;
        put16(r.x87 + 28 + 10 * i + 8, 0x3FF0 + i + (i & 1 ? 0x8000 : 0));
    }
    for (unsigned i = 0; i < 16; ++i)
        for (unsigned k = 0; k < 4; ++k) r.vectors[i][k] = pattern(cpu, round, 24 + 4 * i + k);
}

unsigned held_compare(const Cpu& cpu) {
    const Registers &e = cpu.wanted, &f = cpu.found;
    Comparison compare{cpu};
    for (unsigned i = 0; i < 16; ++i) compare(GENERAL[i], 0, false, e.general[i], f.general[i]);
    compare("rflags", 0, false, e.rflags, f.rflags);
    compare("mxcsr", 0, false, e.mxcsr, f.mxcsr);
    compare("x87.control", 0, false, get16(e.x87), get16(f.x87));
    compare("x87.status", 0, false, get16(e.x87 + 4), get16(f.x87 + 4));
    compare("x87.tag", 0, false, get16(e.x87 + 8), get16(f.x87 + 8));
    for (unsigned i = 0; i < 8; ++i) {
        compare("x87.significand", i, true, get64(e.x87 + 28 + 10 * i), get64(f.x87 + 28 + 10 * i));
        compare("x87.exponent", i, true, get16(e.x87 + 36 + 10 * i), get16(f.x87 + 36 + 10 * i));
    }
    for (unsigned i = 0; i < 16; ++i) {
        compare("xmm.low", i, true, e.vectors[i][0], f.vectors[i][0]);
        compare("xmm.high", i, true, e.vectors[i][1], f.vectors[i][1]);
        if (!cpu.has_ymm) continue;
        compare("ymm.low", i, true, e.vectors[i][2], f.vectors[i][2]);
        compare("ymm.high", i, true, e.vectors[i][3], f.vectors[i][3]);
    }
    return compare.changed;
}
