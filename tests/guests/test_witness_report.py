"""The comparison of the witness's reports by itself: what it must find, and where each difference that it expects ends."""
import unittest

from witness_report import compare

SAME = {"cpu0.cr4": "7e8", "cpu0.msr.pat": "105040600070406", "pic.master.imr": "a5", "rtc.b": "2", "rate.pit": "1193182.1",
        "rate.rtc": "1.001", "rate.tick": "100.002", "lapic.id": "0", "pci.00:01.0.60": "0b0b0a0a", "cpuid.1.0.eax": "633",
        "hpet.present": "0", "rtc.time": "261126235959", "lapic.current": "17"}
XEN = {"rate.lapic": "6250000.7", "rate.tsc": "2596124000.0", "lapic.divider": "3", "lapic.lvt_timer": "20041",
       "ioapic.version": "2f0011", "ioapic.redirection.05.low": "10065", "ioapic.redirection.14.low": "1a074",
       "ioapic.redirection.18.low": "1a078", "cpuid.1.0.ebx": "100800", "cpuid.4.0.eax": "121",
       "cpuid.40000000.0.eax": "40000005", "cpuid.40000000.0.ebx": "566e6558", "cpuid.40000000.0.ecx": "65584d4d",
       "cpuid.40000000.0.edx": "4d4d566e", "hpet.present": "1", "hpet.config": "0", "hpet.counter": "0"}
QEMU = {"rate.lapic": "7812500.1", "rate.tsc": "2596200000.0", "lapic.divider": "a", "lapic.lvt_timer": "20041",
        "ioapic.version": "170020", "ioapic.redirection.05.low": "18074", "ioapic.redirection.14.low": "1a074",
        "cpuid.1.0.ebx": "10800", "cpuid.4.0.eax": "122", "cpuid.40000000.0.eax": "40000001",
        "cpuid.40000000.0.ebx": "54474354", "cpuid.40000000.0.ecx": "43544743", "cpuid.40000000.0.edx": "47435447",
        "hpet.present": "0", "pci.00:1f.0.00": "11101af4", "pci.00:1f.0.04": "00000003"}


def line(number, changed=0, spurious=0, ticks=None):
    return (f"witness {number} ok up={number * 1010} ticks={ticks or number * 101} tsc_khz=2596124 lapic_khz=6250 changed={changed} "
            f"bad_pages=0 spurious={spurious}")


def report(number, values):
    return [f"report {number} begin", *(f"{key} {value}" for key, value in values.items()), f"report {number} end"]


def text(*lines):
    return "".join(f"{each}\r\n" for each in lines)


def consoles(before, after):
    return (text("witness starts", *report(1, before), line(1), line(2)), text(line(3), *report(4, after), line(4), line(5)))


class Equal(unittest.TestCase):
    def setUp(self):
        self.before, self.after = consoles(SAME, SAME | {"rtc.time": "261127000002", "lapic.current": "3", "rate.pit": "1193179.0"})

    def failures(self, before=None, after=None):
        return compare(before or self.before, after or self.after).failures

    def test_no_failure(self):
        result = compare(self.before, self.after)
        self.assertEqual((result.failures, result.expected, result.compared), ([], [], len(SAME)))

    def test_a_line_cut_anywhere(self):
        whole = self.before + self.after
        start = len(self.before) - len(line(2))
        for cut in range(start, len(self.before) + len(line(3))):
            self.assertEqual(self.failures(whole[:cut], whole[cut:]), [], whole[:cut][-20:])

    def test_a_report_cut_in_two_counts_for_neither(self):
        more = text(*report(5, SAME | {"cpu0.cr4": "0"}))
        self.assertEqual(self.failures(self.before + more[:60], more[60:] + self.after), [])

    def test_each_value(self):
        for key, value in {"cpu0.cr4": "7e0", "cpu0.msr.pat": "absent", "pic.master.imr": "a4", "rate.pit": "1260000.0",
                           "rate.rtc": "0.9", "rate.tick": "94.0", "lapic.id": "1", "pci.00:01.0.60": "0b0b0a0b",
                           "cpuid.1.0.eax": "634", "hpet.present": "1", "rtc.time": "261126235958"}.items():
            failures = self.failures(*consoles(SAME, SAME | {key: value}))
            self.assertEqual([failure.split(": ")[0] for failure in failures], [key])

    def test_a_value_that_only_one_has(self):
        fewer = {key: value for key, value in SAME.items() if key != "pic.master.imr"}
        self.assertEqual(self.failures(*consoles(SAME, fewer)), ["pic.master.imr: a5 before, missing after"])
        self.assertEqual(self.failures(*consoles(fewer, SAME)), ["pic.master.imr: missing before, a5 after"])

    def test_a_wrong_rate_on_both_sides(self):
        self.assertEqual(len(self.failures(*consoles(SAME | {"rate.tick": "50.0"}, SAME | {"rate.tick": "50.0"}))), 1)

    def test_rounds(self):
        for replaced, by, failure in ((line(3), line(4), "round 4 follows round 2"), (line(3), line(2), "round 2 follows round 2"),
                                      (line(5), line(5, ticks=404), "round 5: ticks=404 after 404"),
                                      (line(5), line(5, spurious=2), "round 5: 2 interrupts of nobody")):
            self.assertIn(failure, self.failures(after=self.after.replace(replaced, by)))

    def test_complaints(self):
        for complaint in ("changed cpu0.rax expected 1 found 2", "bad-page 01000000 expected 1 found 2",
                          "exception 0d cpu=0 error=0", "unexpected-interrupt 63", "garbage"):
            self.assertEqual(len(self.failures(after=text(complaint) + self.after)), 1, complaint)
            self.assertEqual(len(self.failures(before=self.before + text(complaint))), 1, complaint)

    def test_changes_that_are_counted_have_to_be_told(self):
        self.assertEqual(self.failures(after=self.after.replace(line(5), line(5, changed=1))),
                         ["round 5: changed=1 bad_pages=0, but 0 and 0 are told"])

    def test_nothing_after(self):
        self.assertEqual(self.failures(after="\r\n"), ["no round after", "no full report after"])


class FromXenToQemu(unittest.TestCase):
    def check(self, before=None, after=None):
        result = compare(*consoles(SAME | XEN | (before or {}), {**SAME, **QEMU, **(after or {})}))
        return {failure.split(": ")[0] for failure in result.failures}, {key for key, *_ in result.expected}

    def test_all_that_is_expected(self):
        failures, expected = self.check()
        self.assertEqual(failures, set())
        self.assertEqual(expected, {
            "rate.lapic", "lapic.divider", "ioapic.version", "ioapic.redirection.05.low", "ioapic.redirection.18.low",
            "cpuid.1.0.ebx", "cpuid.4.0.eax", "cpuid.40000000.0.eax", "cpuid.40000000.0.ebx", "cpuid.40000000.0.ecx",
            "cpuid.40000000.0.edx", "hpet.present", "hpet.config", "hpet.counter", "pci.00:1f.0.00", "pci.00:1f.0.04"})

    def test_a_difference_that_the_guest_told_too_is_one(self):
        before, after = consoles(SAME | XEN, {**SAME, **QEMU})
        told = after.replace(text(line(5)), text("changed lapic.divider expected 3 found a", line(5, changed=1)))
        self.assertNotEqual(told, after)
        self.assertEqual(compare(before, told), compare(before, after))

    def test_the_lapic_tick_follows_its_clock(self):
        tick = {"lapic.lvt_timer": "20040"}
        self.assertEqual(self.check(tick, tick | {"rate.tick": "125.0"})[0], set())
        self.assertEqual(self.check(tick, tick | {"rate.tick": "110.0"})[0], {"rate.tick"})
        self.assertEqual(self.check({}, {"rate.tick": "125.0"})[0], {"rate.tick"})

    def test_where_each_ends(self):
        for before, after, key in (({}, {"rate.lapic": "6250000.0"}, "lapic.divider"),
                                   ({}, {"lapic.divider": "9"}, "lapic.divider"),
                                   ({}, {"ioapic.version": "170013"}, "ioapic.version"),
                                   ({}, {"ioapic.redirection.05.low": "8099"}, "ioapic.redirection.05.low"),
                                   ({}, {"ioapic.redirection.06.low": "18074"}, "ioapic.redirection.06.low"),
                                   ({}, {"ioapic.redirection.18.low": "0"}, "ioapic.redirection.18.low"),
                                   ({}, {"pci.00:1f.0.00": "11111af4"}, "pci.00:1f.0.00"),
                                   ({}, {"pci.00:1e.0.00": "11101af4"}, "pci.00:1e.0.00"),
                                   ({"hpet.config": "1"}, {}, "hpet.present"),
                                   ({}, {"cpuid.1.0.ebx": "1010800"}, "cpuid.1.0.ebx"),
                                   ({}, {"cpuid.40000000.0.ecx": "43544744"}, "cpuid.40000000.0.ebx")):
            self.assertIn(key, self.check(before, after)[0])

    def test_values_that_may_become_just_one_thing(self):
        """Key, before, what it may be after, and what not; between two QEMUs it may not either."""
        for key, before, allowed, other in (
                ("cpu0.cr2", "ffff808015a3c0f8", "0", "8"), ("cpu0.msr.pat", "105040600070406", "7040600070406", "7040600070405"),
                ("cpu0.msr.mtrr.base7", "d0000005", "0", "d0000006"), ("cpu0.msr.xss", "absent", "0", None),
                ("cpu0.msr.platform_info", "80000000", "0", "1"), ("cpu0.msr.mcg_capabilities", "2", "100010a", "3"),
                ("cpuid.1.0.ecx", "c2f82203", "c2d82203", "c2d82202"), ("cpuid.1.0.edx", "1fcbfbfd", "fcbfbfd", "fcbfbfc"),
                ("cpuid.7.0.ebx", "1880309", "1c80309", "1c80308"), ("pci.00:00.0.58", None, "33333000", "43333000"),
                ("pci.00:01.0.60", "050b0a05", "05050b0a", "05050b0c"), ("pic.elcr", "c20", "c24", "c04"),
                ("pit.1.status", "3e", "6", "7"), ("cpuid.80000008.0.ebx", "100000", None, "100001"),
                ("cpuid.80000021.0.eax", "4", None, "3"), ("cpuid.8000001d.0.eax", None, "121", None)):
            with self.subTest(key=key):
                def values(value):
                    return {} if value is None else {key: value}
                same = {name: value for name, value in SAME.items() if name != key}
                failures = [compare(*consoles(same | XEN | values(before), same | QEMU | values(after))).failures
                            for after in (allowed, other)]
                self.assertEqual(failures[0], [])
                if other is not None:
                    self.assertEqual([failure.split(": ")[0] for failure in failures[1]], [key])
                between = compare(*consoles(same | QEMU | values(before), same | QEMU | values(allowed))).failures
                self.assertEqual([failure.split(": ")[0] for failure in between], [key])


if __name__ == "__main__":
    unittest.main()
