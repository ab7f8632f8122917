# From the loader to 64-bit C++, for the first CPU and for the others.
#
#   0x008000            code in real mode of a CPU that got a startup IPI (copied there by processors.cpp)
#   0x010000            where a loader puts setup.S
#   0x100000            this image: code, data, bss (page tables among it)
#   16 MiB .. 16+N MiB  memory that is dirtied and verified (memory.cpp)
#
# Linear = physical for 4 GiB, in pages of 2 MiB, so that ACPI tables and devices' registers are where they say they are.

        .set EFER, 0xC0000080

        # In 32-bit mode, with setup.S's flat segments; ebx: the command line, ecx: KiB of RAM above 1 MiB.
        .section .text.entry, "ax"
        .code32
        .globl entry
entry:  cli
        cld
        # The loader does not clear what the image leaves open.
        mov %ecx, %edx
        mov $bss_start, %edi
        mov $bss_end, %ecx
        sub %edi, %ecx
        xor %eax, %eax
        rep stosb
        mov $(boot_stack + 16), %esp
        mov %ebx, command_line
        mov %edx, memory_kib
        # SDM 3A 4.5: one PML4 entry, four page directory pointers, 2048 pages of 2 MiB (present, writable, large).
        movl $(pointers + 3), tables
        mov $4, %ecx
        mov $(directories + 3), %eax
        mov $pointers, %edi
1:      mov %eax, (%edi)
        add $4096, %eax
        add $8, %edi
        loop 1b
        mov $2048, %ecx
        mov $0x83, %eax
        mov $directories, %edi
2:      mov %eax, (%edi)
        add $0x200000, %eax
        add $8, %edi
        loop 2b
        movl $first_cpu_64, next_64

# SDM 3A 9.8.5: PAE, CR3, EFER.LME, paging, then a far jump into a 64-bit segment.
long_mode:
        mov $0x20, %eax
        mov %eax, %cr4
        mov $tables, %eax
        mov %eax, %cr3
        mov $EFER, %ecx
        rdmsr
        or $0x901, %eax                         # NXE, LME, SCE
        wrmsr
        mov $0x80010033, %eax                   # PG, WP, NE, ET, MP, PE; the BIOS may have left the caches disabled
        mov %eax, %cr0
        lgdt boot_gdt
        ljmp $0x10, $1f
        .code64
1:      mov next_64(%rip), %eax
        jmp *%rax

first_cpu_64:
        mov $first_cpu_stack, %rdi
        mov (%rdi), %rsp
        mov command_line(%rip), %edi
        mov memory_kib(%rip), %esi
        call witness_main
        ud2

other_cpu_64:
        mov other_cpu_stack(%rip), %rsp
        call other_cpu_main
        ud2

        # A startup IPI begins here at CS:IP = 0x0800:0.
        .code16
        .globl other_cpu_start, other_cpu_start_end
other_cpu_start:
        cli
        xor %ax, %ax
        mov %ax, %ds
        lgdtl 0x8000 + (real_mode_gdt - other_cpu_start)
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmpl $0x08, $other_cpu_32
        .balign 8
real_mode_gdt:
        .word 31
        .long boot_gdt_entries
other_cpu_start_end:

        .code32
other_cpu_32:
        mov $0x18, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov $(boot_stack + 16), %esp
        movl $other_cpu_64, next_64
        jmp long_mode

        .data
        .balign 8
boot_gdt_entries:
        .quad 0
        .quad 0x00CF9B000000FFFF                # 08: 32-bit code
        .quad 0x00AF9B000000FFFF                # 10: 64-bit code
        .quad 0x00CF93000000FFFF                # 18: data
boot_gdt:
        .word 31
        .long boot_gdt_entries

        .bss
        .balign 4096
        .globl tables
tables: .skip 4096
pointers: .skip 4096
directories: .skip 4 * 4096
boot_stack: .skip 16
command_line: .skip 4
memory_kib: .skip 4
next_64: .skip 4
