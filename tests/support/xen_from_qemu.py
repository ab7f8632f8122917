"""What a guest under QEMU has to look like on Xen: judges of a produced Xen stream against the QEMU stream that it was made of.

Each judge returns a list of complaints. All is derived here from QEMU's stream (qemu_stream) and from what Xen makes of the
produced one (restore_oracle, device_state, hvm_rules), by the manuals of the devices, with nothing in common with vmferry.

    memory         every frame's content, and that there are no others
    processors     registers, FPU, XSAVE, MSRs, MTRRs
    interrupts     APICs, I/O APIC, PICs, lines
    clocks         PIT, RTC, APIC timers
    devices        QEMU's own device sections
"""
import struct

from hvm_rules import (CPU, CPU_XSAVE, IOAPIC, ISA_IRQ, LAPIC, LAPIC_REGS, MTRR, PCI_IRQ, PCI_LINK, PIC, PIT, RTC)
from device_state import sections
from qemu_stream import pci_config
from xen_stream import PAGE, read_cpu

FRAME_4G = 1 << 20
VGA_HOLE = range(0xA0, 0xC0)
SHADOWED = range(0xC0, 0x100)  # RAM or ROM, as the PAM registers say
SPECIAL = range(0xFEFF0, 0xFF000)
IDENTITY_TABLE = 0xFEFFE
IDENTITY = struct.pack("<1024I", *(entry << 22 | 0xE7 for entry in range(1024)))
PAM = 0x59
ET, BUSY = 1 << 4, 2
# Sections that the device model gets as they are, the names of PCI devices without their slot.
COPIED = ("timer PCIHost I440FX dma PIIX3 mc146818rtc serial fdc ps2kbd ps2mouse pckbd port92 ide i2c_bus cirrus_vga vga e1000 "
          "rtl8139 virtio-blk virtio-net usb-hid uhci").split()
PM_COMMON = 352  # bytes of piix4_pm that are the same in both forms
XEN_SLOTS = 128  # interrupt lines of the PCI bus under Xen
PCI_STATE = 4 + 256 + 16  # version, configuration space, four interrupt lines


def short(name):
    return name.rpartition("/")[2]


def records(context):
    """{(typecode, instance): body}"""
    found, at = {}, 0
    while at + 8 <= len(context):
        kind, instance, length = struct.unpack_from("<HHI", context, at)
        found[kind, instance] = context[at + 8:at + 8 + length]
        at += 8 + length
    return found


def expected_frames(stream, low_end):
    """{frame: content} of all that the guest has; `low_end`: the first frame behind its memory below 4 GiB."""
    frames = {}
    ram = memoryview(stream.blocks["pc.ram"])
    for number in range(len(ram) // PAGE):
        frame = number if number < low_end else FRAME_4G + number - low_end
        if frame not in VGA_HOLE:
            frames[frame] = ram[number * PAGE:(number + 1) * PAGE]
    pam = pci_config(stream, "/I440FX")[PAM:PAM + 7]
    rom, bios = memoryview(stream.blocks["pc.rom"]), memoryview(stream.blocks["pc.bios"])
    for frame in SHADOWED:
        # A nibble for each 16 KiB from 0xC0000 on, the upper one of 0x59 for all from 0xF0000 on; bit 0: reads go to RAM.
        segment = (frame - 0xC0) // 4 + 1
        nibble = pam[0] >> 4 if frame >= 0xF0 else pam[(segment + 1) // 2] >> (4 if segment % 2 == 0 else 0)
        if not nibble & 1:
            at = (frame - 0xC0) * PAGE if frame < 0xE0 else len(bios) - (0x100 - frame) * PAGE
            frames[frame] = (rom if frame < 0xE0 else bios)[at:at + PAGE]
    for name, content in stream.blocks.items():
        if name.endswith("vga.vram"):
            config = pci_config(stream, "/cirrus_vga") or pci_config(stream, "/vga")
            base = struct.unpack_from("<I", config, 0x10)[0] & ~0xF
            if config[4] & 2:
                for at in range(0, len(content), PAGE):
                    frames[(base + at) // PAGE] = memoryview(content)[at:at + PAGE]
    for frame in SPECIAL:
        frames[frame] = IDENTITY if frame == IDENTITY_TABLE else bytes(PAGE)
    return frames


def judge_memory(stream, restored):
    expected = expected_frames(stream, restored.facts["memory"]["low_end"])
    found = set(restored.frames)
    complaints = [f"frame {frame:#x} is missing" for frame in sorted(set(expected) - found)[:5]]
    complaints += [f"frame {frame:#x} is nowhere in the guest" for frame in sorted(found - set(expected))[:5]]
    wrong = [frame for frame in sorted(found & set(expected)) if restored[frame] != expected[frame]]
    return complaints + [f"frame {frame:#x} has another content ({len(wrong)} have)" for frame in wrong[:5]]


class Comparison:
    """Collects complaints of one kind of state."""

    def __init__(self):
        self.complaints = []

    def equal(self, what, found, expected):
        if found != expected:
            text = [value.hex() if isinstance(value, bytes) else f"{value:#x}" if isinstance(value, int) else str(value)
                    for value in (found, expected)]
            self.complaints.append(f"{what}: {text[0][:200]}, not {text[1][:200]}")


REGISTERS = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split()  # QEMU's order
QEMU_SEGMENTS = dict(zip("es cs ss ds fs gs".split(), (f"env.segs[{i}]" for i in range(6)))) | {"ldtr": "env.ldt", "tr": "env.tr"}
SAME_NAME = {"rip": "eip", "cr2": "cr[2]", "cr3": "cr[3]", "cr4": "cr[4]", "dr0": "dr[0]", "dr1": "dr[1]", "dr2": "dr[2]",
             "dr3": "dr[3]", "sysenter_cs": "sysenter_cs", "sysenter_esp": "sysenter_esp", "sysenter_eip": "sysenter_eip",
             "shadow_gs": "kernelgsbase", "lstar": "lstar", "star": "star", "cstar": "cstar", "syscall_mask": "fmask",
             "efer": "efer", "tsc_aux": "tsc_aux", "gdtr_base": "gdt.base", "gdtr_limit": "gdt.limit", "idtr_base": "idt.base",
             "idtr_limit": "idt.limit"}


def numbers(stream, name, instance=0):
    """{path: value} of a section."""
    return {path: int.from_bytes(content, "big") for path, content in stream.fields(name, instance).items()}


def waits(stream, vcpu):
    """A processor that has not been started: it has no CPU record."""
    return bool(numbers(stream, "apic", vcpu).get("apic_sipi/wait_for_sipi"))


def judge_processors(stream, context):
    found, compare = records(context), Comparison()
    tsc = numbers(stream, "timer")["cpu_ticks_offset"]
    for vcpu in range(sum(name == "cpu" for name, _ in stream.sections)):
        values, label = numbers(stream, "cpu", vcpu), f"cpu{vcpu}."
        if waits(stream, vcpu):
            compare.equal(label + "record", (CPU, vcpu) in found, False)
            continue
        cpu = read_cpu(found[CPU, vcpu])
        for index, name in enumerate(REGISTERS):
            compare.equal(label + name, cpu[name], values[f"env.regs[{index}]"])
        for name, path in SAME_NAME.items():
            compare.equal(label + name, cpu[name], values["env." + path])
        compare.equal(label + "rflags", cpu["rflags"], values["env.eflags"] | 2)
        compare.equal(label + "cr0", cpu["cr0"], values["env.cr[0]"] | ET)
        for name in ("dr6", "dr7"):
            compare.equal(label + name, cpu[name], values[f"env.dr[{name[2]}]"] & 0xFFFFFFFF)
        for name, path in QEMU_SEGMENTS.items():
            flags = values[path + ".flags"]
            compare.equal(f"{label}{name}.sel", cpu[name + "_sel"], values[path + ".selector"])
            compare.equal(f"{label}{name}.base", cpu[name + "_base"], values[path + ".base"])
            compare.equal(f"{label}{name}.ar", cpu[name + "_ar"],
                          flags >> 8 & 0xFF | flags >> 12 & 0xF00 | (BUSY if name == "tr" else 0))
            if flags & 0x8000:  # present
                compare.equal(f"{label}{name}.limit", cpu[name + "_limit"], values[path + ".limit"])
        # A TCG guest's TSC stands still with the machine; one under KVM has its own in the section.
        compare.equal(label + "tsc", cpu["tsc"], values["env.tsc"] or tsc)
        judge_fpu(compare, label, values, cpu["fpu"])
        judge_xsave(compare, label, values, found.get((CPU_XSAVE, vcpu)))
        judge_mtrr(compare, label, values, found[MTRR, vcpu])
    return compare.complaints


def judge_fpu(compare, label, values, fxsave):
    control, status, tags = struct.unpack_from("<HHB", fxsave)
    compare.equal(label + "fcw", control, values["env.fpuc"])
    compare.equal(label + "fsw", status, values["env.fpus_vmstate"])
    # Both have a bit for each register that is not empty, in physical order.
    compare.equal(label + "ftw", tags, values["env.fptag_vmstate"])
    top = status >> 11 & 7
    for index in range(8):
        raw = values[f"env.fpregs[{(top + index) % 8}].tmp"]  # 64 bits of significand, 16 of sign and exponent
        compare.equal(f"{label}st{index}", fxsave[32 + 16 * index:42 + 16 * index], struct.pack("<QH", raw >> 16, raw & 0xFFFF))
    compare.equal(label + "mxcsr", struct.unpack_from("<I", fxsave, 24)[0], values["env.mxcsr"])
    for index in range(16):
        compare.equal(f"{label}xmm{index}", struct.unpack_from("<2Q", fxsave, 160 + 16 * index),
                      tuple(values[f"env.xmm_regs[0][{index}]._q_ZMMReg[{half}]"] for half in (0, 1)))


def judge_xsave(compare, label, values, body):
    enabled = values["env.cr[4]"] >> 18 & 1
    if body is None:
        compare.equal(label + "xsave", enabled, 0)
        return
    xcr0, accumulated = struct.unpack_from("<2Q", body, 8)
    compare.equal(label + "xcr0", xcr0, values["env.xcr0"])
    if accumulated & 4 and len(body) >= 24 + 832:
        for index in range(16):
            compare.equal(f"{label}ymm{index}", struct.unpack_from("<2Q", body, 24 + 576 + 16 * index),
                          tuple(values[f"env.xmm_regs[1][{index}]._q_ZMMReg[{half}]"] for half in (2, 3)))
        present = struct.unpack_from("<Q", body, 24 + 512)[0]
        compare.equal(label + "xstate_bv", present & 7, 7)


def judge_mtrr(compare, label, values, body):
    words = struct.unpack("<30Q", body)
    compare.equal(label + "pat", words[0], values["env.pat"])
    for index in range(8):
        compare.equal(f"{label}mtrr{index}", words[1 + 2 * index:3 + 2 * index],
                      (values[f"env.mtrr_var[{index}].base"], values[f"env.mtrr_var[{index}].mask"]))
    for index in range(11):
        compare.equal(f"{label}mtrr_fixed{index}", words[17 + index], values[f"env.mtrr_fixed[{index}]"])
    compare.equal(label + "mtrr_default", words[29], values["env.mtrr_deftype"])


def irq_states(stream):
    """{slot: four interrupt lines} of the devices on the first PCI bus."""
    states = {}
    for name, instance in stream.sections:
        slot = name.split("/")[0]
        if slot.startswith("0000:00:"):
            device, function = slot[8:].split(".")
            lines = struct.unpack_from(">4I", stream.sections[name, instance][1], 4 + 256)
            before = states.get(int(device, 16), (0, 0, 0, 0))
            states[int(device, 16)] = tuple(map(sum, zip(before, lines)))
    return states


def judge_interrupts(stream, context):
    found, compare = records(context), Comparison()
    for vcpu in range(sum(name == "apic" for name, _ in stream.sections)):
        judge_apic(compare, f"apic{vcpu}.", numbers(stream, "apic", vcpu), found[LAPIC, vcpu], found[LAPIC_REGS, vcpu])
    values = numbers(stream, "ioapic")
    base, register, identity, *entries = struct.unpack("<Q2I48Q", found[IOAPIC, 0])
    compare.equal("ioapic", (base, register & 0xFF, identity), (0xFEC00000, values["ioregsel"], values["id"]))
    for pin, entry in enumerate(entries):
        compare.equal(f"ioapic pin {pin}", entry, values[f"ioredtbl[{pin}]"] if pin < 24 else 1 << 16)
    for which in (0, 1):
        values = numbers(stream, "i8259", which)
        irr, imr, isr, irq_base, setup, flags, elcr, _ = found[PIC, which]
        for name, value in (("imr", imr), ("isr", isr), ("irq_base", irq_base)):
            compare.equal(f"pic{which}.{name}", value, values[name])
        # The cascade's request follows the slave's output.
        cascade = 4 if which == 0 else 0
        compare.equal(f"pic{which}.irr", irr | cascade, values["irr"] | cascade)
        compare.equal(f"pic{which}.elcr", elcr | cascade, values["elcr"] | cascade)
        compare.equal(f"pic{which}.setup", (setup & 3, setup >> 4), (values["init_state"], values["priority_add"]))
        compare.equal(f"pic{which}.flags", flags & 0x3F, sum(values[name] << bit for bit, name in enumerate(
            ("read_reg_select", "poll", "auto_eoi", "rotate_on_auto_eoi", "special_fully_nested_mode", "special_mask"))))
    judge_lines(stream, found, compare)
    return compare.complaints


def judge_apic(compare, label, values, hidden, body):
    registers = dict(zip(range(0, 1024, 16), struct.unpack("<256I", body)[::4]))
    compare.equal(label + "base", struct.unpack_from("<Q", hidden)[0], values["apicbase"])
    expected = {0x20: values["id"] << 24, 0x80: values["tpr"], 0xD0: values["log_dest"] << 24,
                0xE0: values["dest_mode"] << 28 | 0xFFFFFFF, 0xF0: values["spurious_vec"], 0x280: values["esr"],
                0x300: values["icr[0]"] & ~(1 << 12), 0x310: values["icr[1]"]}
    for index in range(6):
        expected[0x320 + 16 * index] = values[f"lvt[{index}]"]
    for block, name in ((0x100, "isr"), (0x180, "tmr"), (0x200, "irr")):
        for index in range(8):
            expected[block + 16 * index] = values[f"{name}[{index}]"]
    for offset, value in expected.items():
        compare.equal(f"{label}{offset:#x}", registers[offset], value)


def judge_lines(stream, found, compare):
    states = irq_states(stream)
    wanted = sum(1 << 4 * slot + pin for slot, lines in states.items() for pin in range(4) if lines[pin])
    compare.equal("PCI lines", int.from_bytes(found[PCI_IRQ, 0], "little"), wanted)
    routes = [route if route < 16 else 0 for route in pci_config(stream, "/PIIX3")[0x60:0x64]]
    # QEMU swizzles a slot's pins one further than Xen.
    compare.equal("PCI links", list(found[PCI_LINK, 0][:4]), [routes[link - 1 & 3] for link in range(4)])
    driven = {routes[slot - 1 + pin & 3] for slot, lines in states.items() for pin in range(4) if lines[pin]}
    level = numbers(stream, "i8259", 0)["last_irr"] | numbers(stream, "i8259", 1)["last_irr"] << 8
    # The timer's and the clock's line are Xen's own business, as are those that a PCI device holds.
    mine = sum(1 << line for line in range(16) if line not in (0, 2, 8) and line not in driven)
    compare.equal("ISA lines", int.from_bytes(found[ISA_IRQ, 0], "little") & mine, level & mine)


def judge_clocks(stream, context):
    found, compare = records(context), Comparison()
    values = numbers(stream, "i8254")
    for channel in range(3):
        count, latched, *states = struct.unpack_from("<IH10B", found[PIT, 0], 16 * channel)
        names = "count_latched status_latched status read_state write_state write_latch rw_mode mode bcd gate".split()
        compare.equal(f"pit{channel}", (count, latched, *states),
                      tuple(values[f"channels[{channel}].{name}"] for name in ("count", "latched_count", *names)))
    compare.equal("speaker", struct.unpack_from("<I", found[PIT, 0], 48)[0], numbers(stream, "pcspk")["data_on"])
    clock = stream.fields("mc146818rtc")
    compare.equal("rtc", found[RTC, 0][:14], clock["cmos_data"][:14])
    compare.equal("rtc index", found[RTC, 0][14], clock["cmos_index"][0] & 0x7F)
    now = numbers(stream, "timer")["cpu_clock_offset"]
    for vcpu in range(sum(name == "apic" for name, _ in stream.sections)):
        judge_timer(compare, f"apic{vcpu}.timer", numbers(stream, "apic", vcpu), now, found[LAPIC, vcpu], found[LAPIC_REGS, vcpu])
    return compare.complaints


def judge_timer(compare, label, values, now, hidden, body):
    """Xen counts 10 ns per step before the divisor, and starts anew with all of TMICT."""
    divisor = struct.unpack_from("<I", hidden, 12)[0]
    count = struct.unpack_from("<I", body, 0x380)[0]
    expiry = values["timer_expiry"]
    if expiry == (1 << 64) - 1:
        compare.equal(label, count, 0)
        return
    left = expiry - now
    if values["lvt[0]"] >> 17 & 3 == 1:  # periodic: the whole period
        left = values["initial_count"] << values["count_shift"]
    step = 10 * divisor
    wanted = max(1, round(left / step))
    if abs(count - wanted) > 1 + wanted // 100:
        compare.complaints.append(f"{label}: {count} steps of {step} ns, {left} ns are left")


def judge_devices(stream, blob):
    """The sections of the device model's state, against QEMU's own."""
    compare, produced = Comparison(), sections(blob)
    for (name, instance), (version, content) in stream.sections.items():
        label = f"{name}/{instance}"
        if short(name) in COPIED:
            compare.equal(label, produced.get((name, instance), b"missing"), content)
        elif short(name) == "piix4_pm":
            compare.equal(label, produced.get((name, instance), b"missing")[:PM_COMMON], content[:PM_COMMON])
    known = {*COPIED, "piix4_pm", "PCIBUS"}
    for name, instance in produced:
        if short(name) not in known or (name, instance) not in stream.sections:
            compare.complaints.append(f"{name}/{instance}: a section that is not the source's")
    lines = [0] * XEN_SLOTS
    for slot, states in irq_states(stream).items():
        for pin, state in enumerate(states):
            lines[4 * slot + pin] = state
    compare.equal("PCIBUS/0", produced.get(("PCIBUS", 0)), struct.pack(f">{1 + XEN_SLOTS}I", XEN_SLOTS, *lines))
    return compare.complaints


def judge(stream, restored):
    """All of them: {judge: complaints}, without those that have none."""
    judges = {"memory": lambda: judge_memory(stream, restored), "processors": lambda: judge_processors(stream, restored.hvm_context),
              "interrupts": lambda: judge_interrupts(stream, restored.hvm_context),
              "clocks": lambda: judge_clocks(stream, restored.hvm_context),
              "devices": lambda: judge_devices(stream, restored.device_model)}
    return {name: complaints for name, one in judges.items() if (complaints := one())}
