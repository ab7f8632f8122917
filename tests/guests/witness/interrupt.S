# The entry of every vector: the CPU's frame, an error code (or 0), the vector, the registers; see Frame in processor.hpp.
# Only general registers are saved: the C++ code is compiled to use no others.

        .set ENTRY_SIZE, 16
        .globl vector_entries
        .text
        .balign ENTRY_SIZE
vector_entries:
        .set vector, 0
        .rept 256
        .balign ENTRY_SIZE
        # SDM 3A table 6-1: the exceptions that push an error code.
        .if !((vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21))
        push $0
        .endif
        push $vector
        jmp common
        .set vector, vector + 1
        .endr

common: cld
        .irp register, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
        push %\register
        .endr
        mov %rsp, %rdi
        call interrupt
        .irp register, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
        pop %\register
        .endr
        add $16, %rsp
        iretq

# bool read_msr_guarded(uint32_t number, uint64_t* value), bool write_msr_guarded(uint32_t number, uint64_t value): a #GP at
# guarded_read or guarded_write continues at guarded_failed.
        .globl read_msr_guarded, write_msr_guarded, guarded_read, guarded_write, guarded_failed
read_msr_guarded:
        mov %edi, %ecx
guarded_read:
        rdmsr
        shl $32, %rdx
        or %rdx, %rax
        mov %rax, (%rsi)
        mov $1, %eax
        ret

write_msr_guarded:
        mov %edi, %ecx
        mov %esi, %eax
        mov %rsi, %rdx
        shr $32, %rdx
guarded_write:
        wrmsr
        mov $1, %eax
        ret

guarded_failed:
        xor %eax, %eax
        ret
