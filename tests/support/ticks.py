#!/usr/bin/env python3
"""Judges the console of the test guest after it has crossed.

The guest prints once a second

    tick 24 up=330.31 date=1700000000 cpus=2 disk=0/803d6b38 ping=1 sum=83dcbe693182cbc3 clock=tsc

and nothing else. `Judge` takes the lines as they arrive, with the host's clock, and holds every rule:
numbering without a gap, same memory checksum, disk read back right, network alive, all CPUs there, the kernel's clock
source the same (older recordings do not tell it), both guest clocks at the host's pace, and no other line at all on the
console (a kernel that complains prints there), but for those that an allow-list (`NESTED_SMP`) has a reason for.

What depends on the guest getting its processor in time (LATE lines, the pace) is judged by what else the machine did meanwhile
(load.py): where it was idle, as strictly as the rest; where it was not, such a line is excused, counted and told, and a wrong pace
is `Disturbed`: whoever runs the test repeats it once.

As a program: ticks.py --console FILE --after 24 [--count 20] ... waits for FILE to grow and exits 0 only if
every rule held.
"""
import argparse
import dataclasses
import re
import sys
import time

import load

TICK = re.compile(r"tick (\d+) up=(\d+\.\d+) date=(\d+) cpus=(\d+) disk=(\d+)/(\w+) ping=(\d+) sum=([0-9a-f]{16})"
                  r"(?: clock=([\w-]+))?$")
# The same, with what a command that died did not print.
MAIMED = re.compile(r"tick (\d+) up=(\d+\.\d+|) date=(\d*) cpus=(\d*) disk=(\d+)/(\w*) ping=(\d*) sum=([0-9a-f]{16}|)"
                    r"(?: clock=([\w-]*))?$")
NO_HASH = ("", "e3b0c442")  # of what a dd that died has read: nothing
# The line that was being printed when the guest was stopped ends on the other side.
FRAGMENT = re.compile(r"[0-9a-z=/._ -]*$")
PACE = 0.10  # of wall-clock rate
DATE_STEP = 1.0  # `date` shows whole seconds
READING = 0.25  # seconds between reading the clock and the line's arrival may differ by that much
LOOK_BACK = 5.0  # seconds before a line's arrival in which what made the kernel say it may have happened


class Failed(Exception):
    """A rule does not hold; the text says which."""


class Disturbed(Failed):
    """A rule on clocks does not hold, while the machine had other work."""


def is_disturbed(reason):
    """An exception that is Disturbed, or was raised because of one."""
    while reason and not isinstance(reason, Disturbed):
        reason = reason.__cause__
    return reason is not None


class Seen:
    """Of all judges of this process, for a last word: lines excused, and processors that others kept busy at most."""
    excused = []
    others = 0.0

    @classmethod
    def words(cls):
        """Nothing where the machine was idle and nothing was excused."""
        words = []
        if cls.others >= load.IDLE:
            words += [f"while guests' clocks were watched, others kept up to {cls.others:.2f} processors busy; all takes longer then"]
        if words or cls.excused:
            words += [f"lines excused: {len(cls.excused)}", *(f"    {line}" for line in cls.excused)]
        return words


def clocks_failed(text, since, others=None):
    """The exception for a rule on clocks that does not hold: Disturbed if the machine had other work since that moment. `others`:
    as in Judge."""
    busy = (others or load.meter().most)(since)
    Seen.others = max(Seen.others, busy)
    if busy < load.IDLE:
        return Failed(text)
    return Disturbed(f"{text}, while others kept up to {busy:.2f} processors busy")


@dataclasses.dataclass(frozen=True)
class Excuse:
    """A line that a guest may print although it is no tick. `name`: its reason in short. `kills`: it says that one command of
    the guest's script has died, so that one value of the next tick may be missing; a wrong one is never excused."""
    line: re.Pattern
    name: str
    reason: str
    kills: bool = False


LATE = re.compile(r"\[ *\d+\.\d+\] hrtimer: interrupt took \d+ ns")
# For guests with several vCPUs under a Xen host of the test bed; what the matrix runs beside them, a guest that was born there
# and never crossed, is judged with the same list. Nothing else has one, but for the next.
NESTED_SMP = (
    Excuse(re.compile(r"Segmentation fault"), "two vCPUs under an emulated Xen",
           "With XSAVE in the emulated processor, programs of guests with two vCPUs faulted now and then, at the same "
           "instructions whether the guest crossed or was born there; never with one vCPU", kills=True),
    Excuse(LATE, "two vCPUs under an emulated Xen",
           "A kernel says it once, of the first timer interrupt that takes longer than the time to the next one. Most likely "
           "because it reads the PM timer meanwhile, which for a guest of QEMU's firmware is in the device model: each reading "
           "waits for dom0, which shares the one emulated processor with both vCPUs"),
)
# For guests that come from a KVM host of the test bed: two emulated hosts then share the machine's processors.
TWO_HOSTS = (
    Excuse(LATE, "two emulated hosts",
           "Said within two seconds of the handover, of 17 to 33 ms, in four tries of five, while QEMU and vmferry come to their end in "
           "the KVM host; not by the same guest when it comes from a QEMU beside the Xen host"),
)
# For guests of QEMU's firmware under a Xen host of the test bed, when their kernel's clock is the PM timer.
PM_TIMER = (
    Excuse(LATE, "the PM timer is in the device model",
           "Where such a guest looks for it, the PM timer is the device model's: each reading waits for dom0, some milliseconds "
           "under two emulators, and a timer interrupt reads it several times. Said in three crossings of three on an idle machine; never "
           "by a guest whose clock is the TSC, nor by one of Xen's firmware, whose PM timer is Xen's own: docs/testbed.md"),
)


class Tick:
    """A value that is missing is None."""

    def __init__(self, match, at):
        self.at = at
        self.number = int(match[1])
        self.up = float(match[2]) if match[2] else None
        self.date = int(match[3]) if match[3] else None
        self.cpus = int(match[4]) if match[4] else None
        self.disk_status = int(match[5])
        self.disk_hash = match[6]
        self.ping = int(match[7]) if match[7] else None
        self.sum = match[8] or None
        self.clock = match[9] or None


class Judge:
    """`after`: the last complete tick on the source. `sum`, `disk`: as printed there; None takes the first tick's
    (which proves less). `cpus`: how many must be seen. `disk_used`, `network`: whether the guest has them. `excuses`: what
    else it may print. `others`: see load.Meter.most; the machine's own if None. `clock`: the kernel's clock source."""

    def __init__(self, after=None, sum=None, disk=None, cpus=None, disk_used=True, network=True, last_up=None, excuses=(),
                 others=None, clock=None):
        self.after, self.sum, self.disk, self.cpus = after, sum, disk, cpus
        self.disk_used, self.network, self.last_up = disk_used, network, last_up
        self.excuses, self.clock = excuses, clock
        self.others = others or load.meter().most  # from now on it is measured
        self.excused = []  # lines
        self.dead = 0  # commands that died since the last tick
        self.ticks = []
        self.fragment = None
        self.lines = 0

    @classmethod
    def of(cls, guest, after=None):
        """For a captured guest (captures.Guest), from its last tick on, or after another one."""
        return cls(guest.last_tick if after is None else after, guest.sum, guest.disk_hash, guest.cpus,
                   bool(guest.disk), guest.network, guest.last_up)

    @classmethod
    def after_tick(cls, last, cpus, disk_used, network, excuses=()):
        """For a guest whose last tick on the source was this one."""
        return cls(last.number, last.sum, last.disk_hash, cpus, disk_used, network, last.up, excuses, clock=last.clock)

    def line(self, text, at):
        """One console line without its end. Raises Failed."""
        text = text.rstrip("\r\n")
        if not text:
            # Of the line that was being printed, only its end may have been missing.
            if self.lines == 0 and self.fragment is None:
                self.fragment = ""
            return
        self.lines += 1
        if excuse := next((each for each in self.excuses if each.line.fullmatch(text)), None):
            self.excused.append(text)
            Seen.excused.append(f"{text} ({excuse.name})")
            self.dead += excuse.kills
            return
        if LATE.fullmatch(text):
            self._late(text, at)
            return
        match = (MAIMED if self.dead else TICK).match(text)
        if not match:
            if self.lines == 1 and FRAGMENT.match(text):
                self.fragment = text
                return
            raise Failed(f"unexpected line on the guest's console: {text!r}")
        self._tick(Tick(match, at))

    def _late(self, text, at):
        others = self.others(at - LOOK_BACK)
        Seen.others = max(Seen.others, others)
        if others < load.IDLE:
            raise Failed(f"unexpected line on the guest's console, on an idle machine: {text!r}")
        self.excused.append(text)
        Seen.excused.append(f"{text} (others: {others:.2f} processors)")

    def _tick(self, tick):
        if self.ticks:
            expected = [self.ticks[-1].number + 1]
        elif self.after is not None:
            # A fragment may be the rest of the first tick's own line.
            expected = [self.after + 1] + ([self.after + 2] if self.fragment is not None else [])
        else:
            expected = [tick.number]
        if tick.number not in expected:
            raise Failed(f"tick {tick.number} where tick {expected[0]} was due")
        faults, missing = self._faults(tick)
        if faults or len(missing) > self.dead:
            raise Failed(f"tick {tick.number}: {', '.join(faults + missing)}")
        self.dead = 0
        self.sum = self.sum or tick.sum
        self.clock = self.clock or tick.clock
        if tick.disk_status == 0 and tick.disk_hash not in NO_HASH:
            self.disk = self.disk or tick.disk_hash
        self.ticks.append(tick)

    def _faults(self, tick):
        """(what is wrong with it, what a command that died may have left out), in words."""
        faults, missing = [], []

        def check(holds, absent, text):
            if absent or not holds:
                (missing if absent else faults).append(text)

        check(tick.sum == (self.sum or tick.sum), tick.sum is None, f"memory checksum {tick.sum}, it was {self.sum}")
        if self.disk_used:
            check(tick.disk_hash == (self.disk or tick.disk_hash), tick.disk_status != 0 or tick.disk_hash in NO_HASH,
                  f"disk={tick.disk_status}/{tick.disk_hash}, expected 0/{self.disk}")
        if self.network:
            check(tick.ping == 1, not tick.ping, f"ping={tick.ping}, the network is dead")
        check(self.clock in (None, tick.clock), self.clock and not tick.clock, f"clock={tick.clock}, it was {self.clock}")
        check(self.cpus in (None, tick.cpus), tick.cpus is None, f"cpus={tick.cpus}, expected {self.cpus}")
        for name, last in (("up", self.last_up), ("date", None)):
            value = getattr(tick, name)
            last = next((seen for each in reversed(self.ticks) if (seen := getattr(each, name)) is not None), last)
            check(value is None or last is None or value >= last, value is None, f"{name}={value} runs backwards from {last}")
        return faults, missing

    def pace(self, since=1):
        """(host seconds, guest `up` seconds, guest `date` seconds) between the tick with this index and the last one. The
        first one's clocks may have been read before the guest was stopped."""
        seen = [tick for tick in self.ticks[since:] if None not in (tick.up, tick.date)]
        first, last = seen[0], seen[-1]
        return last.at - first.at, last.up - first.up, last.date - first.date

    def verdict(self, count, since=1):
        """Raises Failed unless `count` ticks came and the clocks kept the host's pace from the tick with index `since`
        on."""
        if len(self.ticks) < max(count, 3):
            raise Failed(f"only {len(self.ticks)} of {max(count, 3)} ticks")
        host, up, date = self.pace(since)
        begin = self.ticks[-1].at - host - LOOK_BACK
        if abs(up - host) > PACE * host + READING:
            raise clocks_failed(f"up advanced {up:.2f} s in {host:.2f} s of the host", begin, self.others)
        if abs(date - host) > PACE * host + READING + DATE_STEP:
            raise clocks_failed(f"date advanced {date} s in {host:.2f} s of the host", begin, self.others)
        Seen.others = max(Seen.others, self.others(begin))


class Console:
    """The growing file `path` that the guest's serial port is written to; its lines go to `judge`.

    `alive` tells whether the guest can still write, `show` is called with each line."""

    def __init__(self, path, judge, alive=lambda: True, show=None):
        self.path, self.judge, self.alive, self.show = path, judge, alive, show
        self.file = None
        self.pending = ""

    def follow(self, more, timeout):
        """Until `more` ticks have come since the last call; each may take `timeout` seconds. Raises Failed."""
        judge = self.judge
        count = len(judge.ticks) + more
        deadline = time.monotonic() + timeout
        while len(judge.ticks) < count:
            data = self._read()
            now = time.monotonic()
            if not data:
                if now > deadline:
                    raise Failed(f"no new tick for {timeout} s after {len(judge.ticks)} of {count}"
                                 + (f"; unfinished line: {self.pending!r}" if self.pending else ""))
                if not self.alive():
                    raise Failed(f"the guest ended after {len(judge.ticks)} of {count} ticks")
                time.sleep(0.02)
                continue
            before = len(judge.ticks)
            self._take(data, now)
            if len(judge.ticks) > before:
                deadline = now + timeout

    def watch(self, count, timeout, seconds=0):
        """At least `count` ticks and `seconds` in which they are seen coming, and the judge's verdict; each tick may take
        `timeout` seconds. Returns what was seen, in words. Raises Failed."""
        judge = self.judge
        # What has come already was not seen coming: the clocks are judged from the next tick on.
        self.follow(2, timeout)
        self.follow(1, timeout)
        since = len(judge.ticks) - 1
        self.follow(count, timeout)
        while judge.pace(since)[0] < seconds:
            self.follow(1, timeout)
        judge.verdict(count, since)
        host, up, _ = judge.pace(since)
        words = f"tick {judge.after} → {judge.ticks[0].number} … {judge.ticks[-1].number}, clock × {up / host:.2f}"
        return words + (f", lines excused: {len(judge.excused)}" if judge.excused else "")

    def drain(self):
        """What has been written by now, without waiting."""
        self._take(self._read(), time.monotonic())

    def close(self):
        if self.file:
            self.file.close()
            self.file = None

    def _read(self):
        if self.file is None:
            try:
                self.file = open(self.path, encoding="latin-1", newline="")
            except FileNotFoundError:
                return ""
        return self.file.read()

    def _take(self, data, now):
        *lines, self.pending = (self.pending + data).split("\n")
        for line in lines:
            if self.show:
                self.show(line.rstrip("\r"))
            self.judge.line(line, now)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--console", required=True, help="file that the guest's serial port is written to")
    parser.add_argument("--after", type=int, help="number of the last complete tick on the source")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--sum")
    parser.add_argument("--disk", help="hash of the disk block")
    parser.add_argument("--cpus", type=int)
    parser.add_argument("--no-disk", action="store_true")
    parser.add_argument("--no-network", action="store_true")
    parser.add_argument("--timeout", type=float, default=30, help="seconds to wait for each tick")
    options = parser.parse_args()
    judge = Judge(options.after, options.sum, options.disk, options.cpus, not options.no_disk, not options.no_network)
    try:
        Console(options.console, judge, show=lambda line: print(line, flush=True)).follow(options.count, options.timeout)
        judge.verdict(options.count)
    except Failed as reason:
        print(f"ticks.py: {reason}", file=sys.stderr)
        return 1
    host, up, date = judge.pace()
    print(f"ticks.py: {len(judge.ticks)} ticks in {host:.1f} s: up +{up:.1f} s, date +{date} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
