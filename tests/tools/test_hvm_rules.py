"""The checker of HVM contexts: what real Xen hosts wrote passes, and each rule finds the fault that it is there for."""
import pathlib
import struct
import tempfile
import unittest

import captures
import cpu_policy_rules
import hvm_rules
from hvm_rules import (CPU, CPU_MSR, CPU_XSAVE, END, HEADER, HPET, IOAPIC, ISA_IRQ, LAPIC, LAPIC_REGS, MTRR, PCI_IRQ, PCI_LINK, PIC,
                       PIT, PMTIMER, RTC, TSC_ADJUST, VIRIDIAN_DOMAIN, VMCE_VCPU)
from restore_oracle import Restored
from xen_stream import read_cpu

VCPUS = 2
LAPIC_LENGTHS = {"4.17": (24,), "4.20": (24, 32)}
HIGH = 1 << 63
NOT_CANONICAL = 0x0000800000000000
# Offsets in a CPU record.
CR0, CR3, CR4, DR6, DR7, RIP, RFLAGS, EFER, TSC_AUX, TSC, EVENT, ERROR, FLAGS, PAD, MXCSR = (
    656, 672, 680, 720, 728, 640, 648, 992, 1000, 1008, 1016, 1020, 1024, 1028, 24)
SELECTOR = dict(zip("cs ds es fs gs ss tr ldtr".split(), range(736, 768, 4)))
LIMIT = dict(zip("cs ds es fs gs ss tr ldtr idtr gdtr".split(), range(768, 808, 4)))
BASE = dict(zip("cs ds es fs gs ss tr ldtr idtr gdtr".split(), range(808, 888, 8)))
ATTRIBUTES = dict(zip("cs ds es fs gs ss tr ldtr".split(), range(888, 920, 4)))
SYSENTER_CS, SYSENTER_ESP, SHADOW_GS, LSTAR, CSTAR, FMASK = 920, 928, 944, 960, 976, 984
XSAVE_AREA = 24


def restored(stream):
    with tempfile.TemporaryDirectory(prefix="vmferry-rules-") as folder:
        return Restored(stream, pathlib.Path(folder))


def check(result, context=None, **changes):
    facts = result.facts
    arguments = {"policy": facts["cpuid"], "vcpus": facts["config"]["b_info"]["max_vcpus"], "msrs": facts["msrs"],
                 "parameters": result.parameters, "tsc_khz": facts["tsc"]["khz"]} | changes
    return hvm_rules.check(result.hvm_context if context is None else context, **arguments)


class Recorded(unittest.TestCase):
    def test_all(self):
        guests = captures.guests()
        self.assertGreaterEqual(len(guests), 3)
        for guest in guests:
            with self.subTest(guest.name):
                lengths = next(lengths for release, lengths in LAPIC_LENGTHS.items() if f"xen-{release}-" in guest.name)
                result = restored(guest.stream)
                self.assertEqual(result.violations, [])
                self.assertEqual(check(result, lapic_lengths=lengths), [])
                facts = result.facts
                self.assertEqual(cpu_policy_rules.check(facts["cpuid"], facts["msrs"], facts["cpuid"], facts["msrs"]), [])

    def test_4_17_refuses_the_longer_lapic_record_of_4_20(self):
        result = restored(captures.guest("xen-4.20-linux-2vcpu-e1000-ide").stream)
        self.assertEqual({violation.record for violation in check(result) if violation.rule == "length"}, {"LAPIC[0]", "LAPIC[1]"})


def xsave_record():
    """XCR0 and XCR0_accum 7; the area for x87, SSE and AVX."""
    return struct.pack("<3Q", 7, 7, 7) + bytes(512) + struct.pack("<Q", 7) + bytes(56) + bytes(256)


def msr_record(*entries):
    return struct.pack("<II", len(entries), 0) + b"".join(struct.pack("<IIQ", msr, 0, value) for msr, value in entries)


def field(typecode, instance, offset, code, *values):
    """A corruption: other values at a place of a record."""
    def change(records):
        body = bytearray(records[typecode, instance])
        struct.pack_into("<" + code, body, offset, *values)
        records[typecode, instance] = bytes(body)
    return change


def whole(typecode, instance, body):
    def change(records):
        records[typecode, instance] = body
    return change


def without(typecode, instance=0):
    return lambda records: records.pop((typecode, instance))


def both(*changes):
    def change(records):
        for one in changes:
            one(records)
    return change


def lapic(offset, value):
    return field(LAPIC_REGS, 0, offset, "I", value)


def cpu(offset, code, value):
    return field(CPU, 0, offset, code, value)


def pin(number, entry):
    return field(IOAPIC, 0, 16 + 8 * number, "Q", entry)


# (rule, corruption), at least one for each rule. LEVEL: an entry for vector 0x31, triggered by level.
LEVEL, REMOTE = 0xA031, 0x4000
CASES = [
    ("header-first", without(HEADER)),
    ("header-magic", field(HEADER, 0, 0, "I", 0)), ("header-magic", field(HEADER, 0, 4, "I", 2)),
    ("header-tsc", field(HEADER, 0, 20, "I", 1000000)),
    ("type-known", whole(21, 0, bytes(8))), ("length", whole(LAPIC, 0, bytes(32))), ("length", whole(CPU, 1, bytes(1024))),
    ("instance", whole(TSC_ADJUST, 2, bytes(8))), ("instance", whole(RTC, 1, bytes(24))),
    ("needed", without(CPU)), ("needed", without(PIC, 1)), ("needed", without(LAPIC_REGS, 1)), ("needed", without(HPET)),
    ("viridian", whole(VIRIDIAN_DOMAIN, 0, bytes(32))),
    ("cpu-cr0", cpu(CR0, "Q", 0x80050023)), ("cpu-cr0", cpu(CR0, "Q", 0x80050032)), ("cpu-cr0", cpu(CR0, "Q", 0x80050033 | 1 << 32)),
    ("cpu-cr0-cache", cpu(CR0, "Q", 0xA0050033)),
    *(("cpu-cr4", cpu(CR4, "Q", 0x50EF0 | 1 << bit)) for bit in (12, 13, 14, 22, 23, 24, 32)),
    ("cpu-cr4-mode", cpu(CR4, "Q", 0x50ED0)), ("cpu-cr4-mode", both(cpu(CR4, "Q", 0x70EF0), cpu(EFER, "Q", 1))),
    *(("cpu-efer", cpu(EFER, "Q", 0xD01 | 1 << bit)) for bit in (12, 13, 15, 17, 32)), ("cpu-efer", cpu(EFER, "Q", 0xC01)),
    ("cpu-efer-lma", cpu(EFER, "Q", 0x901)), ("cpu-cr3", cpu(CR3, "Q", 1 << 52)), ("cpu-dr", cpu(DR6, "Q", 1 << 32)),
    ("cpu-dr", cpu(DR7, "Q", HIGH)), ("cpu-tsc-aux", cpu(TSC_AUX, "Q", 1 << 32)), ("cpu-flags", cpu(FLAGS, "I", 2)),
    ("cpu-flags", cpu(PAD, "I", 1)), ("cpu-fpu", cpu(FLAGS, "I", 0)), ("cpu-fpu", cpu(MXCSR, "I", 1 << 16)),
    *(("cpu-event", cpu(EVENT, "I", value)) for value in (0x80000120, 0x80000720, 0x80001020, 0x80000501, 0x20)),
    ("cpu-event", both(cpu(EVENT, "I", 0x80000B0E), cpu(ERROR, "I", 1 << 16))),
    *(("cpu-event-kind", cpu(EVENT, "I", value)) for value in (0x80000203, 0x80000303, 0x80000320, 0x8000000F)),
    ("cpu-rflags", cpu(RFLAGS, "Q", 0x20)), ("cpu-rflags", cpu(RFLAGS, "Q", 0x20002)), ("cpu-rflags", cpu(RFLAGS, "Q", HIGH)),
    ("cpu-rip", cpu(RIP, "Q", NOT_CANONICAL)),
    ("cpu-rip", both(cpu(ATTRIBUTES["cs"], "I", 0xC9B), cpu(RIP, "Q", 1 << 32))),
    ("cpu-attributes", cpu(ATTRIBUTES["ss"], "I", 0xC93 | 1 << 12)), ("cpu-attributes", cpu(LIMIT["cs"], "I", 0xFFFFFFFE)),
    ("cpu-attributes", cpu(LIMIT["tr"], "I", 0x100000)), ("cpu-selector", cpu(SELECTOR["ds"], "I", 0x10000)),
    ("cpu-selector", cpu(SELECTOR["tr"], "I", 0x44)), ("cpu-cs", cpu(ATTRIBUTES["cs"], "I", 0xA1B)),
    ("cpu-cs", cpu(ATTRIBUTES["cs"], "I", 0xA9A)), ("cpu-cs", cpu(ATTRIBUTES["cs"], "I", 0xA93)),
    ("cpu-cs", cpu(ATTRIBUTES["cs"], "I", 0xE9B)), ("cpu-ss", cpu(ATTRIBUTES["ss"], "I", 0xC91)),
    ("cpu-ss", cpu(ATTRIBUTES["ss"], "I", 0xCF3)), ("cpu-ss", cpu(SELECTOR["cs"], "I", 0x13)),
    ("cpu-data", cpu(ATTRIBUTES["ds"], "I", 0xC92)), ("cpu-data", cpu(ATTRIBUTES["gs"], "I", 0xC99)),
    ("cpu-tr", cpu(ATTRIBUTES["tr"], "I", 0x89)), ("cpu-tr", cpu(ATTRIBUTES["tr"], "I", 0x0B)),
    ("cpu-tr", cpu(ATTRIBUTES["tr"], "I", 0x83)), ("cpu-ldtr", cpu(ATTRIBUTES["ldtr"], "I", 0x83)),
    ("cpu-table-limit", cpu(LIMIT["gdtr"], "I", 1 << 16)), ("cpu-table-limit", cpu(LIMIT["idtr"], "I", 1 << 16)),
    *(("cpu-base", cpu(BASE[name], "Q", NOT_CANONICAL)) for name in ("fs", "gs", "tr", "ldtr", "gdtr", "idtr")),
    *(("cpu-base", cpu(BASE[name], "Q", 1 << 32)) for name in ("cs", "ss", "ds", "es")),
    *(("cpu-msr-address", cpu(at, "Q", NOT_CANONICAL)) for at in (SYSENTER_ESP, SYSENTER_ESP + 8, SHADOW_GS, LSTAR, CSTAR)),
    ("cpu-msr-mask", cpu(FMASK, "Q", 1 << 32)), ("cpu-msr-mask", cpu(SYSENTER_CS, "Q", 1 << 32)),
    ("cpu-tsc", field(CPU, 1, TSC, "Q", 1)),
    ("xsave-osxsave", without(CPU_XSAVE)),
    *(("xsave-mask", field(CPU_XSAVE, 0, 8, "Q", xcr0)) for xcr0 in (6, 5, 0x1F, 0x207)),
    ("xsave-mask", field(CPU_XSAVE, 0, 16, "Q", 0xF)), ("xsave-mask", field(CPU_XSAVE, 0, 16, "Q", 3)),
    ("xsave-bits", field(CPU_XSAVE, 0, XSAVE_AREA + 512, "Q", 0x207)), ("xsave-header", field(CPU_XSAVE, 0, XSAVE_AREA + 520, "Q", HIGH)),
    ("xsave-header", field(CPU_XSAVE, 0, XSAVE_AREA + 528, "Q", 1)), ("xsave-length", whole(CPU_XSAVE, 0, xsave_record()[:-1])),
    ("xsave-length", whole(CPU_XSAVE, 0, xsave_record() + b"\1")), ("xsave-length", whole(CPU_XSAVE, 0, bytes(100))),
    ("xsave-legacy", field(CPU_XSAVE, 0, XSAVE_AREA + 32, "Q", 1)), ("xsave-legacy", field(CPU_XSAVE, 0, XSAVE_AREA + 415, "B", 1)),
    ("xsave-legacy", field(CPU_XSAVE, 0, XSAVE_AREA, "H", 0x27F)),
    ("msr-count", field(CPU_MSR, 0, 0, "I", 0)), ("msr-count", field(CPU_MSR, 0, 4, "I", 1)), ("msr-count", field(CPU_MSR, 0, 12, "I", 1)),
    ("msr-count", whole(CPU_MSR, 0, msr_record((0xC0011027, 1)) + bytes(8))),
    *(("msr-known", field(CPU_MSR, 0, 8, "I", msr)) for msr in (0x10, 0x48, 0x140, 0x6E1, 0xD90, 0xDA0, 0xC001011F)),
    ("msr-known", field(CPU_MSR, 0, 16, "Q", 1 << 32)),
    ("mtrr-pat", field(MTRR, 0, 0, "B", 2)), ("mtrr-cap", field(MTRR, 0, 224, "B", 9)), ("mtrr-default", field(MTRR, 0, 232, "Q", 0xC02)),
    ("mtrr-default", field(MTRR, 0, 232, "Q", 0x1C06)), ("mtrr-fixed", field(MTRR, 1, 140, "B", 7)),
    ("mtrr-variable", field(MTRR, 0, 8, "B", 3)), ("mtrr-variable", field(MTRR, 0, 16, "Q", 0xFFFFF80000800)),
    ("mtrr-variable", field(MTRR, 0, 24, "Q", 0xF0000100)), ("vmce-caps", field(VMCE_VCPU, 0, 0, "Q", 0x1000C02)),
    ("tsc-adjust", field(TSC_ADJUST, 0, 0, "Q", 1)),
    ("pic-form", field(PIC, 0, 7, "B", 2)), ("pic-form", field(PIC, 0, 5, "B", 0)), ("pic-form", field(PIC, 1, 5, "B", 0x40)),
    ("pic-form", both(field(PIC, 0, 4, "B", 1), field(PIC, 0, 7, "B", 1))),
    ("pic-elcr", field(PIC, 0, 6, "B", 0x25)), ("pic-elcr", field(PIC, 0, 6, "B", 0x20)), ("pic-elcr", field(PIC, 1, 6, "B", 0x2C)),
    ("pic-base", field(PIC, 1, 3, "B", 0x39)), ("pic-output", field(PIC, 0, 7, "B", 1)),
    ("pic-output", field(PIC, 0, 0, "2B", 1, 0xFE)), ("pic-output", field(PIC, 0, 0, "3B", 0x10, 0, 0x20)),
    ("pic-cascade", both(field(PIC, 1, 0, "2B", 1, 0), field(PIC, 1, 7, "B", 1))), ("pic-cascade", field(PIC, 0, 0, "B", 4)),
    ("ioapic-form", field(IOAPIC, 0, 0, "Q", 0xFEC01000)), ("ioapic-form", field(IOAPIC, 0, 12, "I", 16)),
    ("ioapic-entry", pin(5, 1 << 12 | 0x10031)), ("ioapic-entry", pin(5, 1 << 20 | 0x10031)), ("ioapic-entry", pin(5, 0x10331)),
    ("ioapic-vector", pin(5, 0xF)), ("ioapic-remote-irr", pin(5, 0x31 | REMOTE)), ("ioapic-remote-irr", pin(5, LEVEL | REMOTE)),
    ("ioapic-line", both(field(ISA_IRQ, 0, 0, "Q", 1 << 5), pin(5, LEVEL))),
    ("ioapic-line", both(field(ISA_IRQ, 0, 0, "Q", 1), pin(2, LEVEL))),
    ("ioapic-line", both(field(PCI_IRQ, 0, 0, "Q", 1 << 12), pin(28, LEVEL))),
    ("ioapic-line", both(field(PCI_IRQ, 0, 0, "Q", 1 << 12), field(PCI_LINK, 0, 3, "B", 11), pin(11, LEVEL))),
    ("lapic-base", field(LAPIC, 0, 0, "Q", 0xFEE01900)), ("lapic-base", field(LAPIC, 0, 0, "Q", 0xFEE00500)),
    ("lapic-bsp", field(LAPIC, 0, 0, "Q", 0xFEE00800)), ("lapic-bsp", field(LAPIC, 1, 0, "Q", 0xFEE00900)),
    ("lapic-disabled", field(LAPIC, 0, 8, "I", 2)), ("lapic-disabled", lapic(0xF0, 0xFF)),
    ("lapic-divisor", field(LAPIC, 0, 12, "I", 3)), ("lapic-divisor", field(LAPIC, 0, 12, "I", 1)), ("lapic-divisor", lapic(0x3E0, 0xB)),
    ("lapic-deadline", field(LAPIC, 0, 16, "Q", 1)), ("lapic-id", field(LAPIC_REGS, 1, 0x20, "I", 0)), ("lapic-id", lapic(0x20, 1)),
    ("lapic-version", lapic(0x30, 0x50010)), ("lapic-fixed-bits", lapic(0xD0, 1)), ("lapic-fixed-bits", lapic(0xE0, 0xF0000000)),
    ("lapic-fixed-bits", lapic(0x24, 1)), ("lapic-fixed-bits", lapic(0x90, 1)), ("lapic-fixed-bits", lapic(0x300, 1 << 12)),
    *(("lapic-vectors", lapic(block, 1 << 15)) for block in (0x100, 0x180, 0x200)),
    ("lapic-lvt", lapic(0x350, 0x10100)), ("lapic-lvt", lapic(0x320, 0x60000)), ("lapic-lvt", both(lapic(0xF0, 0xFF), lapic(0x320, 0xEC))),
    ("lines-isa", field(ISA_IRQ, 0, 0, "Q", 4)), ("lines-isa", field(ISA_IRQ, 0, 0, "Q", 1 << 16)), ("lines-link", field(PCI_LINK, 0, 0, "B", 16)),
    ("lines-link", field(PCI_LINK, 0, 1, "B", 8)), ("lines-link", field(PCI_LINK, 0, 4, "B", 1)),
    ("pit-count", field(PIT, 0, 0, "I", 0)), ("pit-count", field(PIT, 0, 16, "I", 0x10001)),
    *(("pit-form", field(PIT, 0, at, "B", value)) for at, value in ((6, 5), (7, 2), (9, 5), (10, 5), (12, 4), (13, 8), (14, 2), (15, 0),
                                                                    (31, 0), (47, 2), (48, 2), (52, 1))),
    ("rtc-form", field(RTC, 0, 14, "B", 128)), ("rtc-form", field(RTC, 0, 15, "B", 1)),
    *(("rtc-time", field(RTC, 0, at, "B", value)) for at, value in ((0, 0x60), (2, 0x3A), (4, 0x24), (6, 0), (7, 0x32), (8, 0x13), (9, 0xA0))),
    ("hpet-capability", field(HPET, 0, 4, "I", 10000000)), ("hpet-form", field(HPET, 0, 16, "Q", 4)), ("hpet-form", field(HPET, 0, 1016, "Q", 1)),
    ("hpet-timers", field(HPET, 0, 256, "Q", 0x00F0000000008030)), ("hpet-timers", field(HPET, 0, 288, "Q", 0x30)),
    ("pm-bits", field(PMTIMER, 0, 4, "H", 2)), ("pm-bits", field(PMTIMER, 0, 6, "H", 1 << 15)),
]
# Rules that other policies make fail: (rule, CPUID leaf, register, bit that is taken away).
POLICY_CASES = [("xsave-policy", 1, 2, 26), ("cpu-cr4", 1, 3, 13), ("cpu-efer", 0x80000001, 3, 20), ("cpu-efer", 0x80000001, 3, 29),
                ("msr-known", 0x80000001, 2, 26)]
# Faults of the framing, in bytes: (rule, corruption).
BYTES_CASES = [("framing", lambda context: context[:-8]), ("framing", lambda context: context[:40]), ("framing", lambda context: b""),
               ("end-last", lambda context: context + b"\0"), ("end-last", lambda context: context[:-6] + b"\1" + context[-5:])]


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A recorded context, with records that recorded guests have none of."""
        cls.result = restored(captures.guest("xen-4.17-linux-2vcpu-e1000-ide").stream)
        cls.policy = [list(row) for row in cls.result.facts["cpuid"]]
        cls.policy_row(cls.policy, 0x80000001)[4] |= 1 << 26  # DBEXT
        records, context, at = {}, cls.result.hvm_context, 0
        while at < len(context):
            kind, instance, length = struct.unpack_from("<HHI", context, at)
            records[kind, instance] = context[at + 8:at + 8 + length]
            at += 8 + length
        for vcpu in range(VCPUS):
            field(CPU, vcpu, CR4, "Q", read_cpu(records[CPU, vcpu])["cr4"] | 1 << 18)(records)
            xsave = bytearray(xsave_record())
            xsave[XSAVE_AREA:XSAVE_AREA + 512] = records[CPU, vcpu][:512]
            records[CPU_XSAVE, vcpu] = bytes(xsave)
        records[CPU_MSR, 0] = msr_record((0xC0011027, 0xFFF))
        cls.records = records

    @staticmethod
    def policy_row(policy, leaf):
        return next(row for row in policy if row[0] == leaf)

    @staticmethod
    def pack(records):
        return b"".join(struct.pack("<HHI", kind, instance, len(body)) + body
                        for (kind, instance), body in sorted(records.items(), key=lambda entry: (entry[0][0] or 99, entry[0][1])))

    def rules(self, context, policy=None):
        return {violation.rule for violation in check(self.result, context, policy=policy or self.policy)}

    def test_none(self):
        self.assertEqual(check(self.result, self.pack(self.records), policy=self.policy), [])

    def test_each(self):
        for index, (rule, change) in enumerate(CASES):
            with self.subTest(rule, index=index):
                records = dict(self.records)
                change(records)
                self.assertIn(rule, self.rules(self.pack(records)))

    def test_policies(self):
        for rule, leaf, register, bit in POLICY_CASES:
            with self.subTest(rule, leaf=leaf, bit=bit):
                policy = [list(row) for row in self.policy]
                row = self.policy_row(policy, leaf)
                self.assertTrue(row[2 + register] >> bit & 1)
                row[2 + register] &= ~(1 << bit)
                self.assertIn(rule, self.rules(self.pack(self.records), policy))

    def test_x2apic_needs_the_policy(self):
        policy = [list(row) for row in self.policy]
        self.policy_row(policy, 1)[4] &= ~(1 << 21)
        records = dict(self.records)
        field(LAPIC, 0, 0, "Q", 0xFEE00D00)(records)
        self.assertIn("lapic-x2apic", self.rules(self.pack(records), policy))

    def test_bytes(self):
        whole_context = self.pack(self.records)
        for rule, change in BYTES_CASES:
            with self.subTest(rule):
                self.assertIn(rule, self.rules(change(whole_context)))

    def test_order_and_twice(self):
        records = dict(self.records)
        regs = struct.pack("<HHI", LAPIC_REGS, 0, 1024) + records[LAPIC_REGS, 0]
        end = struct.pack("<HHI", END, 0, 0)
        self.assertIn("twice", self.rules(self.pack(records)[:-8] + regs + end))
        del records[LAPIC_REGS, 0]
        self.assertEqual(self.rules(self.pack(records)[:-8] + regs + end), {"order"})

    def test_every_rule_is_shown_to_fail(self):
        shown = {rule for rule, *_ in CASES + POLICY_CASES + BYTES_CASES} | {"order", "twice", "lapic-x2apic"}
        self.assertEqual(shown, set(hvm_rules.RULES))


class Policies(unittest.TestCase):
    HOST = [(0, 0xFFFFFFFF, 13, 0x68747541, 0x444D4163, 0x69746E65), (1, 0xFFFFFFFF, 0x60FB1, 0x800, 0x2, 0x3), (7, 0, 1, 1, 0, 0),
            (0x80000000, 0xFFFFFFFF, 0x80000021, 0, 0, 0)]
    MSRS = [(0xCE, 0, 1 << 31), (0x10A, 0, 0)]

    def check(self, rule, cpuid=HOST, msrs=MSRS):
        self.assertIn(rule, {violation.rule for violation in cpu_policy_rules.check(cpuid, msrs, self.HOST, self.MSRS)})
        return rule

    def test_each(self):
        def changed(index, column, value):
            return [row if at != index else row[:column] + (value,) + row[column + 1:] for at, row in enumerate(self.HOST)]
        self.assertEqual(cpu_policy_rules.check(self.HOST, self.MSRS, self.HOST, self.MSRS), [])
        shown = {self.check("policy-leaves", changed(0, 2, 14)), self.check("policy-leaves", changed(2, 2, 2)),
                 self.check("policy-leaves", changed(3, 2, 0x80000022)), self.check("policy-vendor", changed(0, 3, 1)),
                 self.check("policy-features", changed(1, 4, 3)), self.check("policy-known", self.HOST + [(0x14, 0, 0, 0, 0, 0)]),
                 self.check("policy-msr", msrs=[(0xCE, 0, 1 << 32)]), self.check("policy-msr", msrs=[(0x10, 0, 0)]),
                 self.check("policy-msr", msrs=[(0x10A, 1, 0)])}
        self.assertEqual(shown, set(cpu_policy_rules.RULES))


if __name__ == "__main__":
    unittest.main()
