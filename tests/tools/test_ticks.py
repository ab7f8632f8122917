"""What ticks.Judge lets pass, and what not: the crossings are only as good as it is."""
import re
import unittest
import unittest.mock

import load
import ticks

SUM, DISK = "83dcbe693182cbc3", "803d6b38"
DIED = ticks.Excuse(re.compile("Segmentation fault"), "a test", "a test", kills=True)
HARMLESS = ticks.Excuse(re.compile("harmless"), "a test", "a test")


def tick(number, up=None, date=None, cpus=2, disk=f"0/{DISK}", ping=1, sum=SUM, clock=""):
    return (f"tick {number} up={100 + number if up is None else up}.00 date={1700000000 + number if date is None else date} "
            f"cpus={cpus} disk={disk} ping={ping} sum={sum}" + (f" clock={clock}" if clock else ""))


class Ticks(unittest.TestCase):
    def setUp(self):
        # What is made up here is not for the last word on this run.
        self.enterContext(unittest.mock.patch.multiple(ticks.Seen, excused=[], others=0.0))

    def judge(self, *lines, excuses=(), others=0.0):
        judge = ticks.Judge(4, SUM, DISK, 2, last_up=104, excuses=excuses, others=lambda since: others)
        for line in lines:
            judge.line(line, len(judge.ticks))  # a tick a second
        return judge

    def refused(self, said, *lines, excuses=(), others=0.0):
        with self.assertRaisesRegex(ticks.Failed, said) as caught:
            self.judge(*lines, excuses=excuses, others=others)
        self.assertFalse(ticks.is_disturbed(caught.exception))

    def test_good(self):
        self.assertEqual(len(self.judge("n=1 sum=83dc", tick(6), tick(7), tick(8)).ticks), 3)
        self.judge(tick(5), tick(6), tick(7), tick(8)).verdict(4)

    def test_a_line_cut_in_two(self):
        """Wherever the guest was stopped in it, its end is no complaint of the kernel's."""
        whole = tick(5, clock="acpi_pm")
        for at in range(1, len(whole) + 1):
            self.judge(whole[at:], tick(6, clock="acpi_pm"))

    def test_each_rule(self):
        self.refused("tick 6 where tick 5", tick(6))
        self.refused("tick 7 where tick 6", tick(5), tick(7))
        self.refused("memory checksum", tick(5, sum="0" * 16))
        self.refused("disk=", tick(5, disk=f"139/{DISK}"))
        self.refused("disk=", tick(5, disk="0/00000000"))
        self.refused("ping=0", tick(5, ping=0))
        self.refused("cpus=1", tick(5, cpus=1))
        self.refused("up=", tick(5, up=103))
        self.refused("date=", tick(5), tick(6, date=1700000004))
        self.refused("clock=acpi_pm, it was tsc", tick(5, clock="tsc"), tick(6, clock="acpi_pm"))
        self.refused("clock=None, it was tsc", tick(5, clock="tsc"), tick(6))
        self.refused("unexpected line", tick(5), "[  101.5] clocksource: something")
        self.refused("unexpected line", tick(5), tick(6, sum=""))
        with self.assertRaisesRegex(ticks.Failed, "up advanced"):
            self.judge(tick(5), tick(6), tick(7, up=115), tick(8, up=116), tick(9, up=117)).verdict(4)
        with self.assertRaisesRegex(ticks.Failed, "date advanced"):
            self.judge(tick(5), tick(6), *(tick(number, date=1700000050 + number) for number in range(7, 12))).verdict(4)

    def test_excused(self):
        """One value for each command that died, missing and not wrong, in the next tick only."""
        both = (DIED, HARMLESS)
        for missing in ({"disk": f"139/{DISK}"}, {"disk": "0/e3b0c442"}, {"disk": "0/"}, {"ping": 0}, {"ping": ""}, {"cpus": ""},
                        {"sum": ""}, {"date": ""}):
            judge = self.judge(tick(5), "Segmentation fault", tick(6, **missing), "harmless", *map(tick, (7, 8, 9)), excuses=both)
            judge.verdict(5)
            self.assertEqual(judge.excused, ["Segmentation fault", "harmless"])
            for before in ((), ("harmless",), ("Segmentation fault", tick(6))):
                self.refused("", tick(5), *before, tick(7 if len(before) == 2 else 6, **missing), excuses=both)
        self.refused("ping=0", tick(5), "Segmentation fault", tick(6, ping=0, sum=""), excuses=both)
        self.judge(tick(5), "Segmentation fault", "Segmentation fault", tick(6, ping=0, sum=""), excuses=both)
        self.refused("memory checksum", tick(5), "Segmentation fault", tick(6, sum="0" * 16), excuses=both)
        self.refused("disk=", tick(5), "Segmentation fault", tick(6, disk="0/00000000"), excuses=both)
        self.refused("cpus=1", tick(5), "Segmentation fault", tick(6, cpus=1), excuses=both)
        self.refused("unexpected line", tick(5), "harmless", "Segmentation fault", excuses=(HARMLESS,))
        self.refused("unexpected line", tick(5), "harmless or not", excuses=both)

    def test_load(self):
        """A late interrupt is excused only where others kept the machine busy; all else is refused there too."""
        late = "[    9.144771] hrtimer: interrupt took 65026421 ns"
        self.refused("hrtimer.*", tick(5), late)
        self.refused("hrtimer.*", tick(5), late, others=load.IDLE / 2)
        self.assertEqual(ticks.Seen.words(), [])
        busy = self.judge(tick(5), late, tick(6), tick(7), tick(8), others=1.0)
        busy.verdict(4)
        self.assertEqual(busy.excused, [late])
        self.assertIn("65026421", ticks.Seen.words()[-1])
        for lines in ((tick(6),), (tick(5, sum="0" * 16),), (tick(5, ping=0),), (tick(5), "[  101.5] clocksource: something"),
                      (tick(5), "[   12.3] watchdog: BUG: soft lockup - CPU#1 stuck for 22s!")):
            self.refused("", *lines, others=2.0)

    def test_pace_under_load(self):
        """It is to be seen again; on an idle machine it has failed."""
        for others, again in ((0.0, False), (1.0, True)):
            with self.assertRaisesRegex(ticks.Failed, "up advanced") as caught:
                self.judge(tick(5), tick(6), tick(7, up=115), tick(8, up=116), tick(9, up=117), others=others).verdict(4)
            self.assertEqual(ticks.is_disturbed(caught.exception), again)
            try:
                raise AssertionError("with evidence") from caught.exception
            except AssertionError as reason:
                self.assertEqual(ticks.is_disturbed(reason), again)

    def test_the_list(self):
        """Each of its lines has a reason, and none of them covers what a guest must never say."""
        for excuse in ticks.NESTED_SMP + ticks.TWO_HOSTS + ticks.PM_TIMER:
            self.assertTrue(excuse.reason)
            for said in (tick(5), "[   12.345678] BUG: soft lockup - CPU#1 stuck for 22s!", "[    1.000000] Kernel panic - not syncing",
                         "[   12.345678] ata1: lost interrupt (Status 0x50)", "[   12.345678] watchdog: BUG"):
                self.assertIsNone(excuse.line.fullmatch(said))
        for said in ("Segmentation fault", "[    9.144771] hrtimer: interrupt took 65026421 ns"):
            self.judge(tick(5), said, tick(6), excuses=ticks.NESTED_SMP)


if __name__ == "__main__":
    unittest.main()
