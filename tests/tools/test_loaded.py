"""A converted stream in a real QEMU, before it runs: does QEMU hold what Xen sent?

Memory byte by byte, registers, local APICs, I/O APIC and PICs of every vCPU, each read back through QEMU's monitor
and compared with what an independent reader finds in the Xen stream.
"""
import re
import struct
import unittest

import captures
from loaded import LoadedQemu
from xen_stream import PAGE, XenStream

HIGH = 1 << 32
SPECIAL_PAGES = range(0xFEFF0, 0xFF000)  # rings and ioreq pages: Xen's own
VGA_HOLE = range(0xA0, 0xC0)
FIRMWARE_AREA = 0xFC000  # hvmloader's ACPI tables
RESET_STUB = (0xDF, 0xFE)  # the two frames that the report names
RESET_STUB_BYTES = 64


class LoadedGuest:
    """The tests; made into a TestCase for each captured guest below."""

    guest = None

    @classmethod
    def setUpClass(cls):
        cls.xen = XenStream(cls.guest.stream)
        cls.loaded = LoadedQemu(cls.guest)
        cls.qmp = cls.loaded.qmp
        cls.registers = cls.read_registers()

    @classmethod
    def tearDownClass(cls):
        cls.loaded.close()

    @classmethod
    def read_registers(cls):
        """{vCPU: text of `info registers`}; vCPU i has APIC id 2·i."""
        parts = re.split(r"CPU#(\d+)\n", cls.qmp.hmp("info registers -a"))
        by_cpu = {int(number): text for number, text in zip(parts[1::2], parts[2::2])}
        return {vcpu: by_cpu[2 * vcpu] for vcpu in cls.xen.vcpus}

    def guest_memory(self, address, size):
        file = self.loaded.folder / "memory"
        self.qmp.pmemsave(address, size, file)
        data = file.read_bytes()
        file.unlink()
        self.assertEqual(len(data), size)
        return data

    def compare_frames(self, frames, what):
        """Frames (ascending) of the Xen stream against guest-physical memory. Returns those that differ."""
        different = []
        first = 0
        while first < len(frames):  # in runs, so that memory is read in few pieces
            last = first
            while last + 1 < len(frames) and frames[last + 1] == frames[last] + 1 and last - first < 8191:
                last += 1
            data = self.guest_memory(frames[first] * PAGE, (last + 1 - first) * PAGE)
            for at, frame in enumerate(frames[first:last + 1]):
                if data[at * PAGE:(at + 1) * PAGE] != self.xen.pages[frame]:
                    different.append(frame)
            first = last + 1
        self.assertTrue(frames, f"the stream has no {what}")
        return different

    def test_ram(self):
        low_end = min(self.xen.ram_bytes, 0xF0000000) // PAGE
        frames = sorted(f for f in self.xen.pages if f < low_end and f not in VGA_HOLE or f >= HIGH // PAGE)
        different = self.compare_frames(frames, "RAM")
        self.assertLessEqual(set(different), set(RESET_STUB), [hex(frame) for frame in different])
        patched = 0
        for frame in different:
            now = self.guest_memory(frame * PAGE, PAGE)
            patched += sum(a != b for a, b in zip(now, self.xen.pages[frame]))
        self.assertLessEqual(patched, RESET_STUB_BYTES)
        stub = [rule["text"] for rule in self.loaded.report["rules"] if rule["rule"] == "reset"]
        self.assertTrue(stub, "the changed bytes are not reported")

    def vga(self):
        for bus in self.qmp("query-pci"):
            for device in bus["devices"]:
                if device["class_info"]["class"] == 0x0300:
                    return device
        return None

    def test_video_memory(self):
        device = self.vga()
        base = device["regions"][0]["address"] // PAGE
        size = self.xen.config["b_info"]["video_memkb"] * 1024 // PAGE
        frames = sorted(f for f in self.xen.pages if base <= f < base + size)
        self.assertEqual(len(frames), size)
        self.assertEqual(self.compare_frames(frames, "video memory"), [])

    def test_firmware_area(self):
        frames = sorted(f for f in self.xen.pages if FIRMWARE_AREA <= f < SPECIAL_PAGES.start)
        self.assertEqual(self.compare_frames(frames, "ACPI tables"), [])

    def test_no_frame_is_forgotten(self):
        """What is in none of the regions above is what the report says was dropped."""
        low_end = min(self.xen.ram_bytes, 0xF0000000) // PAGE
        base = self.vga()["regions"][0]["address"] // PAGE
        video = range(base, base + self.xen.config["b_info"]["video_memkb"] * 1024 // PAGE)
        rest = [f for f in self.xen.pages
                if not (f < low_end and f not in VGA_HOLE or f >= HIGH // PAGE or f in video
                        or FIRMWARE_AREA <= f < SPECIAL_PAGES.start)]
        outside = [f for f in rest if f not in SPECIAL_PAGES]
        told = [(int(count), text) for rule in self.loaded.report["rules"] if rule["rule"] == "memory"
                for count, text in re.findall(r"^(\d+) pages dropped: (.*)", rule["text"])]
        self.assertEqual(sum(count for count, _ in told), len(rest), told)
        # The rest backs option ROMs and the video memory's place before its BAR was set: right above RAM.
        for frame in outside:
            self.assertGreaterEqual(frame, low_end)
            self.assertLess(frame, low_end + (32 << 20) // PAGE)

    def test_registers(self):
        for vcpu, cpu in self.xen.vcpus.items():
            text = self.registers[vcpu]

            def read(name, group=0, base=16):
                match = re.search(rf"(?<![A-Z0-9]){name}\s*=\s*([0-9a-f]+(?: [0-9a-f]+)*)", text)
                self.assertIsNotNone(match, f"vCPU {vcpu}: {name} in {text}")
                return int(match[1].split(" ")[group], base)

            with self.subTest(vcpu=vcpu):
                for name in "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip cr0 cr2 cr3 cr4 efer " \
                            "dr0 dr1 dr2 dr3 dr6 dr7".split():
                    self.assertEqual(read(name.upper()), cpu[name], name)
                self.assertEqual(read("RFL"), cpu["rflags"] | 2)
                for name in "es cs ss ds fs gs tr".split():
                    self.assertEqual(read(name.upper(), 0), cpu[name + "_sel"], name)
                    self.assertEqual(read(name.upper(), 1), cpu[name + "_base"], name)
                    self.assertEqual(read(name.upper(), 2), cpu[name + "_limit"], name)
                    rights = cpu[name + "_ar"]
                    self.assertEqual(read(name.upper(), 3), (rights & 0xFF) << 8 | (rights & 0xF00) << 12, name)
                for name, theirs in (("GDT", "gdtr"), ("IDT", "idtr")):
                    self.assertEqual(read(name, 0), cpu[theirs + "_base"])
                    self.assertEqual(read(name, 1), cpu[theirs + "_limit"])
                control, status, tag = struct.unpack_from("<HHB", cpu["fpu"])
                self.assertEqual(read("FCW"), control)
                self.assertEqual(read("FSW") & ~0x3800, status & ~0x3800)
                self.assertEqual(read("FTW"), tag)
                self.assertEqual(read("MXCSR"), struct.unpack_from("<I", cpu["fpu"], 24)[0])
                for register in range(16):
                    low, high = struct.unpack_from("<QQ", cpu["fpu"], 160 + 16 * register)
                    self.assertEqual(read(f"XMM{register:02}", 0), high)
                    self.assertEqual(read(f"XMM{register:02}", 1), low)

    def test_local_apics(self):
        for vcpu in self.xen.vcpus:
            base, registers = self.xen.lapic(vcpu)
            text = self.qmp.hmp(f"info lapic {2 * vcpu}")

            def read(pattern):
                match = re.search(pattern, text)
                self.assertIsNotNone(match, f"{pattern} in {text}")
                return int(match[1], 16)

            def vectors(name, at):
                listed = re.search(rf"^{name}\s+(.*)$", text, re.M)[1]
                return sorted(int(v) for v in re.findall(r"\b(\d+)\b", listed)), sorted(
                    32 * word + bit for word in range(8) for bit in range(32) if registers[at + word] >> bit & 1)

            with self.subTest(vcpu=vcpu):
                for name, at in (("LVT0", 0x35), ("LVT1", 0x36), ("LVTPC", 0x34), ("LVTERR", 0x37),
                                 ("LVTTHMR", 0x33), ("LVTT", 0x32), ("SPIV", 0x0F), ("ICR", 0x30), ("ICR2", 0x31)):
                    # Delivery status (bit 12) is not carried: nothing is ever being sent at that moment.
                    self.assertEqual(read(rf"(?m)^{name}\s+0x([0-9a-f]+)") & ~0x1000, registers[at] & ~0x1000, name)
                self.assertEqual(read(r"TPR 0x([0-9a-f]+)"), registers[0x08])
                self.assertEqual(read(r"LDR 0x([0-9a-f]+)"), registers[0x0D] >> 24)
                self.assertEqual(read(r"DFR 0x([0-9a-f]+)"), registers[0x0E] >> 28)
                self.assertEqual(*vectors("ISR", 0x10))
                self.assertEqual(*vectors("IRR", 0x20))
                initial = int(re.search(r"initial_count = (\d+)", text)[1])
                if registers[0x32] >> 17 & 3 == 0:  # one-shot: the count is carried as it is
                    self.assertEqual(initial, registers[0x38])
                self.assertTrue(base >> 11 & 1)

    def test_io_apic(self):
        """Pins 0–15 are Xen's; a device's pin above 23 is found again on an ISA pin that Xen had masked."""
        text = self.qmp.hmp("info pic")
        pins = [int(value, 16) for value in re.findall(r"pin \d+\s+0x([0-9a-f]{16})", text)]
        self.assertEqual(len(pins), 24)
        xen = self.xen.ioapic
        masked = 1 << 16
        live = [entry & ~0x5000 for entry in xen[16:] if not entry & masked]
        for pin, entry in enumerate(pins[:16]):
            if xen[pin] & masked and not entry & masked:
                self.assertIn(entry & ~0x5000, live, f"pin {pin}")
                live.remove(entry & ~0x5000)
            else:
                self.assertEqual(entry & ~0x5000, xen[pin] & ~0x5000, f"pin {pin}")
        self.assertEqual(live, [], "unmasked entries of Xen's that are nowhere in QEMU's")
        self.assertTrue(all(entry & masked for entry in pins[16:]))

    def test_pics(self):
        text = self.qmp.hmp("info pic")
        for which, xen in enumerate(self.xen.pics):
            line = re.search(rf"^pic{which}: (.*)$", text, re.M)[1]
            found = dict(item.split("=") for item in line.split())
            for name, value in xen.items():
                self.assertEqual(int(found[name], 16), value, f"pic{which} {name}")

    def test_still_paused(self):
        self.assertEqual(self.qmp("query-status")["status"], "paused")


for _guest in captures.guests():
    _name = "Loaded_" + re.sub(r"\W", "_", _guest.name)
    globals()[_name] = type(_name, (LoadedGuest, unittest.TestCase), {"guest": _guest})
