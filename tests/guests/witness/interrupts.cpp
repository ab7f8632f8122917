// The interrupt descriptor table, and what becomes of an interrupt.
#include "console.hpp"
#include "machine.hpp"
#include "processor.hpp"
#include "ticks.hpp"

extern "C" char vector_entries[], guarded_read[], guarded_write[], guarded_failed[];

namespace {

alignas(16) uint64_t idt[256][2];
bool ready;

// SDM 3A 6.14.1: an interrupt gate of DPL 0 to 64-bit code at selector 10, on a stack of its own.
void fill() {
    for (unsigned i = 0; i < 256; ++i) {
        const auto entry = reinterpret_cast<uint64_t>(vector_entries) + 16 * i;
        const uint64_t stack = i < 32 ? 2 : 1;
        idt[i][0] = (entry & 0xFFFF) | uint64_t(0x10) << 16 | stack << 32 | uint64_t(0x8E00) << 32 |
                    (entry >> 16 & 0xFFFF) << 48;
        idt[i][1] = entry >> 32;
    }
    ready = true;
}

[[noreturn]] void die(const Frame& f) {
    uint64_t cr2;
    asm volatile("mov %%cr2, %0" : "=r"(cr2));
    print(
        "exception %2x cpu=%u error=%x rip=%x cs=%x rflags=%x rsp=%x ss=%x cr2=%x rax=%x rcx=%x rdx=%x "
        "rbx=%x rbp=%x rsi=%x "
        "rdi=%x r8=%x r9=%x r10=%x r11=%x r12=%x r13=%x r14=%x r15=%x\n",
        f.vector, this_cpu().index, f.error, f.rip, f.cs, f.rflags, f.rsp, f.ss, cr2, f.rax, f.rcx, f.rdx,
        f.rbx, f.rbp, f.rsi, f.rdi, f.r8, f.r9, f.r10, f.r11, f.r12, f.r13, f.r14, f.r15);
    for (;;) asm volatile("cli; hlt");
}

}  // namespace

void interrupts_load() {
    if (!ready) fill();
    const struct [[gnu::packed]] {
        uint16_t limit;
        uint64_t base;
    } pointer{sizeof idt - 1, reinterpret_cast<uint64_t>(idt)};
    asm volatile("lidt %0" ::"m"(pointer));
}

extern "C" void interrupt(Frame& frame) {
    Cpu& cpu = this_cpu();
    if (frame.vector == 1) {  // DR3 watches trap_word; the status is left as it is, a value to be kept
        cpu.breakpoints = cpu.breakpoints + 1;
    } else if (frame.vector == 13 && (frame.rip == reinterpret_cast<uint64_t>(guarded_read) ||
                                      frame.rip == reinterpret_cast<uint64_t>(guarded_write))) {
        frame.rip = reinterpret_cast<uint64_t>(guarded_failed);
    } else if (frame.vector < 32) {
        die(frame);
    } else if (cpu.index) {  // the only interrupt to go there is the first CPU's, after a round
        cpu.hold_next = reinterpret_cast<uint64_t>(hold_done);
        store<uint32_t>(LAPIC + 0xB0, 0);
    } else {
        ticks_interrupt(frame.vector);
    }
}
