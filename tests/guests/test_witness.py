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

import witness_report
from qmp import Qmp

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 40  # for anything that takes a few


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
        cls.image = str(build / "witness.elf")

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
        self.assertEqual(failures, [])
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


class Migration(WitnessTest):
    ARGUMENTS = ("-M", "pc", "-vga", "std", "-smp", "2")

    def migrate(self, change=None, arguments=()):
        """From a QEMU to another with `arguments` too; change(file of the migration stream, guest) is between."""
        source = self.start("source", "cpus=2", *self.ARGUMENTS)
        source.rounds(2)
        stream = self.folder / f"{self.id()}.stream"
        source.save(stream)
        if change:
            change(stream, source)
        before = source.text()
        source.close()
        destination = self.start("destination", "cpus=2", *self.ARGUMENTS, *arguments, "-incoming", f"exec:cat {stream}")
        destination.ask()
        destination.wait(r"report \d+ end")
        destination.wait(r"witness \d+ ok .*")
        # One more round: memory, and the time since.
        number = int(re.findall(r"witness (\d+) ok", destination.text())[-1])
        destination.rounds(number + 1)
        after = destination.text()
        destination.close()
        return before, after

    def failures(self, before, after):
        return witness_report.compare(before, after).failures

    def test_nothing_changes(self):
        before, after = self.migrate()
        result = witness_report.compare(before, after)
        self.assertEqual(result.failures, [])
        self.assertEqual(result.expected, [])
        self.assertGreater(result.compared, 300)


if __name__ == "__main__":
    unittest.main()
