# What a loader of Linux kernels starts: header and code in real mode, two sectors at 0x10000 before the image that goes to
# 1 MiB. QEMU's own -kernel and, through it, Xen's kernel= load it, as SeaBIOS runs QEMU's boot ROM. (QEMU's ROM for
# Multiboot never ends under Xen 4.17: it waits for a DMA of fw_cfg.)
#
# Layout: Linux, Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header"), protocol 2.03.

        .set SEGMENT, 0x1000                    # of what is here; the code itself begins in 0x1020

        .section .setup, "ax"
        .code16
sector: .skip 0x1F1 - (. - sector)
        .byte 1                                 # setup_sects: after this sector
        .word 0
        .long 0                                 # syssize: not looked at
        .word 0, 0, 0
        .word 0xAA55
start:  jmp real_mode
        .ascii "HdrS"
        .word 0x0203
        .long 0
        .word 0, 0
        .byte 0                                 # type_of_loader: written by it
        .byte 1                                 # loadflags: the image goes to 1 MiB
        .word 0
        .long 0x100000                          # code32_start
        .long 0, 0, 0                           # ramdisk_image, ramdisk_size, bootsect_kludge
        .word 0, 0                              # heap_end_ptr
command_line_pointer:
        .long 0
        .long 0x37FFFFFF                        # initrd_addr_max

# ds = SEGMENT, and a stack.
real_mode:
        # INT 15h, E801h: KiB from 1 to 16 MiB in ax, pieces of 64 KiB above in bx.
        mov $0xE801, %ax
        int $0x15
        movzwl %bx, %ecx
        shll $6, %ecx
        movzwl %ax, %eax
        addl %eax, %ecx
        cli
        mov $SEGMENT, %ax
        mov %ax, %ds
        movl command_line_pointer - sector, %ebx
        lgdtl gdt_pointer - sector
        movl %cr0, %eax
        orb $1, %al
        movl %eax, %cr0
        ljmpl $0x08, $(SEGMENT * 16 + protected_mode - sector)
        .code32
protected_mode:
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov $0x100000, %eax
        jmp *%eax

        .balign 8
gdt:    .quad 0
        .quad 0x00CF9B000000FFFF                # 08: code
        .quad 0x00CF93000000FFFF                # 10: data
gdt_pointer:
        .word 23
        .long SEGMENT * 16 + gdt - sector
        .skip 1024 - (. - sector)
