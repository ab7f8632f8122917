"""Rules for interrupt controllers, interrupt lines and clocks (see hvm_rules)."""
import struct

import hvm_rules
from hvm_rules import HPET, IOAPIC, ISA_IRQ, LAPIC, LAPIC_REGS, PCI_IRQ, PCI_LINK, PIC, PIT, PMTIMER, RTC

hvm_rules.RULES |= {
    "pic-form": "vpic_check() since 4.19: output is 0 or 1 and not while it is being set up, is_master is the instance",
    "pic-elcr": "vpic_check() since 4.19: ELCR without the lines that are always edges; vpic_load() forces the cascade's bit",
    "pic-base": "8259A: the lower three bits of the vector come from the line",
    "pic-output": "vpic_load() takes the output as it is: 1 if, and only if, a request beats what is in service",
    "pic-cascade": "8259A: the slave's output is line 2 of the master",
    "ioapic-form": "ioapic_load() takes it raw: base, a register and an id of 4 bits",
    "ioapic-entry": "82093AA, 3.2.4: reserved bits zero, a delivery mode that there is, no delivery under way",
    "ioapic-vector": "SDM 3A, 11.5.2: vectors below 16 are illegal",
    "ioapic-remote-irr": "82093AA, 3.2.4: only level interrupts are remembered until their EOI, and that one is pending somewhere",
    "ioapic-line": "ioapic_load() delivers nothing: a line that is asserted and not masked has been delivered (remote IRR)",
    "lapic-base": "lapic_load_hidden(): EXTD needs EN; guest_wrmsr_apic_base(): the base is fixed",
    "lapic-bsp": "vlapic_reset(): vCPU 0 is the bootstrap processor, no other",
    "lapic-x2apic": "guest_wrmsr_apic_base(): EXTD needs x2APIC in the policy",
    "lapic-disabled": "lapic_load_hidden() takes it raw: it says what EN and SPIV say",
    "lapic-divisor": "lapic_load_hidden(): a divisor; lapic_rearm() counts with it: it is TDCR's",
    "lapic-deadline": "vlapic_tdt_msr_set(): only in deadline mode",
    "lapic-id": "vlapic_match_dest(): each has an id of its own, in the upper byte outside x2APIC mode",
    "lapic-version": "vlapic_init(): 0x50014",
    "lapic-fixed-bits": "SDM 3A, 11.4 to 11.9: reserved bits of each register, unused registers",
    "lapic-vectors": "SDM 3A, 11.5.2: vectors below 16 are never requested or served",
    "lapic-lvt": "SDM 3A, 11.5.1: delivery modes, timer modes; all are masked while the APIC is disabled by software",
    "lines-isa": "hvm_irq: 16 lines, IRQ 2 is the cascade",
    "lines-link": "irq_load_link(): an ISA IRQ, padding zero since 4.19; PIIX3 data sheet: not 1, 2, 8 or 13",
    "pit-form": "pit_check() since 4.19: states, modes, gates",
    "pit-count": "pit_load() makes a period of it: 1 to 0x10000",
    "rtc-form": "rtc_load(): index within 0 to 127, padding zero",
    "rtc-time": "MC146818A: each register within its range, as register B says (BCD or binary)",
    "hpet-capability": "hpet_load() takes it, but counts with 16 ns: only Xen's own",
    "hpet-timers": "hpet_set(): capabilities of each timer",
    "hpet-form": "HPET specification 1.0a, 2.3: reserved bits and fields zero",
    "pm-bits": "ACPI 4.8.3.1: status and enable bits that PM1a has",
}

BSP, EXTD, EN = 1 << 8, 1 << 10, 1 << 11
ID, VERSION, TPR, PPR, LDR, DFR, SPIV, ISR, TMR, IRR, ESR, ICR, ICR2 = (
    0x20, 0x30, 0x80, 0xA0, 0xD0, 0xE0, 0xF0, 0x100, 0x180, 0x200, 0x280, 0x300, 0x310)
LVTT, LVT_THERMAL, LVT_PC, LINT0, LINT1, LVT_ERROR, TMICT, TMCCT, TDCR = (
    0x320, 0x330, 0x340, 0x350, 0x360, 0x370, 0x380, 0x390, 0x3E0)
LVTS = (LVTT, LVT_THERMAL, LVT_PC, LINT0, LINT1, LVT_ERROR)
# Register: the bits that it may have. Whatever is not here is zero. Reserved bits of TDCR are loaded as they are and dropped by
# the guest's next write: in 8 to 12 a crossing may keep the divider that the guest has chosen itself.
REGISTER_BITS = {ID: 0xFFFFFFFF, VERSION: 0xFFFFFFFF, TPR: 0xFF, PPR: 0xFF, LDR: 0xFF000000, DFR: 0xFFFFFFFF, SPIV: 0x3FF,
                 **{block + 16 * i: 0xFFFFFFFF for block in (ISR, TMR, IRR) for i in range(8)}, ESR: 0xFF, ICR: 0xCCFFF,
                 ICR2: 0xFF000000, LVTT: 0x710FF, LVT_THERMAL: 0x117FF, LVT_PC: 0x117FF, LINT0: 0x1F7FF, LINT1: 0x1F7FF,
                 LVT_ERROR: 0x110FF, TMICT: 0xFFFFFFFF, TMCCT: 0xFFFFFFFF, TDCR: 0x1F0B}
# Delivery modes: fixed, lowest priority, SMI, NMI, INIT, ExtINT.
LVT_MODES, IOAPIC_MODES = (0, 2, 4, 5, 7), (0, 1, 2, 4, 5, 7)
DEADLINE = 2
HPET_CAPABILITY, HPET_TIMER = 0x00F424008086A201, 0x00F0000000000030
HPET_TIMER_WRITABLE = 0x7F4E  # interrupt type, enable, periodic, value set, 32-bit, route, FSB enable
RTC_RANGES = ((0, 0, 59), (2, 0, 59), (6, 1, 7), (7, 1, 31), (8, 1, 12), (9, 0, 99))  # (register, first, last); hours apart
PM1_STATUS, PM1_ENABLE = 0xC731, 0x4721


def check(judge):
    apics = read_apics(judge)
    for instance, body in judge.of(PIC):
        check_pic(judge, instance, body)
    for _, body in judge.of(IOAPIC):
        check_ioapic(judge, body, apics)
    check_lapics(judge, apics)
    for _, body in judge.of(ISA_IRQ):
        lines = struct.unpack("<Q", body)[0]
        judge.expect("lines-isa", lines < 1 << 16 and not lines & 4, f"{lines:#x}")
    for _, body in judge.of(PCI_LINK):
        judge.expect("lines-link", all(route <= 15 and route not in (1, 2, 8, 13) for route in body[:4])
                     and body[4:] == bytes(4), body.hex())
    for _, body in judge.of(PIT):
        check_pit(judge, body)
    for _, body in judge.of(RTC):
        check_rtc(judge, body)
    for _, body in judge.of(HPET):
        check_hpet(judge, body)
    for _, body in judge.of(PMTIMER):
        _, status, enable = struct.unpack("<IHH", body)
        judge.expect("pm-bits", not status & ~PM1_STATUS and not enable & ~PM1_ENABLE, f"status {status:#x}, enable {enable:#x}")


def beats(requests, mask, served, priority, special_mask, nested):
    """Whether one of the requests interrupts, as an 8259A decides."""
    def rank(lines):
        order = [(line - priority) % 8 for line in range(8) if lines >> line & 1]
        return min(order, default=8)
    if special_mask:
        served &= ~mask
    if nested:
        served &= ~4
    return rank(requests & ~mask) < rank(served)


def check_pic(judge, instance, body):
    requests, mask, served, base, setup, flags, elcr, output = body
    judge.expect("pic-form", output <= 1 and not (output and setup & 0xF), f"output {output}, setup {setup:#x}")
    judge.expect("pic-form", flags >> 6 & 1 == (instance == 0) and not flags & 0x80, f"flags {flags:#x}")
    judge.expect("pic-elcr", not elcr & ~(0xFC if instance == 0 else 0xDE) and (instance or elcr & 4), f"{elcr:#x}")
    judge.expect("pic-base", not base & 7, f"{base:#x}")
    if not setup & 0xF:
        wanted = beats(requests, mask, served, setup >> 4, flags >> 5 & 1, flags >> 4 & 1 and instance == 0)
        judge.expect("pic-output", output == wanted, f"output {output}, IRR {requests:#x}, IMR {mask:#x}, ISR {served:#x}")
    if instance == 1 and (PIC, 0) in judge.records:
        judge.expect("pic-cascade", judge.records[PIC, 0][0] >> 2 & 1 == output, f"output {output}")


def asserted_pins(judge):
    """The pins of Xen's I/O APIC whose lines are up."""
    pci = int.from_bytes(judge.records.get((PCI_IRQ, 0), b""), "little")
    isa = int.from_bytes(judge.records.get((ISA_IRQ, 0), b""), "little")
    routes = judge.records.get((PCI_LINK, 0), bytes(4))
    pins = {2 if line == 0 else line for line in range(16) if isa >> line & 1}
    for bit in range(128):
        if pci >> bit & 1:
            device, pin = divmod(bit, 4)
            pins.add((4 * device + device // 8 + pin & 31) + 16)
            if (route := routes[(device + pin) % 4]) != 0:
                pins.add(route)
    return pins


def check_ioapic(judge, body, apics):
    base, register, identity, *entries = struct.unpack("<Q2I48Q", body)
    judge.expect("ioapic-form", base == 0xFEC00000 and register <= 0xFF and identity <= 15,
                 f"base {base:#x}, register {register:#x}, id {identity}")
    up = asserted_pins(judge)
    for pin, entry in enumerate(entries):
        vector, mode = entry & 0xFF, entry >> 8 & 7
        level, masked, remote = entry >> 15 & 1, entry >> 16 & 1, entry >> 14 & 1
        judge.expect("ioapic-entry", not entry & 0x00FFFFFFFFFE1000 and mode in IOAPIC_MODES, f"pin {pin}: {entry:#x}")
        judge.expect("ioapic-vector", masked or mode > 1 or vector >= 16, f"pin {pin}: {entry:#x}")
        pending = any(vector_in(registers, block, vector) for registers in apics.values() for block in (ISR, IRR))
        judge.expect("ioapic-remote-irr", not remote or (level and pending), f"pin {pin}: {entry:#x}")
        judge.expect("ioapic-line", not (pin in up and level and not masked) or remote, f"pin {pin}: {entry:#x}")


def read_apics(judge):
    """{vCPU: {offset: register}}"""
    return {vcpu: dict(zip(range(0, 1024, 16), struct.unpack("<256I", body)[::4])) for vcpu, body in judge.of(LAPIC_REGS)}


def vector_in(registers, block, vector):
    return bool(registers[block + vector // 32 * 16] >> vector % 32 & 1)


def check_lapics(judge, apics):
    for vcpu, body in judge.of(LAPIC):
        base, disabled, divisor, deadline = struct.unpack_from("<QIIQ", body)
        judge.expect("lapic-base", base & ~(BSP | EXTD | EN) == 0xFEE00000 and (base & EN or not base & EXTD), f"{base:#x}")
        judge.expect("lapic-bsp", bool(base & BSP) == (vcpu == 0), f"{base:#x}")
        judge.expect("lapic-x2apic", not base & EXTD or judge.policy.has(1, "ecx", 21), f"{base:#x}")
        judge.expect("lapic-divisor", divisor in (1, 2, 4, 8, 16, 32, 64, 128), f"{divisor}")
        if vcpu not in apics:
            continue
        registers = apics[vcpu]
        by_registers = (0 if base & EN else 1) | (0 if registers[SPIV] & 0x100 else 2)
        judge.expect("lapic-disabled", disabled == by_registers, f"{disabled}, the registers say {by_registers}")
        code = registers[TDCR] & 3 | registers[TDCR] >> 1 & 4
        judge.expect("lapic-divisor", divisor == 1 << (code + 1) % 8, f"{divisor}, TDCR {registers[TDCR]:#x}")
        judge.expect("lapic-deadline", not deadline or registers[LVTT] >> 17 & 3 == DEADLINE, f"{deadline:#x}")
    identities = set()
    for vcpu, body in judge.of(LAPIC_REGS):
        registers = apics[vcpu]
        # Padding between the registers, which are 32 bits wide at every 16th byte.
        judge.expect("lapic-fixed-bits", not any(body[at + 4:at + 16] != bytes(12) for at in range(0, 1024, 16)), "padding")
        base = struct.unpack_from("<Q", judge.records.get((LAPIC, vcpu), bytes(24)))[0]
        check_registers(judge, registers, base & EXTD)
        judge.expect("lapic-id", registers[ID] not in identities and (base & EXTD or not registers[ID] & 0xFFFFFF),
                     f"{registers[ID]:#x}")
        identities.add(registers[ID])


def check_registers(judge, registers, x2apic):
    judge.expect("lapic-version", registers[VERSION] == 0x50014, f"{registers[VERSION]:#x}")
    for offset, value in registers.items():
        allowed = 0xFFFFFFFF if x2apic and offset in (LDR, ICR2) else REGISTER_BITS.get(offset, 0)
        judge.expect("lapic-fixed-bits", not value & ~allowed, f"register {offset:#x}: {value:#x}")
    judge.expect("lapic-fixed-bits", x2apic or registers[DFR] & 0x0FFFFFFF == 0x0FFFFFFF, f"DFR {registers[DFR]:#x}")
    for block in (ISR, TMR, IRR):
        judge.expect("lapic-vectors", not registers[block] & 0xFFFF, f"register {block:#x}: {registers[block]:#x}")
    for offset in LVTS:
        value = registers[offset]
        judge.expect("lapic-lvt", offset in (LVTT, LVT_ERROR) or value >> 8 & 7 in LVT_MODES, f"{offset:#x}: {value:#x}")
        judge.expect("lapic-lvt", registers[SPIV] & 0x100 or value >> 16 & 1, f"{offset:#x}: {value:#x} while disabled")
    judge.expect("lapic-lvt", registers[LVTT] >> 17 & 3 != 3, f"timer mode 3: {registers[LVTT]:#x}")


def check_pit(judge, body):
    for channel in range(3):
        count, _, latched, status_latched, _, read, write, _, access, mode, bcd, gate = struct.unpack_from("<IH10B", body, 16 * channel)
        judge.expect("pit-count", 1 <= count <= 0x10000, f"channel {channel}: {count}")
        # 0xFF: a channel that was never set up, on releases before 4.19.
        judge.expect("pit-form", latched <= 4 and read <= 4 and write <= 4 and access <= 3 and bcd <= 1 and gate <= 1
                     and status_latched <= 1 and (mode <= 7 or mode == 0xFF) and (channel == 2 or gate == 1),
                     f"channel {channel}: {body[16 * channel:16 * channel + 16].hex()}")
    speaker, pad = struct.unpack_from("<II", body, 48)
    judge.expect("pit-form", speaker <= 1 and not pad, f"speaker {speaker}, {pad}")


def check_rtc(judge, body):
    registers, index = body[:14], body[14]
    judge.expect("rtc-form", index <= 127 and body[15] == 0, f"index {index}, padding {body[15]}")
    binary, whole_day = registers[11] & 4, registers[11] & 2

    def value(content):
        if binary:
            return content
        tens, ones = divmod(content, 16)
        return 10 * tens + ones if tens <= 9 and ones <= 9 else -1

    for register, first, last in RTC_RANGES:
        judge.expect("rtc-time", first <= value(registers[register]) <= last, f"register {register}: {registers[register]:#x}")
    # Bit 7 is PM where the day has twice twelve hours.
    hours = registers[4]
    judge.expect("rtc-time", 0 <= value(hours) <= 23 if whole_day else 1 <= value(hours & 0x7F) <= 12, f"hours {hours:#x}")


def check_hpet(judge, body):
    words = struct.unpack("<131Q", body)
    capability, _, config, _, status = words[:5]
    judge.expect("hpet-capability", capability == HPET_CAPABILITY, f"{capability:#x}")
    judge.expect("hpet-form", not config & ~3 and not status & ~7, f"config {config:#x}, status {status:#x}")
    judge.expect("hpet-form", not any(words[5:30]) and words[1] == words[3] == words[31] == 0 and not any(words[44:128]), "reserved fields")
    for timer in range(3):
        settings = words[32 + 4 * timer]
        judge.expect("hpet-timers", settings & ~HPET_TIMER_WRITABLE == HPET_TIMER, f"timer {timer}: {settings:#x}")
