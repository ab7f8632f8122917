"""What crossed is a whole machine: it goes on, takes an ACPI event, shows its screen, migrates on to another stock
QEMU as any QEMU guest does, and reboots."""
import re
import subprocess
import time
import unittest

import captures
import ticks
from loaded import LoadedQemu
from qmp import Qmp
from replay import wait_for

SCREEN_TEXT = 0xB8000


class WholeMachine:
    """One guest through all stations, in the order of the names."""

    guest = None

    @classmethod
    def setUpClass(cls):
        cls.loaded = LoadedQemu(cls.guest)
        cls.qmp = cls.loaded.qmp
        cls.second = None
        cls.judge = ticks.Judge.of(cls.guest)
        cls.console = ticks.Console(cls.loaded.console, cls.judge, lambda: cls.loaded.qemu.poll() is None)

    @classmethod
    def tearDownClass(cls):
        cls.console.close()
        if cls.second:
            cls.second_qmp.quit()
            try:
                cls.second.wait(timeout=10)
            except subprocess.TimeoutExpired:
                cls.second.kill()
                cls.second.wait()
        cls.loaded.close()

    def follow(self, more):
        self.console.follow(more, 60)

    def test_1_goes_on(self):
        self.qmp("cont")
        self.follow(4)

    def interrupts(self, line):
        """How often QEMU's I/O APIC has seen this line."""
        match = re.search(rf"IRQ statistics for ioapic:\n(?:.*\n)*? *{line}: (\d+)", self.qmp.hmp("info irq"))
        return int(match[1]) if match else 0

    def test_2_acpi_event(self):
        """A hot-plugged PCI device raises the SCI: IRQ 9, handled, not raised for ever; the kernel says nothing bad
        (the judge admits no line but ticks)."""
        before = self.interrupts(9)
        self.qmp("device_add", driver="e1000", id="hotplugged")
        wait_for(lambda: self.interrupts(9) > before, 10, "IRQ 9")
        self.follow(3)
        raised = self.interrupts(9)
        self.assertLess(raised - before, 10, "IRQ 9 storms")
        self.follow(2)
        self.assertEqual(self.interrupts(9), raised, "IRQ 9 is raised again and again")
        # Taken away again, so that the second QEMU's command line is still this machine's.
        self.qmp("device_del", id="hotplugged")

    def test_3_screen(self):
        file = self.loaded.folder / "screen.ppm"
        self.qmp("screendump", filename=str(file))
        data = wait_for(lambda: file.exists() and file.read_bytes(), 5, "the screendump")
        header = re.match(rb"P6\n(\d+) (\d+)\n255\n", data)
        pixels = data[header.end():]
        self.assertEqual(len(pixels), int(header[1]) * int(header[2]) * 3)
        colours = {pixels[at:at + 3] for at in range(0, len(pixels), 3)}
        self.assertGreater(len(colours), 1, "the screen is blank")

    def test_4_migrates_on(self):
        """An ordinary `migrate` to a second stock QEMU, with the same command line."""
        console = self.loaded.folder / "console2"
        stream = self.loaded.folder / "stream2"
        words = [word.replace(str(self.loaded.console), str(console)) for word in self.loaded.report["command_line"]]
        at = words.index("-incoming")
        words[at + 1] = f"unix:{stream}"
        type(self).second = subprocess.Popen([*words, "-qmp", f"unix:{self.loaded.folder / 'qmp2'},server=on,wait=off"],
                                             stdin=subprocess.DEVNULL)
        type(self).second_qmp = Qmp(self.loaded.folder / "qmp2")
        self.follow(1)
        self.qmp("migrate", uri=f"unix:{stream}")
        wait_for(lambda: self.qmp("query-migrate")["status"] in ("completed", "failed"), 60, "the end of migrate")
        self.assertEqual(self.qmp("query-migrate")["status"], "completed")
        self.second_qmp.wait_status("running", 30)
        time.sleep(0.2)
        self.console.drain()
        judge = ticks.Judge.of(self.guest, self.judge.ticks[-1].number)
        second = ticks.Console(console, judge, lambda: self.second.poll() is None)
        second.follow(5, 60)
        second.close()
        judge.verdict(5)

    def screen_text(self):
        file = self.loaded.folder / "text"
        self.second_qmp.pmemsave(SCREEN_TEXT, 4000, file)
        return file.read_bytes()[::2].decode("latin-1")

    def test_5_resets(self):
        """`system_reset` starts QEMU's own firmware, which runs its POST and looks for something to boot."""
        self.second_qmp("system_reset")
        wait_for(lambda: "SeaBIOS" in self.screen_text() and "Booting from" in self.screen_text(), 30,
                 "SeaBIOS on the screen")
        self.assertEqual(self.second_qmp("query-status")["status"], "running")
        resets = sum(event["event"] == "RESET" for event in self.second_qmp.events)
        self.assertLess(resets, 3, "the guest resets for ever")


for _guest in captures.guests():
    _name = "WholeMachine_" + re.sub(r"\W", "_", _guest.name)
    globals()[_name] = type(_name, (WholeMachine, unittest.TestCase), {"guest": _guest})
