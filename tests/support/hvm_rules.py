"""Xen's rules for an HVM context: what its hypervisor refuses to load, what a processor refuses to enter, and what is
loaded but cannot be one instant of one machine.

Written from the loader's behaviour (public/arch-x86/hvm/save.h, xen/arch/x86/hvm/), the Intel and AMD manuals and the data
sheets, with nothing in common with vmferry. Each rule has a name and its source in RULES; check() returns every violation.

    hvm_rules.py           framing: descriptors, order, lengths, which records there have to be
    hvm_rules_cpu.py       CPU, CPU_XSAVE, CPU_MSR, MTRR, VMCE_VCPU, TSC_ADJUST
    hvm_rules_devices.py   PIC, IOAPIC, LAPIC, LAPIC_REGS, interrupt lines, PIT, RTC, HPET, PMTIMER
"""
import collections
import struct

HEADER, CPU, PIC, IOAPIC, LAPIC, LAPIC_REGS, PCI_IRQ, ISA_IRQ, PCI_LINK, PIT, RTC, HPET, PMTIMER, MTRR = range(1, 15)
VIRIDIAN_DOMAIN, CPU_XSAVE, VIRIDIAN_VCPU, VMCE_VCPU, TSC_ADJUST, CPU_MSR = range(15, 21)
END = 0
NAMES = ("END HEADER CPU PIC IOAPIC LAPIC LAPIC_REGS PCI_IRQ ISA_IRQ PCI_LINK PIT RTC HPET PMTIMER MTRR VIRIDIAN_DOMAIN "
         "CPU_XSAVE VIRIDIAN_VCPU VMCE_VCPU TSC_ADJUST CPU_MSR").split()
PER_VCPU = {CPU, LAPIC, LAPIC_REGS, MTRR, CPU_XSAVE, VIRIDIAN_VCPU, VMCE_VCPU, TSC_ADJUST, CPU_MSR}
# What the newest form of each is long; CPU_XSAVE and CPU_MSR tell by their content. LAPIC has 32 bytes on newer releases,
# which older ones refuse: 24 is taken by all.
LENGTHS = {HEADER: 24, CPU: 1032, PIC: 8, IOAPIC: 400, LAPIC: 24, LAPIC_REGS: 1024, PCI_IRQ: 16, ISA_IRQ: 8, PCI_LINK: 8,
           PIT: 56, RTC: 24, HPET: 1048, PMTIMER: 8, MTRR: 240, VIRIDIAN_DOMAIN: 32, VIRIDIAN_VCPU: 216, VMCE_VCPU: 32,
           TSC_ADJUST: 8, END: 0}
# Without these a device keeps its reset state, which no running guest has left it in.
NEEDED_ONCE = (IOAPIC, PCI_IRQ, ISA_IRQ, PCI_LINK, PIT, RTC, HPET, PMTIMER)
NEEDED_PER_VCPU = (LAPIC, LAPIC_REGS, MTRR)
MAGIC = 0x54381286
VIRIDIAN_PARAMETER = 9

RULES = {
    "framing": "hvm_load(): a descriptor and a body of the length that it tells, until END",
    "header-first": "hvm_load(): the first record is HEADER",
    "header-magic": "arch_hvm_load(): magic, version 1",
    "header-tsc": "arch_hvm_load() overrides the rate of X86_TSC_INFO: both are the same rate",
    "end-last": "hvm_load() ignores what follows END: nothing does",
    "type-known": "hvm_load(): no handler for that typecode",
    "order": "hvm_load() goes in stream order, on which handlers depend (LAPIC before LAPIC_REGS, PCI_IRQ before PCI_LINK, CPU "
             "before CPU_XSAVE): ascending, as Xen writes",
    "twice": "the second of two would win",
    "length": "hvm_load_entry(): exact, or not longer than the own one",
    "instance": "hvm_load_*(): a vCPU that the domain has, PIC 0 or 1, else 0",
    "needed": "a running guest needs the state of each device",
    "viridian": "viridian_load_*(): only for domains with HVM_PARAM_VIRIDIAN",
}

Violation = collections.namedtuple("Violation", "rule record text")


class Policy:
    """The domain's CPUID policy: rows of (leaf, subleaf, eax, ebx, ecx, edx)."""

    def __init__(self, rows):
        self.rows = {(leaf, 0 if subleaf == 0xFFFFFFFF else subleaf): registers for leaf, subleaf, *registers in rows}

    def __call__(self, leaf, register, subleaf=0):
        """A register ("eax" …), 0 where the policy has no such leaf."""
        return self.rows.get((leaf, subleaf), (0, 0, 0, 0))["eax ebx ecx edx".split().index(register)]

    def has(self, leaf, register, bit, subleaf=0):
        return bool(self(leaf, register, subleaf) >> bit & 1)

    @property
    def is_amd(self):
        return self(0, "ebx") in (0x68747541, 0x6F677948)  # AuthenticAMD, HygonGenuine

    @property
    def physical_bits(self):
        return self(0x80000008, "eax") & 0xFF or 36


class Judge:
    """records {(typecode, instance): body} · what else of the domain counts · expect() collects."""

    def __init__(self, policy, vcpus, msrs, parameters):
        self.policy, self.vcpus, self.msrs, self.parameters = policy, vcpus, msrs, parameters
        self.records = {}
        self.violations = []
        self.at = ""

    def expect(self, rule, condition, text):
        """The rule holds for the record that is looked at; otherwise `text` says what was found."""
        if rule not in RULES:
            raise KeyError(rule)
        if not condition:
            self.violations.append(Violation(rule, self.at, text))

    def of(self, typecode):
        """(instance, body) of every record of a type; sets what expect() reports."""
        for (kind, instance), body in sorted(self.records.items()):
            if kind == typecode:
                self.at = f"{NAMES[kind]}[{instance}]"
                yield instance, body


def read_frames(judge, context):
    """[(typecode, instance, body)], END included, as far as the framing holds."""
    frames, at = [], 0
    while True:
        judge.at = f"offset {at:#x}"
        if at + 8 > len(context):
            judge.expect("framing", False, "the context ends without END")
            return frames
        kind, instance, length = struct.unpack_from("<HHI", context, at)
        if kind != END and at + 8 + length > len(context):
            judge.expect("framing", False, f"a record of {length} bytes, {len(context) - at - 8} are left")
            return frames
        frames.append((kind, instance, context[at + 8:at + 8 + length]))
        at += 8 + length
        if kind == END:
            judge.expect("end-last", instance == 0 and length == 0, f"END with instance {instance}, length {length}")
            judge.expect("end-last", at >= len(context), f"{len(context) - at} bytes behind END")
            return frames


def check_frames(judge, frames, tsc_khz, lapic_lengths):
    judge.at = "the first record"
    judge.expect("header-first", frames and frames[0][0] == HEADER, f"it is {frames[0][0] if frames else 'missing'}")
    last = (0, -1)
    for index, (kind, instance, body) in enumerate(frames):
        if kind == END:
            break
        judge.at = f"{NAMES[kind] if kind < len(NAMES) else kind}[{instance}]"
        known = kind in LENGTHS or kind in (CPU_XSAVE, CPU_MSR)
        judge.expect("type-known", known and (kind != HEADER or index == 0), f"typecode {kind} at place {index}")
        judge.expect("twice", (kind, instance) not in judge.records, "a second one")
        judge.expect("order", (kind, instance) >= last, f"behind {last}")
        last = max(last, (kind, instance))
        allowed = range(judge.vcpus) if kind in PER_VCPU else (0, 1) if kind == PIC else (0,)
        judge.expect("instance", instance in allowed, f"instance {instance} of {len(allowed)}")
        if kind in LENGTHS:
            lengths = lapic_lengths if kind == LAPIC else (LENGTHS[kind],)
            judge.expect("length", len(body) in lengths, f"{len(body)} bytes, not {' or '.join(map(str, lengths))}")
            # The other rules look at bodies of the right length.
            if len(body) not in lengths:
                continue
        judge.records[kind, instance] = body
        if kind in (VIRIDIAN_DOMAIN, VIRIDIAN_VCPU):
            judge.expect("viridian", judge.parameters.get(VIRIDIAN_PARAMETER), "the domain has no such interface")
    for _, body in judge.of(HEADER):
        magic, version, _, _, khz = struct.unpack("<IIQII", body)
        judge.expect("header-magic", magic == MAGIC and version == 1, f"magic {magic:#x}, version {version}")
        if tsc_khz and khz:
            judge.expect("header-tsc", khz == tsc_khz, f"{khz} kHz, X86_TSC_INFO says {tsc_khz}")


def check_needed(judge):
    def need(kind, instance=0):
        judge.at = f"{NAMES[kind]}[{instance}]"
        judge.expect("needed", (kind, instance) in judge.records, "missing")

    # The first processor runs; another without a CPU record stays down.
    need(CPU)
    for kind in NEEDED_ONCE:
        need(kind)
    need(PIC)
    need(PIC, 1)
    for kind in NEEDED_PER_VCPU:
        for vcpu in range(judge.vcpus):
            need(kind, vcpu)


def check(context, policy, vcpus, msrs=(), parameters=None, tsc_khz=0, lapic_lengths=(24,)):
    """Every Violation(rule, record, text).

    context: the blob · policy: rows of X86_CPUID_POLICY · vcpus: max_vcpus of the configuration · msrs: rows of
    X86_MSR_POLICY · parameters: {HVM parameter: value} · tsc_khz: of X86_TSC_INFO
    """
    import hvm_rules_cpu
    import hvm_rules_devices
    judge = Judge(Policy(policy), vcpus, {index: value for index, _, value in msrs}, parameters or {})
    check_frames(judge, read_frames(judge, context), tsc_khz, lapic_lengths)
    check_needed(judge)
    hvm_rules_cpu.check(judge)
    hvm_rules_devices.check(judge)
    return judge.violations
