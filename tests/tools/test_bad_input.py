"""Corrupted streams and the real command: exit code 3, one line that names format, record, field and offset, and
nothing left behind."""
import json
import os
import pathlib
import re
import struct
import subprocess
import tempfile
import unittest

import captures
import xen_edit
from loaded import destination_options
from replay import VMFERRY
from xen_stream import XenStream

BAD_STREAM = 3


def u16(value):
    return struct.pack("<H", value)


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def put(place, at, data):
    """Overwrites `at` bytes behind the place of this name."""
    def change(stream, places):
        start = places[place] + at
        return stream[:start] + data + stream[start + len(data):]
    return change


def configure(key, value):
    def change(stream, places):
        return xen_edit.reconfigured(stream, lambda config: config["b_info"].update({key: value}))
    return change


def without_save_record(name):
    """Its bytes go, and the length of HVM_CONTEXT becomes less by as much."""
    def change(stream, places):
        at, context = places[name], places["libxc HVM_CONTEXT"]
        size = 8 + struct.unpack_from("<I", stream, at + 4)[0]
        length = struct.unpack_from("<I", stream, context + 4)[0]
        end = context + 8 + length
        body = stream[context + 8:at] + stream[at + size:end]
        padding = bytes(-len(body) % 8)
        return stream[:context + 4] + u32(len(body)) + body + padding + stream[end + (-length % 8):]
    return change


def cut(place, at):
    return lambda stream, places: stream[:places[place] + at]


# What is changed, the error's beginning, and where it is: a place and bytes behind it.
CORRUPTIONS = {
    "wrong magic": (put("xl", 0, b"Y"), ("xl header.magic", "input file.magic"), ("xl", 0)),
    "big-endian": (put("xl", 32, bytes([1, 2, 3, 4])), "xl header.byteorder", ("xl", 32)),
    "JSON that is none": (put("config", 0, b"<"), "xl config JSON.text", ("config", 0)),
    "negative memory": (configure("max_memkb", -1), "xl config JSON.b_info.max_memkb", ("config", 0)),
    "libxl version 3": (put("libxl", 8, bytes([0, 0, 0, 3])), "libxl header.version", ("libxl", 8)),
    "libxc version 4": (put("image", 12, bytes([0, 0, 0, 4])), "libxc image header.version", ("image", 12)),
    "no STATIC_DATA_END": (put("libxc STATIC_DATA_END", 0, u32(0x80000010)), "libxc PAGE_DATA.type",
                           ("libxc PAGE_DATA", 0)),
    "a CPU of no maker": (put("libxc X86_CPUID_POLICY", 8 + 12, b"Vmferry!"), "libxc X86_CPUID_POLICY.leaf 0",
                          ("libxc X86_CPUID_POLICY", 8)),
    "count 2^32 - 1": (put("libxc PAGE_DATA", 8, u32(0xFFFFFFFF)), "libxc PAGE_DATA.count", ("libxc PAGE_DATA", 8)),
    "frame 2^52 - 1": (put("libxc PAGE_DATA", 16, u64((1 << 52) - 1)), "libxc PAGE_DATA.pfn[0]", ("libxc PAGE_DATA", 16)),
    "frame outside the guest's memory": (put("libxc PAGE_DATA", 16 + 8, u64(xen_edit.XALLOC << 60 | 0x200000)), "libxc PAGE_DATA.pfn[1]",
                                         ("libxc PAGE_DATA", 24)),
    "unknown mandatory record": (put("libxc X86_TSC_INFO", 0, u32(0x55)), "libxc record.type", ("libxc X86_TSC_INFO", 0)),
    "over-long record": (put("libxc HVM_PARAMS", 4, u32(0xFFFFFFF0)), "libxc HVM_PARAMS.length", ("libxc HVM_PARAMS", 4)),
    "second HVM_CONTEXT": (put("libxc HVM_PARAMS", 0, u32(9)), "libxc HVM_CONTEXT.type", ("libxc HVM_PARAMS", 0)),
    "short CPU record": (put("HVM CPU[0]", 4, u32(1000)), "HVM_CONTEXT CPU[0].length", ("HVM CPU[0]", 4)),
    "vCPU that does not exist": (put("HVM LAPIC[1]", 2, u16(7)), "HVM_CONTEXT LAPIC[7].instance", ("HVM LAPIC[1]", 2)),
    "no PIT": (without_save_record("HVM PIT[0]"), "HVM_CONTEXT PIT.record", ("HVM END[0]", 0)),
    "unknown device": (put("libxl EMULATOR_CONTEXT", 8 + 8 + 8 + 6, b"x"), "qemu section ximer instance 0 version 2.idstr",
                       ("libxl EMULATOR_CONTEXT", 8 + 8 + 8)),
    "device of another version": (put("libxl EMULATOR_CONTEXT", 8 + 8 + 8 + 6 + 5 + 7, b"\x63"),
                                  "qemu section timer instance 0 version 99.version",
                                  ("libxl EMULATOR_CONTEXT", 8 + 8 + 8 + 6 + 5 + 4)),
    "cut inside a page": (cut("libxc X86_TSC_INFO", -100), "libxc PAGE_DATA.page of frame", ("libxc X86_TSC_INFO", -100)),
    "cut before the device model": (cut("libxl EMULATOR_CONTEXT", 0), "libxl record header", ("libxl EMULATOR_CONTEXT", 0)),
}


def qemus(folder):
    """Processes that were told of this folder."""
    found = []
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in words and b"vmferry" not in words.split(b"\0")[0]:
                found.append((process.name, words))
    return found


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="vmferry-bad-")))
        cls.guest = captures.first()
        # Small, so that there can be many of it: few of the recorded pages, the other frames without content.
        trimmed = xen_edit.recorded(captures.FOLDER / "xen-4.17-trimmed.up.zst")
        cls.stream = xen_edit.populated(trimmed, XenStream(cls.guest.stream).ram_bytes)
        cls.places = xen_edit.places(cls.stream)
        cls.options = destination_options(cls.guest, cls.folder)
        cls.disk = (cls.folder / "disk").read_bytes()

    def corrupted(self, change):
        data = change(self.stream, self.places)
        file = self.folder / "stream"
        file.write_bytes(data)
        return file

    def check(self, done, says, offset):
        error = done.stderr.decode()
        self.assertEqual(done.returncode, BAD_STREAM, error)
        line, = error.splitlines()
        match = re.fullmatch(r"vmferry: (.+?) at offset (0x[0-9a-f]+): found (.+), expected (.+)", line)
        self.assertIsNotNone(match, line)
        self.assertTrue(match[1].startswith(says), line)
        self.assertEqual(int(match[2], 16), offset, line)
        return line

    def check_nothing_left(self):
        self.assertEqual(qemus(self.folder), [])
        done = subprocess.run([VMFERRY, "sessions", "--json", "--state-dir", self.folder / "state"],
                              stdout=subprocess.PIPE, check=True)
        self.assertEqual(json.loads(done.stdout)["sessions"], [])
        self.assertEqual((self.folder / "disk").read_bytes(), self.disk, "the guest's disk was written to")

    def offset(self, name, file, place):
        # Behind a save record that is gone END stands earlier by as much.
        data = file.read_bytes()
        if name == "no PIT":
            return xen_edit.places(data)["HVM END[0]"]
        return self.places[place[0]] + place[1]

    def test_as_it_is(self):
        done = subprocess.run([VMFERRY, "convert", self.corrupted(lambda stream, places: stream), "--to", "qemu", "-o",
                               os.devnull, *self.options], capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_convert(self):
        out = self.folder / "out"
        for name, (change, says, place) in CORRUPTIONS.items():
            with self.subTest(name):
                file = self.corrupted(change)
                done = subprocess.run([VMFERRY, "convert", file, "--to", "qemu", "-o", out, *self.options],
                                      capture_output=True, timeout=120)
                self.check(done, says, self.offset(name, file, place))
                self.assertEqual(done.stdout, b"")
                self.assertFalse(out.exists(), "half a stream was left behind")
        self.check_nothing_left()

    def test_replay(self):
        """With a QEMU that is already there when the error comes."""
        for name, (change, says, place) in CORRUPTIONS.items():
            with self.subTest(name):
                file = self.corrupted(change)
                done = subprocess.run([VMFERRY, "replay", file, *self.options, "--serial",
                                       f"file:{self.folder / 'console'}"], capture_output=True, timeout=120)
                self.check(done, says, self.offset(name, file, place))
                console = self.folder / "console"
                self.assertFalse(console.exists() and console.read_bytes(), "the guest has run")
                self.check_nothing_left()

    def test_json(self):
        """The same in the document."""
        change, says, place = CORRUPTIONS["short CPU record"]
        done = subprocess.run([VMFERRY, "convert", self.corrupted(change), "--to", "qemu", "-o", os.devnull, "--json",
                               *self.options], capture_output=True, timeout=120)
        error = json.loads(done.stdout)["error"]
        self.assertEqual((error["kind"], error["format"], error["record"], error["field"], error["offset"]),
                         ("stream", "HVM_CONTEXT", "CPU[0]", "length", self.places[place[0]] + place[1]))


if __name__ == "__main__":
    unittest.main()
