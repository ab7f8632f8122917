"""The guest "witness": it runs on QEMU's machines; the comparison of its reports finds nothing after a migration from QEMU
to QEMU, and finds what was changed on the way."""
import os
import pathlib
import re
import select
import subprocess
import tempfile
import time
import unittest

import load
import ticks
import witness_report
from qmp import Qmp

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 40  # for anything that takes a few


def held(cpu, number, register):
    """What a CPU holds in a register in that round: pattern() of held.cpp."""
    return ((cpu + 1) << 56 | register << 48 | number) * 0x0001000100010003 % 2**64 ^ 0x5AC3A53C0FF0C35A


def page_word(address, generation):
    """word() of memory.cpp."""
    return ((address ^ generation << 40) * 0x9E3779B97F4A7C15 + generation) % 2**64


class Guest:
    """A QEMU with the guest in it; its console is a file, COM1's input a socket's."""

    def __init__(self, folder, name, image, command_line="", arguments=()):
        self.console = folder / f"{name}.console"
        self.qmp_path = folder / f"{name}.qmp"
        with self.console.open("wb") as console:
            self.process = subprocess.Popen(
                ["qemu-system-x86_64", "-accel", "tcg", "-m", "64", "-display", "none", "-nodefaults", "-kernel", image,
                 "-append", command_line, "-chardev", "stdio,id=com1,signal=off", "-serial", "chardev:com1",
                 "-qmp", f"unix:{self.qmp_path},server=on,wait=off", *arguments],
                stdin=subprocess.PIPE, stdout=console, stderr=subprocess.PIPE)
        self.qmp = Qmp(self.qmp_path)

    def text(self):
        return self.console.read_bytes().decode("ascii", errors="replace")

    def wait(self, pattern, seconds=SECONDS):
        """Until the console has that line; a line of trouble ends the wait too."""
        wanted = re.compile(rf"(?m)^(?:{pattern}|exception .*)\r$")
        deadline = time.monotonic() + seconds
        while not (match := wanted.search(self.text())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no {pattern} in\n{self.text()[-2000:]}{self._errors()}")
            time.sleep(0.05)
        return match[0]

    def _errors(self):
        ready, _, _ = select.select([self.process.stderr], [], [], 0)
        return os.read(self.process.stderr.fileno(), 4096).decode() if ready else ""

    def rounds(self, count):
        self.wait(rf"witness {count} ok .*")

    def ask(self):
        self.process.stdin.write(b"r")
        self.process.stdin.flush()

    def save(self, path):
        self.qmp("migrate", uri=f"exec:cat > {path}")
        self.qmp.wait_status("postmigrate", SECONDS)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stderr.close()
        self.qmp.file.close()
        self.qmp.socket.close()


class WitnessTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="witness-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.image = os.environ.get("WITNESS")
        if cls.image:
            return
        build = cls.folder / "build"
        for command in (["cmake", "-S", HERE / "witness", "-B", build], ["cmake", "--build", build]):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        cls.image = str(build / "witness.bin")

    def setUp(self):
        load.meter()  # from now on it is measured
        self.since = time.monotonic()

    def check_names(self, found, wanted):
        """Names of what differs. Rates that nothing here has changed say that the machine was late, where it was."""
        more = found - wanted
        if more and found >= wanted and all(name.startswith("rate.") for name in more):
            raise ticks.clocks_failed(f"rates are wrong: {sorted(more)}", self.since)
        self.assertEqual(found, wanted)

    def start(self, name, command_line="", *arguments):
        guest = Guest(self.folder, f"{self.id()}-{name}"[-60:], self.image, command_line, arguments)
        self.addCleanup(guest.close)
        return guest


class Machines(WitnessTest):
    def check(self, command_line, *arguments):
        guest = self.start("guest", command_line, *arguments)
        guest.rounds(3)
        console = witness_report.parse([line.rstrip("\r") for line in guest.text().split("\n")[:-1]])
        self.assertEqual(console.complaints, [])
        self.assertEqual([(r.number, r.changed, r.bad_pages, r.spurious) for r in console.rounds[:3]],
                         [(n, 0, 0, 0) for n in (1, 2, 3)])
        values = console.reports[0].values
        failures, _ = witness_report.compare_reports(values, values)
        self.check_names({failure.split(":")[0] for failure in failures}, set())
        self.assertGreater(len(values), 300)
        guest.close()
        return values

    def test_pc_pit_two_cpus(self):
        values = self.check("timer=pit cpus=2", "-M", "pc", "-smp", "2")
        self.assertEqual(values["cpu1.breakpoints_taken"], "1")

    def test_pc_pit_through_the_8259(self):
        values = self.check("timer=pit pic", "-M", "pc")
        self.assertEqual(values["pic.master.imr"], "fa")

    def test_pc_lapic(self):
        self.assertEqual(self.check("timer=lapic", "-M", "pc")["lapic.lvt_timer"], "20040")

    def test_q35_rtc(self):
        self.assertEqual(self.check("timer=rtc", "-M", "q35")["rtc.b"], "42")

    def test_q35_hpet(self):
        self.assertEqual(self.check("timer=hpet", "-M", "q35")["hpet.config"], "3")


class Trouble(WitnessTest):
    def test_no_tick_another_pm_timer_an_exception(self):
        guest = self.start("guest", "timer=pit", "-M", "pc")
        guest.rounds(2)
        guest.qmp.hmp("o/b 0x43 0x30")  # the PIT's mode 0 waits for a count
        guest.wait("changed tick expected interrupts found none")
        for value, port in ((0x80000B40, 0xCF8), (0xB001, 0xCFC)):
            guest.qmp.hmp(f"o/w {port:#x} {value:#x}")
        guest.wait("changed pm-timer.port expected 608 found b008")
        guest.qmp.hmp("nmi")
        self.assertRegex(guest.wait("exception .*"), "^exception 02 cpu=0 ")


class Migration(WitnessTest):
    ARGUMENTS = ("-M", "pc", "-vga", "std", "-smp", "2", "-cpu", "max")  # which has AVX

    def migrate(self, in_stream=None, on_destination=None, arguments=()):
        """From a QEMU to another with `arguments` too; in_stream(the stream's bytes, the round that was going on) changes
        those, on_destination(guest) something there, before it goes on."""
        source = self.start("source", "cpus=2", *self.ARGUMENTS)
        source.rounds(2)
        time.sleep(0.3)  # in the midst of round 3
        stream = self.folder / f"{self.id()}.stream"
        source.save(stream)
        before = source.text()
        source.close()
        if in_stream:
            content = bytearray(stream.read_bytes())
            in_stream(content, before.count(" ok ") + 1)
            stream.write_bytes(content)
        destination = self.start("destination", "cpus=2", *self.ARGUMENTS, *arguments, "-S", "-incoming", f"exec:cat {stream}")
        destination.qmp.wait_status("paused", SECONDS)
        if on_destination:
            on_destination(destination)
        destination.ask()
        destination.qmp("cont")
        destination.wait(r"report \d+ end")
        number = int(re.findall(r"report (\d+) end", destination.text())[-1])
        destination.rounds(number + 1)
        after = destination.text()
        destination.close()
        return before, after

    def changed(self, before, after):
        """The names in the failures, each of which has to begin with one."""
        failures = witness_report.compare(before, after).failures
        names = [re.match(r"(?:changed )?(bad-page|[\w.:]+?):? ", failure) for failure in failures]
        self.assertNotIn(None, names, failures)
        return {name[1] for name in names}

    def test_nothing_changes(self):
        before, after = self.migrate()
        result = witness_report.compare(before, after)
        self.check_names(self.changed(before, after), set())
        self.assertEqual(result.failures, [])
        self.assertEqual(result.expected, [])
        self.assertGreater(result.compared, 300)

    def test_registers_change_in_the_stream(self):
        """QEMU's stream has each as 8 bytes, the highest first, the guest's own copies are the other way round."""
        def change(stream, number):
            for cpu, name, value in ((0, "rax", held(0, number, 0)), (0, "r15", held(0, number, 15)),
                                     (0, "xmm", held(0, number, 24 + 4 * 3)), (0, "ymm", held(0, number, 24 + 4 * 15 + 3)), (0, "x87", held(0, number, 16) | 1 << 63),
                                     (0, "lstar", 0xFFFF800000000000 | 4 << 36 | 1 << 28 | 0x5A3C0F0 | 4)):
                wanted = value.to_bytes(8, "big")
                self.assertEqual(stream.count(wanted), 1, f"cpu{cpu} {name}")
                stream[stream.index(wanted) + 6] ^= 0x10
        self.check_names(self.changed(*self.migrate(change)),
                         {"cpu0.rax", "cpu0.r15", "cpu0.xmm.low3", "cpu0.ymm.high15", "cpu0.x87.significand0", "cpu0.msr.lstar"})

    def test_memory_changes_in_the_stream(self):
        """One bit in each of 16 pages in a row, one of which every round verifies."""
        def change(stream, _number):
            for page in range(256, 272):
                address = 0x1000000 + page * 4096 + 0x808
                words = [stream.find(page_word(address, generation).to_bytes(8, "little")) for generation in range(1, 9)]
                found = [at for at in words if at >= 0]
                self.assertEqual(len(found), 1, page)
                stream[found[0] + 3] ^= 4
        before, after = self.migrate(change)
        self.check_names(self.changed(before, after) - {"round"}, {"bad-page"})
        self.assertRegex(after, r"bad-page 011[0-9a-f]{2}808 expected [0-9a-f]{16} found [0-9a-f]{16}")

    def test_devices_change_on_the_destination(self):
        def change(guest):
            for port, value in ((0x83, 0x77), (0x21, 0xFB), (0x70, 0x7A), (0x71, 0x12), (0x43, 0x34), (0x40, 0x20),
                                (0x40, 0x1A), (0x3FF, 0x11)):
                guest.qmp.hmp(f"o/b {port:#x} {value:#x}")
            guest.qmp.hmp("o/h 0x602 0x100")
        names = self.changed(*self.migrate(on_destination=change, arguments=("-cpu", "max,stepping=9")))
        self.check_names(names, {"dma.1.page", "pic.master.imr", "cmos.7a", "rate.tick", "uart.scratch", "pm1.enable",
                                 "cpuid.1.0.eax", "cpuid.80000001.0.eax"})


if __name__ == "__main__":
    unittest.main()
