"""The guests of the tests: what xl is told of them, and how each shows that it goes on.

A kind of guest has

    started(xen)                      waits until it runs under Xen
    goes_on(xen)                      shows that it runs there now
    follow(xen, destination, count)   shows that it goes on in the destination where it stopped under Xen

each of which raises ticks.Failed.
"""
import contextlib
import dataclasses
import pathlib
import re
import time

import captures
import linux_guest
import load
import ticks
import witness_report
from host_file import HostFile

GUESTS = "/testbed/guests"  # kernels and initrds, in the host
STATE = "/root"  # disks, logs, saved guests, in the host
IPXE = pathlib.Path(witness_report.__file__).parent / "ipxe"


@dataclasses.dataclass(frozen=True)
class Guest:
    """A guest under xl. `disk_mib` 0: no disk. `nic`: a model, or empty."""
    name: str = "g1"
    kernel: str = ""
    ramdisk: str = ""
    command_line: str = ""
    memory_mib: int = 112
    vcpus: int = 1
    vga: str = "cirrus"
    disk_mib: int = 16
    nic: str = "e1000"
    extra: tuple = ()  # further lines of the configuration

    @property
    def log(self):
        return f"{STATE}/{self.name}.log"

    @property
    def disk(self):
        return f"{STATE}/{self.name}.disk"

    @property
    def saved(self):
        return f"{STATE}/{self.name}.saved"

    @staticmethod
    def path(file):
        return file if file.startswith("/") else f"{GUESTS}/{file}"

    @property
    def netdev(self):
        """What its network card is connected to in the destination; empty: it has none. The guests ping 192.168.77.1."""
        return captures.NETDEV if self.nic else ""

    def config(self):
        """The text of its xl.cfg."""
        lines = [f'name="{self.name}"', 'type="hvm"', f"memory={self.memory_mib}", f"vcpus={self.vcpus}",
                 f'kernel="{self.path(self.kernel)}"', f'cmdline="{self.command_line}"', "xen_platform_pci=0", "hpet=0",
                 f'vga="{self.vga}"', f"videoram={16 if self.vga == 'stdvga' else 8}", "vnc=0", "sdl=0", "usb=0",
                 f'serial="file:{self.log}"', 'on_crash="preserve"']
        if self.ramdisk:
            lines.append(f'ramdisk="{self.path(self.ramdisk)}"')
        if self.disk_mib:
            # Nothing here answers to hotplug scripts of phy.
            lines.append(f'disk=["format=raw,backendtype=qdisk,vdev=hda,access=rw,target={self.disk}"]')
        if self.nic:
            lines.append(f'vif=["type=ioemu,model={self.nic},mac=00:16:3e:11:22:33,bridge=xenbr0"]')
        return "\n".join([*lines, *self.extra]) + "\n"


@dataclasses.dataclass(frozen=True)
class TickingLinux(Guest):
    """tests/guests/linux; it prints a line every second."""
    kernel: str = "vmlinuz"
    ramdisk: str = "initrd"
    command_line: str = linux_guest.COMMAND_LINE

    def last_tick(self, xen):
        """The last whole tick that it printed under Xen, or None."""
        text = xen.run(f"tail -c 2000 {self.log} 2>/dev/null").text
        whole = text[:text.rfind("\n") + 1]
        found = [match for line in whole.splitlines() if (match := ticks.TICK.search(line))]
        return ticks.Tick(found[-1], time.monotonic()) if found else None

    def wait_tick(self, xen, number, timeout=300):
        """Waits for that tick under Xen and returns the last one."""
        deadline = time.monotonic() + timeout
        while True:
            tick = self.last_tick(xen)
            if tick and tick.number >= number:
                return tick
            if xen.run(f"grep -q 'Kernel panic' {self.log}").code == 0:
                raise ticks.Failed(f"{self.name}'s kernel has panicked under Xen")
            if time.monotonic() > deadline:
                raise ticks.Failed(f"{self.name} did not reach tick {number} within {timeout} s under Xen; the last was "
                                   f"{tick.number if tick else 'none'}")
            time.sleep(1)

    def started(self, xen):
        self.wait_tick(xen, 3)

    def goes_on(self, xen, more=2, timeout=120):
        before = self.last_tick(xen)
        after = self.wait_tick(xen, (before.number if before else 0) + more, timeout)
        if before and (after.sum, after.disk_hash) != (before.sum, before.disk_hash):
            raise ticks.Failed(f"under Xen, after tick {before.number}: sum {after.sum}, disk {after.disk_hash}; they were "
                               f"{before.sum}, {before.disk_hash}")

    def follow(self, xen, destination, count):
        last = self.last_tick(xen)
        judge = ticks.Judge.after_tick(last, self.vcpus, self.disk_mib > 0, bool(self.nic))
        console = ticks.Console(destination.console(self.name), judge)
        try:
            return console.watch(count, 60)
        finally:
            console.close()

    def watched(self, xen, folder, count, seconds, excuses=()):
        """Judges as closely as follow() while it goes on under Xen. Returns what it showed, in words."""
        printed = xen.run(f"cat {self.log}").output
        whole = printed[:printed.rfind(b"\n") + 1]
        last = [ticks.Tick(match, 0) for line in whole.decode("latin-1").splitlines() if (match := ticks.TICK.search(line))][-1]
        judge = ticks.Judge.after_tick(last, self.vcpus, self.disk_mib > 0, bool(self.nic), excuses)
        with contextlib.closing(HostFile(xen, self.log, folder / "console", len(whole))) as copy:
            console = ticks.Console(copy.path, judge)
            try:
                return console.watch(count, 60, seconds)
            finally:
                console.close()


def wait_until(condition, timeout, what):
    """The first true value of condition(). Raises ticks.Failed."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise ticks.Failed(f"waited {timeout} s for {what}")
        time.sleep(1)
    return value


@dataclasses.dataclass(frozen=True)
class Memtest(Guest):
    """Debian's memtest86+, which nobody tuned for this; it shows its clock and its count of errors every other second."""
    kernel: str = "/boot/memtest86+x64.bin"
    command_line: str = "console=ttyS0,115200"
    memory_mib: int = 96
    disk_mib: int = 0
    nic: str = ""

    def clocks(self, printed):
        """Seconds that its clock has shown, in order. Raises ticks.Failed for an error that it has found."""
        for errors in re.findall(r"Errors: +(\d+)", printed):
            if errors != "0":
                raise ticks.Failed(f"memtest86+ has found {errors} errors")
        return [int(h) * 3600 + int(m) * 60 + int(s) for h, m, s in re.findall(r"Time: +(\d+):(\d\d):(\d\d)", printed)]

    def started(self, xen):
        wait_until(lambda: len(self.clocks(xen.printed(self))) >= 3, 120, "memtest86+ under Xen")

    def goes_on(self, xen):
        seen = len(self.clocks(xen.printed(self)))
        wait_until(lambda: len(self.clocks(xen.printed(self))) >= seen + 2, 60, "memtest86+ to go on under Xen")

    def follow(self, xen, destination, count):
        def clocks():
            return self.clocks(destination.printed(self.name).decode("latin-1"))
        before = self.clocks(xen.printed(self))[-1]
        after = wait_until(lambda: len(found := clocks()) >= count and found, 120, "memtest86+ to go on in QEMU")
        if not before <= after[0] <= before + 10 or after != sorted(after):
            raise ticks.Failed(f"memtest86+'s clock was {before} s under Xen and went on as {after}")
        return f"its clock {before} → {after[0]} … {after[-1]} s, no errors"


@dataclasses.dataclass(frozen=True)
class Ipxe(Guest):
    """Debian's iPXE, which nobody tuned for this, with a script that fetches one number after the other (tests/guests/ipxe).
    It writes nothing to its serial port: whoever answers writes there what it was asked for. A command line would be run in
    the script's place."""
    kernel: str = "/boot/ipxe.lkrn"
    ramdisk: str = "fetch.ipxe"
    memory_mib: int = 112  # with 64 it does not find its script, without Xen too
    disk_mib: int = 0

    @property
    def netdev(self):
        answer = f"sh {IPXE / 'answer'} {{folder}}/{{name}}.console"
        return f"{super().netdev},guestfwd=tcp:192.168.77.9:80-cmd:{answer}"

    @staticmethod
    def fetched(printed):
        """The numbers that it asked for, in order."""
        return [int(number) for number in re.findall(r"^fetched /(\d+)$", printed, re.MULTILINE)]

    def started(self, xen):
        # One such guest at a time has the address.
        xen.run(f"ip addr replace 192.168.77.9/24 dev xenbr0; kill $(cat {STATE}/answer.pid)")
        xen.machine.start(f"echo $BASHPID > {STATE}/answer.pid; exec socat TCP-LISTEN:80,bind=192.168.77.9,reuseaddr,fork "
                          f"EXEC:'sh {self.path('answer')} {self.log}'", f"{STATE}/answer.log")
        wait_until(lambda: len(self.fetched(xen.printed(self))) >= 5, 180, "iPXE under Xen")

    def goes_on(self, xen):
        seen = len(self.fetched(xen.printed(self)))
        wait_until(lambda: len(self.fetched(xen.printed(self))) >= seen + 2, 60, "iPXE to go on under Xen")

    def follow(self, xen, destination, count):
        def fetched():
            return self.fetched(destination.printed(self.name).decode("latin-1"))
        before = self.fetched(xen.printed(self))
        after = wait_until(lambda: len(found := fetched()) >= count and found, 120, "iPXE to go on in QEMU")
        # An answer that was on its way at the crossing is lost with its connection.
        lost = after[0] == before[-1]
        if before + after[lost:] != list(range(1, after[-1] + 1)):
            raise ticks.Failed(f"iPXE fetched {before} under Xen and {after} in QEMU")
        return f"fetched {before[-1]} → {after[0]} … {after[-1]}"


RATE_SECONDS = 30  # for the rates in a witness's last report before a crossing


@dataclasses.dataclass(frozen=True)
class Witness(Guest):
    """tests/guests/witness: no operating system, everything in a known state, which it checks and reports."""
    kernel: str = "witness.bin"
    command_line: str = "timer=pit"
    memory_mib: int = 64
    disk_mib: int = 0
    differences: list = dataclasses.field(default_factory=list, compare=False)  # as expected, from follow()

    @staticmethod
    def rounds(printed):
        """The numbers of its rounds, in order."""
        return [int(number) for number in re.findall(r"^witness (\d+) ok", printed, re.MULTILINE)]

    def started(self, xen):
        load.meter()  # from now on it is measured
        wait_until(lambda: len(self.rounds(xen.printed(self))) >= 3, 180, "the witness under Xen")

    def goes_on(self, xen):
        seen = len(self.rounds(xen.printed(self)))
        # A report may come between the two: 13 kB through a serial port that is emulated twice.
        wait_until(lambda: len(self.rounds(xen.printed(self))) >= seen + 2, 240, "the witness to go on under Xen")

    def follow(self, xen, destination, count):
        def printed():
            return destination.printed(self.name).decode("latin-1")
        before, since = xen.printed(self), time.monotonic() - RATE_SECONDS
        # A report comes every tenth round, and when it notices that it was moved.
        wait_until(lambda: len(self.rounds(printed())) >= count and re.search(r"^report \d+ end", printed(), re.MULTILINE), 120,
                   "the witness to go on in QEMU")
        after = printed()
        result = witness_report.compare(before, after)
        self.differences.extend(result.expected)
        if result.failures:
            text = "the witness's reports differ:\n" + "\n".join(result.failures)
            raise ticks.clocks_failed(text, since) if result.only_rates else ticks.Failed(text)
        found = self.rounds(after)
        return (f"round {self.rounds(before)[-1]} → {found[0]} … {found[-1]}; {result.compared} values compared, "
                f"{len(result.expected)} differ as listed below")
