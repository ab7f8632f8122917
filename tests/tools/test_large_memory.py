"""Guests of more than 3 GiB: Xen's layout, byte for byte at the same guest-physical addresses.

The recorded guest is given more memory than it was booted with; it knows nothing of it and has to go on. Pages with
content of their own stand at the edges of the layout.
"""
import copy
import pathlib
import re
import struct
import subprocess
import tempfile
import unittest

import captures
import ticks
import xen_edit
from loaded import LoadedQemu
from qmp import Qmp
from replay import wait_for
from xen_stream import PAGE, XenStream

HOLE = 0xF0000000  # where RAM below 4 GiB ends on Xen
HIGH = 1 << 32
VGA_WINDOW = range(0xA0, 0xC0)
RESET_STUB = (0xDF, 0xFE)  # the only frames in which vmferry changes something


def content(gfn):
    """A page that no other frame has."""
    return struct.pack("<Q", 0xFEED << 48 | gfn) * (PAGE // 8)


class LargeMemory:
    """One size; made into a TestCase for each below. In the order of the names."""

    ram_bytes = None

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="vmferry-large-")))
        cls.low_end = min(cls.ram_bytes, HOLE)
        cls.high_end = HIGH + cls.ram_bytes - cls.low_end
        cls.guest = copy.copy(captures.first())
        original = xen_edit.recorded(cls.guest.stream)
        cls.guest.stream = folder / "stream"
        cls.guest.stream.write_bytes(xen_edit.populated(original, cls.ram_bytes, {gfn: content(gfn) for gfn in cls.edges()}))
        cls.xen = XenStream(cls.guest.stream)
        cls.loaded = LoadedQemu(cls.guest)
        cls.addClassCleanup(cls.loaded.close)
        cls.qmp = cls.loaded.qmp

    @classmethod
    def edges(cls):
        """Frames on both sides of every edge of the layouts of Xen and of QEMU's own choice (3 GiB, 3.5 GiB)."""
        candidates = [0x9F, (2 << 30) // PAGE, (3 << 30) // PAGE - 1, (3 << 30) // PAGE, (3584 << 20) // PAGE - 1,
                      (3584 << 20) // PAGE, HOLE // PAGE - 1, HIGH // PAGE, HIGH // PAGE + 0x1000,
                      cls.low_end // PAGE - 1, cls.high_end // PAGE - 1]
        return sorted({gfn for gfn in candidates
                       if gfn * PAGE < cls.low_end or HIGH <= gfn * PAGE < cls.high_end})

    def frames(self, qmp, first, count):
        file = self.loaded.folder / "memory"
        qmp.pmemsave(first * PAGE, count * PAGE, file)
        data = file.read_bytes()
        file.unlink()
        self.assertEqual(len(data), count * PAGE)
        return [data[at:at + PAGE] for at in range(0, len(data), PAGE)]

    def is_ram(self, gfn):
        return gfn not in VGA_WINDOW and (0 <= gfn * PAGE < self.low_end or HIGH <= gfn * PAGE < self.high_end)

    def check_edges(self, qmp):
        for gfn in self.edges():
            around = [frame for frame in (gfn - 1, gfn, gfn + 1) if self.is_ram(frame)]
            for frame, page in zip(around, self.frames(qmp, around[0], len(around))):
                with self.subTest(frame=hex(frame)):
                    self.assertEqual(page, self.xen.pages.get(frame, bytes(PAGE)))

    def test_1_edges(self):
        """Each page at its own address, its neighbours zero or the guest's."""
        self.assertTrue({0x9F, (3 << 30) // PAGE - 1, (3 << 30) // PAGE} <= set(self.edges()))
        if self.ram_bytes > HOLE:
            self.assertTrue({HOLE // PAGE - 1, HIGH // PAGE, self.high_end // PAGE - 1} <= set(self.edges()))
        self.check_edges(self.qmp)

    def test_2_the_guest_as_it_was(self):
        """The recorded 88 MiB, of which the plan now says the same as of the rest."""
        frames = range(0xC0, 0x5800)
        different = [frame for frame, page in zip(frames, self.frames(self.qmp, frames.start, len(frames)))
                     if page != self.xen.pages.get(frame, bytes(PAGE))]
        self.assertLessEqual(set(different), set(RESET_STUB))

    def flat_view(self):
        """{RAM block: [(first address, last address)]} as the processors see it, neighbours joined."""
        text = self.qmp.hmp("info mtree -f")
        view = next(part for part in text.split("FlatView #") if re.search(r"^ AS \"memory\"", part, re.M))
        blocks = {}
        for first, last, name in re.findall(r"^  ([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ram\): (\S+)", view, re.M):
            ranges = blocks.setdefault(name, [])
            first, last = int(first, 16), int(last, 16)
            if ranges and ranges[-1][1] + 1 == first:
                ranges[-1] = (ranges[-1][0], last)
            else:
                ranges.append((first, last))
        return blocks

    def test_3_layout(self):
        blocks = self.flat_view()
        self.assertEqual(blocks["pc.ram"], [(0, 0x9FFFF), (0xC0000, self.low_end - 1)])
        self.assertEqual(blocks.get("hi", []), [(HIGH, self.high_end - 1)] if self.high_end > HIGH else [])

    def test_4_migrates_on(self):
        """Before it has run: to a second stock QEMU with the same command line, as any guest of QEMU."""
        stream = self.loaded.folder / "stream2"
        words = [word.replace(str(self.loaded.console), "/dev/null") for word in self.loaded.report["command_line"]]
        words[words.index("-incoming") + 1] = f"unix:{stream}"
        monitor = self.loaded.folder / "qmp2"
        # Its disk stays with the first one until this ends; nobody writes to it.
        second = subprocess.Popen([*words, "-S", "-qmp", f"unix:{monitor},server=on,wait=off"], stdin=subprocess.DEVNULL)
        try:
            qmp = Qmp(monitor)
            self.qmp("migrate", uri=f"unix:{stream}")
            wait_for(lambda: self.qmp("query-migrate")["status"] in ("completed", "failed"), 60, "the end of migrate")
            self.assertEqual(self.qmp("query-migrate")["status"], "completed")
            qmp.wait_status("paused", 30)
            self.check_edges(qmp)
            qmp.quit()
            second.wait(timeout=10)
        finally:
            if second.poll() is None:
                second.kill()
                second.wait()

    def test_5_goes_on(self):
        self.qmp("cont")
        console = ticks.Console(self.loaded.console, ticks.Judge.of(self.guest), lambda: self.loaded.qemu.poll() is None)
        try:
            console.follow(4, 60)
        finally:
            console.close()
        self.check_edges(self.qmp)


class Of3686Mebibytes(LargeMemory, unittest.TestCase):
    """3.6 GiB: below Xen's hole in one piece, where QEMU by itself would move RAM above 4 GiB."""
    ram_bytes = 3686 << 20


class Of5Gibibytes(LargeMemory, unittest.TestCase):
    """RAM up to the hole and 1.25 GiB above 4 GiB."""
    ram_bytes = 5 << 30


if __name__ == "__main__":
    unittest.main()
