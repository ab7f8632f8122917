#!/usr/bin/env python3
"""Compares what the guest "witness" (tests/guests/witness) told before a migration and after it.

    witness_report.py --before FILE --after FILE [--markdown OUT]

The files are its console on the source and on the destination. The last full report before is compared with the first
one after, key by key; a key is

    equal     the same value on both sides
    counts    a counter, the time, or an interrupt that waits at that moment (COUNTS)
    rate      within 5 % of the clock's nominal frequency (NOMINAL; else what the source had)
    expected  different in a way that EXPECTED names, with a relation between the two values that is checked

and anything else is a failure; so are a line `changed`, `bad-page`, `exception` or `unexpected-interrupt`, a round that is
missing or comes twice, and a clock that runs backwards. Exits with 0 if there is no failure.
"""
import argparse
import dataclasses
import pathlib
import re
import sys

TOLERANCE = 0.05

# Where the guest was stopped a line may be cut; the rest of it is at the beginning of the other console.
_ROUND = re.compile(r"witness (\d+) ok up=(\d+) ticks=(\d+) tsc_khz=(\d+) lapic_khz=(\d+) changed=(\d+) bad_pages=(\d+) "
                    r"spurious=(\d+)$")
_CHANGED = re.compile(r"changed (\S+) expected (\S+) found (\S+)$")
_COMPLAINT = re.compile(r"(bad-page|exception|unexpected-interrupt|no cpu|no hpet)\b")
_REPORT = re.compile(r"report (\d+) (begin|end)$")
_VALUE = re.compile(r"([a-z][a-z0-9_]*\.[a-z0-9_.:]+|port61|port92) (\S+)$")

# Monotonic ones must not be lower after.
COUNTS = [
    (r"rtc\.time", True, "time of day"),
    (r"hpet\.counter", True, "the HPET's counter"),
    (r"hpet\.\d\.comparator", False, "moves with each period"),
    (r"lapic\.current", False, "the LAPIC timer's count"),
    (r"pit\.\d\.(count|output)", False, "the PIT's count, and the output that follows it"),
    (r"lapic\.irr\.\d|pic\.(master|slave)\.irr", False, "an interrupt that waits at that moment"),
    (r"pm1\.status", False, "bit 0 follows the PM timer, and nobody clears it"),
]

# Hz
NOMINAL = {"rate.pit": 1193182, "rate.rtc": 1}
XEN_LAPIC, QEMU_LAPIC = 100e6, 1e9


@dataclasses.dataclass
class Round:
    number: int
    up: int
    ticks: int
    tsc_khz: int
    lapic_khz: int
    changed: int
    bad_pages: int
    spurious: int


@dataclasses.dataclass
class Report:
    number: int
    values: dict
    complete: bool = False


@dataclasses.dataclass
class Console:
    rounds: list = dataclasses.field(default_factory=list)
    reports: list = dataclasses.field(default_factory=list)  # complete ones only
    changed: list = dataclasses.field(default_factory=list)  # (key, before, after)
    complaints: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Result:
    failures: list
    expected: list  # (key, before, after, reason), each key once
    compared: int

    @property
    def only_rates(self):
        """Nothing is wrong but how fast clocks ran, which a host that is late falsifies."""
        return bool(self.failures) and all(failure.startswith("rate.") for failure in self.failures)


def parse(lines):
    """What complete lines say. A report that lacks its beginning or its end counts for nothing."""
    console, report = Console(), None
    started = not any(line == "witness starts" for line in lines)
    for line in lines:
        if line == "witness starts":
            started = True
        elif not started or not line or line.startswith("acpi="):
            continue
        elif match := _ROUND.match(line):
            console.rounds.append(Round(*map(int, match.groups())))
        elif match := _CHANGED.match(line):
            console.changed.append(match.groups())
        elif _COMPLAINT.match(line):
            console.complaints.append(line)
        elif match := _REPORT.match(line):
            if match[2] == "begin":
                report = Report(int(match[1]), {})
            elif report and report.number == int(match[1]):
                console.reports.append(report)
                report = None
        elif match := _VALUE.match(line):
            if report:
                if match[1] in report.values:
                    console.complaints.append(f"report {report.number} has {match[1]} twice")
                report.values[match[1]] = match[2]
        else:
            console.complaints.append(f"not understood: {line}")
    return console


def _lines(text):
    return [line.rstrip("\r") for line in text.split("\n")]


def split(before_text, after_text):
    """The complete lines of both consoles; the line that was cut in two is put together and belongs to the destination."""
    before, after = _lines(before_text), _lines(after_text)
    cut = before.pop() + after[0]
    return before, [cut, *after[1:-1]]


def number(values, key, default=0):
    value = values.get(key)
    return default if value in (None, "absent", "none") else int(value, 16)


def lapic_divider(values, key="lapic.divider"):
    """SDM 3A figure 11-10: bits 0, 1 and 3."""
    register = number(values, key)
    code = register & 3 | register >> 1 & 4
    return 1 if code == 7 else 2 << code


def io_apic_pins(values):
    return (number(values, "ioapic.version") >> 16 & 0xFF) + 1


def near(value, nominal):
    return abs(value - nominal) <= TOLERANCE * nominal


def lapic_base(values):
    return float(values.get("rate.lapic", 0)) * lapic_divider(values)


def other_lapic_base(before, after):
    return near(lapic_base(before), XEN_LAPIC) and near(lapic_base(after), QEMU_LAPIC)


# Relations: (key, report before, report after) -> is it allowed? The values differ, or one of the reports has none.

def _lapic_rate(_key, before, after):
    return other_lapic_base(before, after)


def _lapic_divider(key, before, after):
    """Ten times as much, as near as a power of two comes, and at most 128."""
    wanted, got = 10 * lapic_divider(before, key), lapic_divider(after, key)
    return other_lapic_base(before, after) and (got == 128 if wanted > 128 else wanted / 2 < got < wanted * 2)


def _lapic_tick(_key, before, after):
    """The guest's tick is the LAPIC's, and as much faster or slower as its clock after the divider."""
    if number(before, "lapic.lvt_timer") & 0x100FF != 0x40 or not other_lapic_base(before, after):
        return False
    ratio = float(after["rate.lapic"]) / float(before["rate.lapic"])
    return near(float(after.get("rate.tick", 0)), float(before.get("rate.tick", 0)) * ratio)


def _fewer_pins(_key, before, after):
    return io_apic_pins(before) == 48 and io_apic_pins(after) == 24


def _io_apic_version(key, before, after):
    return _fewer_pins(key, before, after) and (number(before, key) & 0xFF, number(after, key) & 0xFF) in ((0x11, 0x20),
                                                                                                          (0x11, 0x11))


def _pin_gone(key, before, after):
    return _fewer_pins(key, before, after) and key in before and key not in after


def _folded_pin(key, before, after):
    """What one of the pins from 16 on had: all but the polarity (bit 13), which that of an ISA pin replaces."""
    low = number(after, key) & ~(1 << 13)
    return _fewer_pins(key, before, after) and any(
        number(before, f"ioapic.redirection.{pin:02x}.low") & ~(1 << 13) == low for pin in range(16, 48))


def _ivshmem(key, before, after):
    return key not in before and after.get("pci.00:1f.0.00") == "11101af4"


def _hpet_gone(_key, before, after):
    """Nothing that the guest could miss: it had not been switched on."""
    return (number(before, "hpet.present") == 1 and number(after, "hpet.present", 1) == 0
            and not number(before, "hpet.config") & 1)


def _signature(values):
    return b"".join(number(values, f"cpuid.40000000.0.{register}").to_bytes(4, "little") for register in ("ebx", "ecx", "edx"))


def _hypervisor(_key, before, after):
    return _signature(before) == b"XenVMMXenVMM" and _signature(after) in (b"TCGTCGTCGTCG", b"KVMKVMKVM\0\0\0", b"XenVMMXenVMM")


def _brand(_key, before, after):
    """Both are text."""
    registers = [f"cpuid.{leaf:x}.0.{register}" for leaf in range(0x80000002, 0x80000005) for register in ("eax", "ebx", "ecx", "edx")]
    texts = [b"".join(number(values, key).to_bytes(4, "little") for key in registers).rstrip(b"\0") for values in (before, after)]
    return all(text and all(32 <= byte < 127 for byte in text) for text in texts)


def _same_apic_id(_key, before, after):
    """Caches and threads may be shared in other ways, but the CPU is the one it was."""
    return (number(before, "cpuid.1.0.ebx") ^ number(after, "cpuid.1.0.ebx")) >> 24 == 0 and (
        number(before, "lapic.id") == number(after, "lapic.id"))


def _becomes(value):
    """From Xen, and the destination has just this value."""
    return lambda key, before, after: _fewer_pins(key, before, after) and number(after, key, None) == value


def _answers(key, before, after):
    return _fewer_pins(key, before, after) and before.get(key) == "absent" and key in after


def _bits(mask):
    """From Xen, and only bits of this mask differ."""
    return lambda key, before, after: (_fewer_pins(key, before, after)
                                       and (number(before, key) ^ number(after, key)) & ~mask == 0)


def _mcg_banks(key, before, after):
    """SDM 3B 16.3.1.1: their count is in bits 0 to 7."""
    return _fewer_pins(key, before, after) and (number(before, key) & 0xFF, number(after, key) & 0xFF) == (2, 10)


def _cache_leaf(key, before, after):
    """AMD64 APM 3 E.4.17: only with TOPOEXT, CPUID 80000001 ECX bit 22."""
    return (_fewer_pins(key, before, after) and key not in before
            and not number(after, "cpuid.80000001.0.ecx") & 1 << 22)


def _on_kvm(key, before, after):
    return _fewer_pins(key, before, after) and _signature(after) == b"KVMKVMKVM\0\0\0"


def _lower_half(key, before, after):
    return _on_kvm(key, before, after) and number(after, key) == number(before, key) & 0xFFFFFFFF


def _kvm_bits(mask):
    return lambda key, before, after: (_on_kvm(key, before, after)
                                       and (number(before, key) ^ number(after, key)) & ~mask == 0)


def _pirq_routes(key, before, after):
    """Each link goes to an interrupt that PCI devices may have, or nowhere, before and after."""
    routes = [byte for values in (before, after) for byte in number(values, key).to_bytes(4, "little")]
    return _fewer_pins(key, before, after) and all(route in (5, 10, 11, 0x80) for route in routes)


def _elcr(key, before, after):
    """More levels only: the cascade, which Xen does not show, and what PCI interrupts are routed to."""
    more = number(before, key) ^ number(after, key)
    return _fewer_pins(key, before, after) and more & number(before, key) == 0 and more & ~0x0C24 == 0


def _lapic_initial(key, before, after):
    return other_lapic_base(before, after) and near(number(after, key), 10 * number(before, key))


EXPECTED = [
    (r"cpu\d\.cr2", _becomes(0), "Xen 4.17's record has 0 on an emulated AMD processor; 4.20's has the guest's value"),
    (r"cpu\d\.msr\.pat", _becomes(0x0007040600070406), "Xen's record has the value after reset, on an emulated AMD processor"),
    (r"cpu\d\.msr\.mtrr\.(base|mask)7", _becomes(0),
     "variable ranges 1 to 7 are wrong in every Xen stream; what covers the PCI hole is rebuilt"),
    (r"cpu\d\.msr\.(arch_capabilities|feature_control|misc_enable|spec_ctrl|xss|osvw_length|osvw_status)", _answers,
     "a register that Xen refuses to read and QEMU answers"),
    (r"cpu\d\.msr\.platform_info", _bits(1 << 31), "Xen offers to trap CPUID for the guest's kernel, QEMU does not"),
    (r"cpu\d\.msr\.mcg_capabilities", _mcg_banks, "QEMU has ten machine check banks, Xen two"),
    (r"cpu\d\.msr\.mcg_control", _becomes(2**64 - 1), "QEMU's machine check banks are on"),
    (r"cpuid\.1\.0\.ecx", _bits(1 << 21), "x2APIC, which TCG does not have and the guest does not use"),
    (r"cpuid\.1\.0\.edx", _bits(1 << 28), "whether there are threads: the host's topology"),
    (r"cpuid\.7\.0\.ebx", _bits(1 << 22), "PCOMMIT, which TCG shows and no CPU ever had"),
    (r"cpuid\.5\.0\.ecx", _becomes(3), "MONITOR's leaf, without the feature"),
    (r"cpu\d\.breakpoints_taken", _kvm_bits(1),
     "KVM on an emulated processor: the same guest, started there, takes its breakpoint in some rounds only"),
    (r"cpu\d\.msr\.sysenter_e[is]p", _lower_half, "KVM on AMD keeps 32 bits, as AMD's processors do"),
    (r"cpuid\.1\.0\.edx", _kvm_bits(1 << 28 | 1 << 22), "threads, and ACPI's thermal control, which no guest of Xen has"),
    (r"cpuid\.80000001\.0\.ecx", _kvm_bits(1 << 1), "whether there are threads: the host's topology"),
    (r"cpuid\.80000007\.0\.ebx", _kvm_bits(3), "how the host's CPU reports hardware errors"),
    (r"pci\.00:00\.0\.5[8c]", _bits(0x33333333), "the i440FX's PAM registers: what hvmloader leaves as RAM without them"),
    (r"pci\.00:01\.0\.60", _pirq_routes, "a PCI interrupt of one of Xen's upper pins gets a link and a pin of QEMU's"),
    (r"pic\.elcr", _elcr, "the same, for the 8259s"),
    (r"pit\.1\.status", _becomes(6), "a mode that no 8254 has, which Xen shows before the channel's first use"),
    (r"lapic\.initial", _lapic_initial, "a periodic count, tenfold against the tenfold clock"),
    (r"cpuid\.80000008\.0\.ebx", _bits(1 << 20), "a hint about speculation, which TCG does not give"),
    (r"cpuid\.80000008\.0\.ecx", _bits(0xFF), "how many threads a package has: the host's topology"),
    (r"cpuid\.80000021\.0\.eax", _bits(1 << 2), "LFENCE serializes: true in TCG too, but not told"),
    (r"cpuid\.8000001d\.\d\.e.x", _cache_leaf, "caches, told without the feature bit that makes them valid"),
    (r"rate\.lapic", _lapic_rate, "the LAPIC timer's clock: 100 MHz under Xen, 1 GHz under QEMU"),
    (r"(cpu\d\.)?lapic\.divider", _lapic_divider, "raised as far as it goes, against the tenfold clock"),
    (r"rate\.tick", _lapic_tick, "the LAPIC's tick, by the ratio of clock and divider"),
    (r"ioapic\.version", _io_apic_version, "Xen's I/O APIC has 48 pins, QEMU's 24"),
    (r"ioapic\.redirection\.(1[89a-f]|2.)\.(low|high)", _pin_gone, "QEMU's I/O APIC has no such pin"),
    (r"ioapic\.redirection\.(05|0a|0b)\.low", _folded_pin, "PCI interrupts of pins from 16 on come there"),
    (r"pci\.00:1f\.0\...", _ivshmem, "the device that holds Xen's ACPI tables"),
    (r"(hpet\..*|rate\.hpet)", _hpet_gone, "no HPET on the destination, and the guest did not use it"),
    (r"cpuid\.400000..\.0\.e.x", _hypervisor, "the hypervisor's own leaves"),
    (r"cpuid\.8000000[234]\.0\.e.x", _brand, "the host CPU's name"),
    (r"cpuid\.(1\.0\.ebx|4\.\d\.e.x|b\.\d\.e.x)", _same_apic_id, "the host's topology"),
]


def _is_expected(key, before, after):
    for pattern, allowed, reason in EXPECTED:
        if re.fullmatch(pattern, key) and allowed(key, before, after):
            return reason
    return None


def _tick_nominal(values):
    return 64 if number(values, "rtc.b") & 0x40 else 100


def _rate_failure(key, before, after):
    """Both sides have it. The TSC has no nominal rate, nor has the LAPIC timer: the source's is it."""
    for side, values in (("before", before), ("after", after)):
        value = float(values[key])
        if key == "rate.hpet":
            nominal = 1e15 / (number(values, "hpet.capabilities") >> 32)
        elif key == "rate.tick":
            nominal = _tick_nominal(values)
        else:
            nominal = NOMINAL.get(key, float(before[key]))
        if not near(value, nominal):
            return f"{key}: {values[key]} {side}, {nominal:g} is nominal"
    return None


def _count_failure(key, monotonic, before, after):
    if monotonic and int(after[key], 16) < int(before[key], 16):
        return f"{key}: {before[key]} before, {after[key]} after: runs backwards"
    return None


def _key_failure(key, before, after):
    if key not in after:
        return f"{key}: {before[key]} before, missing after"
    if key not in before:
        return f"{key}: missing before, {after[key]} after"
    if key.startswith("rate.") and key != "rate.rtc" or key == "rate.rtc" and "none" not in (before[key], after[key]):
        return _rate_failure(key, before, after)
    for pattern, monotonic, _ in COUNTS:
        if re.fullmatch(pattern, key):
            return _count_failure(key, monotonic, before, after)
    return None if before[key] == after[key] else f"{key}: {before[key]} before, {after[key]} after"


def compare_reports(before, after):
    """(failures, expected) of two reports' values."""
    failures, expected = [], []
    for key in sorted(before.keys() | after.keys()):
        failure = _key_failure(key, before, after)
        if failure is None:
            continue
        if reason := _is_expected(key, before, after):
            expected.append((key, before.get(key, "-"), after.get(key, "-"), reason))
        else:
            failures.append(failure)
    return failures, expected


def _round_failures(rounds):
    failures = []
    for last, this in zip(rounds, rounds[1:]):
        if this.number != last.number + 1:
            failures.append(f"round {this.number} follows round {last.number}")
        for name in ("up", "ticks"):
            if getattr(this, name) <= getattr(last, name):
                failures.append(f"round {this.number}: {name}={getattr(this, name)} after {getattr(last, name)}")
        if this.spurious > last.spurious:
            failures.append(f"round {this.number}: {this.spurious - last.spurious} interrupts of nobody")
    return failures


def _untold(console):
    """What the rounds count is what was told, else a line was lost. The first rounds may be in no console."""
    failures = []
    told = [len(console.changed), sum(line.startswith("bad-page") for line in console.complaints)]
    counted = [sum(r.changed for r in console.rounds), sum(r.bad_pages for r in console.rounds)]
    if counted != told and any(counted):
        last = next(r for r in reversed(console.rounds) if r.changed or r.bad_pages)
        failures.append(f"round {last.number}: changed={last.changed} bad_pages={last.bad_pages}, but {told[0]} and {told[1]} are told")
    return failures


def compare(before_text, after_text):
    before_lines, after_lines = split(before_text, after_text)
    before, after = parse(before_lines), parse(after_lines)
    # A report that was going on is in neither, its lines are still read: a complaint may be among them.
    both = parse(before_lines + after_lines)
    failures = list(both.complaints) + _round_failures(both.rounds)
    failures += _untold(both)
    if not after.rounds:
        failures.append("no round after")
    first = before.reports[-1].values if before.reports else None
    second = after.reports[0].values if after.reports else None
    for side, values in (("before", first), ("after", second)):
        if values is None:
            failures.append(f"no full report {side}")
    expected, compared = [], 0
    if first and second:
        more, expected = compare_reports(first, second)
        failures += more
        compared = len(first.keys() | second.keys())
    differing = {key for key, *_ in expected}
    for key, was, found in both.changed:
        reason = first and second and _is_expected(key, first, second)
        if not reason:
            failures.append(f"changed {key}: {was} expected, {found} found")
        elif key not in differing:
            differing.add(key)
            expected.append((key, was, found, reason))
    return Result(failures, expected, compared)


def markdown(result):
    lines = [f"{result.compared} values compared, {len(result.expected)} differ as expected, {len(result.failures)} failures.", ""]
    if result.expected:
        lines += ["| Value | Before | After | Reason |", "| --- | --- | --- | --- |"]
        lines += [f"| `{key}` | {before} | {after} | {reason} |" for key, before, after, reason in result.expected]
        lines.append("")
    lines += [f"- {failure}" for failure in result.failures]
    return "\n".join(lines).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--before", type=pathlib.Path, required=True)
    parser.add_argument("--after", type=pathlib.Path, required=True)
    parser.add_argument("--markdown", type=pathlib.Path)
    arguments = parser.parse_args()
    result = compare(*(path.read_text(encoding="ascii", errors="replace") for path in (arguments.before, arguments.after)))
    if arguments.markdown:
        arguments.markdown.write_text(markdown(result), encoding="utf-8")
    for key, before, after, reason in result.expected:
        print(f"expected {key}: {before} before, {after} after: {reason}")
    for failure in result.failures:
        print(f"failure {failure}")
    print(f"{result.compared} compared, {len(result.expected)} expected differences, {len(result.failures)} failures")
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
