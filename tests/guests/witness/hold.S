# void hold(): loads every register from this CPU's `wanted`, waits with interrupts enabled, stores them all in `found`.
#
# The wait is an indirect jump through memory: it needs no register and changes no flag, so that even those can be held.
# The interrupt that ends it stores hold_done there. GS has the CPU's base (Cpu in processor.hpp; offsets as there):
#
#   000 wanted   general registers 000 (rax rcx rdx rbx rsp rbp rsi rdi r8..r15), RFLAGS 080, MXCSR 088,
#                x87 in FSAVE's format 090, YMM0..15 100
#   300 found    the same
#   600 where the wait jumps to;  608 the stack to return with;  610 nonzero: YMM, else XMM
#
# Called with interrupts disabled, and returns so.

        .set WANTED, 0x000
        .set FOUND, 0x300
        .set NEXT, 0x600
        .set RETURN, 0x608
        .set HAS_YMM, 0x610
        .set RFLAGS, 0x80
        .set MXCSR, 0x88
        .set X87, 0x90
        .set VECTORS, 0x100

        .globl hold, hold_spin, hold_halt, hold_done
        .text
hold:
        .irp register, rbx, rbp, r12, r13, r14, r15
        push %\register
        .endr
        mov %rsp, %gs:RETURN
        frstor %gs:WANTED + X87
        ldmxcsr %gs:WANTED + MXCSR
        cmpb $0, %gs:HAS_YMM
        je 1f
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups %gs:WANTED + VECTORS + 32 * \n, %ymm\n
        .endr
        jmp 2f
1:
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups %gs:WANTED + VECTORS + 32 * \n, %xmm\n
        .endr
2:
        .set offset, 0
        .irp register, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
        mov %gs:WANTED + offset, %\register
        .set offset, offset + 8
        .endr
        pushq %gs:WANTED + RFLAGS
        popfq
        jmp *%gs:NEXT

hold_spin:
        pause
        jmp *%gs:NEXT

hold_halt:
        hlt
        jmp *%gs:NEXT

hold_done:
        .set offset, 0
        .irp register, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
        mov %\register, %gs:FOUND + offset
        .set offset, offset + 8
        .endr
        pushfq
        popq %gs:FOUND + RFLAGS
        cli
        cld
        stmxcsr %gs:FOUND + MXCSR
        fnsave %gs:FOUND + X87
        cmpb $0, %gs:HAS_YMM
        je 1f
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups %ymm\n, %gs:FOUND + VECTORS + 32 * \n
        .endr
        jmp 2f
1:
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups %xmm\n, %gs:FOUND + VECTORS + 32 * \n
        .endr
2:
        mov %gs:RETURN, %rsp
        .irp register, r15, r14, r13, r12, rbp, rbx
        pop %\register
        .endr
        ret
