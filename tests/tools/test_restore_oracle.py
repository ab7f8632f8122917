"""The judges of produced Xen streams themselves: what real Xen hosts sent passes, and each fault is told by its name."""
import pathlib
import struct
import tempfile
import unittest

import captures
import xen_edit
from restore_oracle import Restored, verify_stream
from xen_stream import PAGE, XenStream

STORE, IOREQ, BUFIOREQ, CONSOLE, SERVER, SERVERS = 1, 5, 6, 17, 32, 33
CLEARED = (STORE, IOREQ, BUFIOREQ, CONSOLE)  # parameters whose frames the receiving side empties
PAGE_DATA, TSC_INFO, HVM_CONTEXT, HVM_PARAMS, STATIC_DATA_END, CPUID_POLICY = 1, 8, 9, 10, 16, 17


class OracleTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="vmferry-oracle-")))

    def restored(self, data):
        file = self.folder / "stream"
        file.write_bytes(data)
        return Restored(file, self.folder)


class Recorded(OracleTest):
    def judge(self, name):
        guest = captures.guest(name)
        restored = Restored(guest.stream, self.folder)
        self.assertEqual(restored.violations, [])
        self.assertIsNone(verify_stream(guest.stream, self.folder))
        memory = restored.facts["memory"]
        self.assertEqual(memory["missing_ram_frames"], 0)
        self.assertGreater(memory["page_writes"], memory["frames"])
        # A third reader of the same bytes says the same.
        stream = XenStream(guest.stream)
        self.assertEqual(set(restored.frames), set(stream.pages))
        cleared = {restored.parameters[index] for index in CLEARED}
        self.assertEqual(cleared, {0xFEFFC, 0xFEFFD, 0xFEFFB, 0xFEFFF})
        for frame, page in stream.pages.items():
            if restored[frame] != (bytes(PAGE) if frame in cleared else page):
                self.fail(f"frame {frame:#x}")
        self.assertEqual(restored.device_model, stream.blob)
        self.assertEqual(restored.hvm_context, b"".join(
            struct.pack("<HHI", kind, instance, len(body)) + body for (kind, instance), body in stream.hvm.items()))
        return restored

    def test_xen_4_17(self):
        restored = self.judge("xen-4.17-linux-2vcpu-e1000-ide")
        self.assertEqual(restored.facts["memory"]["frames"], 24652)
        self.assertEqual((restored.facts["tsc"]["mode"], restored.facts["tsc"]["khz"]), (0, 2596149))

    def test_xen_4_17_stdvga(self):
        self.judge("xen-4.17-linux-1vcpu-stdvga")

    def test_what_4_17_says_of_a_stream_of_4_20(self):
        """It has nothing against it; that 4.17's hypervisor refuses the longer LAPIC record is not libxenguest's business."""
        restored = self.judge("xen-4.20-linux-2vcpu-e1000-ide")
        self.assertIn("Found x86 HVM domain from Xen 4.20", restored.log)

    def test_more_memory_than_below_4_gib(self):
        data = xen_edit.recorded(captures.guest("xen-4.17-linux-2vcpu-e1000-ide").stream)
        content = {frame: struct.pack("<Q", frame) * (PAGE // 8) for frame in (0xEFFFF, 0x100000, 0x14FFFF)}
        restored = self.restored(xen_edit.populated(data, 5 << 30, content))
        self.assertEqual(restored.violations, [])
        self.assertEqual(restored.facts["memory"]["missing_ram_frames"], 0)
        for frame, page in content.items():
            self.assertEqual(restored[frame], page)


class Faults(OracleTest):
    """One fault each in a recorded stream of which most pages were taken out."""

    def setUp(self):
        super().setUp()
        self.data = xen_edit.recorded(captures.FOLDER / "xen-4.17-trimmed.up.zst")
        self.places = xen_edit.places(self.data)

    def check(self, data, *texts):
        violations = self.restored(data).violations
        for text in texts:
            self.assertTrue(any(text in violation for violation in violations), f"{text!r} not among {violations}")
        return violations

    def record(self, name):
        """(offset, end) of a record of libxc or libxl, with its header and padding."""
        at = self.places[name]
        size = struct.unpack_from("<I", self.data, at + 4)[0]
        return at, at + 8 + (size + 7) // 8 * 8

    def without(self, name):
        at, end = self.record(name)
        return self.data[:at] + self.data[end:]

    def twice(self, name):
        at, end = self.record(name)
        return self.data[:end] + self.data[at:]

    def before(self, name, record):
        at = self.places[name]
        return self.data[:at] + record + self.data[at:]

    def put(self, name, offset, code, *values):
        """A field of a record's body changed."""
        data = bytearray(self.data)
        struct.pack_into(code, data, self.places[name] + 8 + offset, *values)
        return bytes(data)

    def with_parameters(self, change):
        at, end = self.record("libxc HVM_PARAMS")
        count = struct.unpack_from("<I", self.data, at + 8)[0]
        pairs = [struct.unpack_from("<QQ", self.data, at + 16 + 16 * i) for i in range(count)]
        pairs = change(pairs)
        body = struct.pack("<II", len(pairs), 0) + b"".join(struct.pack("<QQ", *pair) for pair in pairs)
        return self.data[:at] + struct.pack("<II", HVM_PARAMS, len(body)) + body + self.data[end:]

    def test_none(self):
        self.assertEqual(self.check(self.data), [])
        self.assertGreater(self.restored(self.data).facts["memory"]["missing_ram_frames"], 20000)

    def test_places_of_frames(self):
        for frame, text in ((0xA0, "VGA hole"), (0xBF, "VGA hole"), (0xFEC00, "interrupt controller"),
                            (0xFED00, "interrupt controller"), (0xFEE00, "interrupt controller"),
                            (0xFF000, "behind the special pages"), (0x100000, "behind the end"),
                            (0x300000, "far behind the end")):
            page = xen_edit.batch([(frame, 0)], bytes(PAGE))
            self.check(self.before("libxc X86_TSC_INFO", page), f"frame {frame:#x}: ", text)

    def test_more_frames_than_allowed(self):
        known = set(XenStream(captures.FOLDER / "xen-4.17-trimmed.up.zst").pages)
        further = [(frame, xen_edit.XALLOC) for frame in range(0x100, 0x100 + 24832) if frame not in known]
        self.check(self.before("libxc X86_TSC_INFO", xen_edit.batch(further)), "more than the 24832 frames")

    def test_parameters(self):
        for index, name in ((STORE, "STORE_PFN"), (CONSOLE, "CONSOLE_PFN"), (IOREQ, "IOREQ_PFN"), (BUFIOREQ, "BUFIOREQ_PFN"),
                            (SERVER, "IOREQ_SERVER_PFN"), (SERVERS, "NR_IOREQ_SERVER_PAGES")):
            changed = self.with_parameters(lambda pairs, left=index: [pair for pair in pairs if pair[0] != left])
            self.check(changed, f"HVM parameter {index} ({name}) is missing")
        for index, value, text in ((39, 1, "no such"), (20, 1, "deprecated"), (35, 1, "from a stream"), (19, 2, "takes"),
                                   (9, 2, "takes"), (36, 3, "takes"), (38, 2, "takes"), (37, 0x1000, "takes"),
                                   (SERVERS, 4, "cannot be changed"), (STORE, 0xFEFFC, "set twice")):
            self.check(self.with_parameters(lambda pairs, more=(index, value): pairs + [more]), f"HVM parameter {index}", text)

    def test_frames_of_parameters(self):
        def moved(index, value):
            return self.with_parameters(lambda pairs: [(key, value if key == index else old) for key, old in pairs])
        self.check(moved(CONSOLE, 0xFE000), "0xfe000: a special page that was not populated")
        self.check(moved(SERVER, 0xFEFF9), "0xff000, which HVM parameter 32 names")
        self.check(moved(12, 0xFE000000), "0xfe000, which HVM parameter 12 names")
        self.check(moved(27, 0xFE000), "0xfe000, which HVM parameter 27 names")

    def test_records_missing(self):
        for name, text in (("libxc X86_TSC_INFO", "no X86_TSC_INFO"), ("libxc HVM_CONTEXT", "HVM context"),
                           ("libxc STATIC_DATA_END", "STATIC_DATA_END"), ("libxc X86_CPUID_POLICY", "static data missing: 0x1"),
                           ("libxc X86_MSR_POLICY", "static data missing: 0x2"),
                           ("libxl EMULATOR_CONTEXT", "0 records EMULATOR_CONTEXT")):
            with self.subTest(name):
                self.check(self.without(name), text)

    def test_records_twice(self):
        for name, text in (("libxc X86_TSC_INFO", "X86_TSC_INFO twice"), ("libxl EMULATOR_CONTEXT", "2 records EMULATOR_CONTEXT"),
                           ("libxc HVM_PARAMS", "set twice"), ("libxc STATIC_DATA_END", "xc_domain_restore() returned")):
            with self.subTest(name):
                self.check(self.twice(name), text)

    def test_what_libxenguest_refuses(self):
        for name, data in (("page type", self.put("libxc PAGE_DATA", 8, "<Q", 5 << 60)),
                           ("page count", self.put("libxc PAGE_DATA", 0, "<I", 0)),
                           ("TSC mode", self.put("libxc X86_TSC_INFO", 0, "<I", 3)),
                           ("unknown record", self.before("libxc X86_TSC_INFO", struct.pack("<II", 0x33, 0))),
                           ("a record of PV guests", self.before("libxc X86_TSC_INFO", struct.pack("<IIQ", 2, 8, 0))),
                           ("length", self.data[:self.places["libxc HVM_PARAMS"] + 4] + struct.pack("<I", 0x8000008)
                            + self.data[self.places["libxc HVM_PARAMS"] + 8:]),
                           ("image version", self.data[:self.places["image"] + 12] + struct.pack(">I", 4)
                            + self.data[self.places["image"] + 16:]),
                           ("end of the file", self.data[:self.places["libxc HVM_CONTEXT"] + 100])):
            with self.subTest(name):
                self.check(data, "libxenguest: ", "xc_domain_restore() returned -1")

    def test_heads(self):
        at = self.places["libxl"]
        for name, data in (("magic", b"x" + self.data[1:]), ("flags", self.data[:36] + b"\1" + self.data[37:]),
                           ("NUL", self.data[:at - 1] + b"}" + self.data[at:]), ("libxl", self.data[:at] + b"x" + self.data[at + 1:]),
                           ("first record", self.data[:at + 16] + b"\2" + self.data[at + 17:])):
            with self.subTest(name):
                self.assertEqual(len(self.check(data)), 1)

    def test_tail(self):
        at, end = self.record("libxl EMULATOR_CONTEXT")
        self.check(self.data[:at] + b"\6" + self.data[at + 1:], "libxl: libxl record of type 6")
        self.check(self.data[:at + 8] + b"\1" + self.data[at + 9:], "emulator 1, not QEMU")
        self.check(self.data[:end], "libxl: the file ends within")


class VerifyStream(OracleTest):
    def test_refuses_what_only_it_sees(self):
        data = bytearray(xen_edit.recorded(captures.FOLDER / "xen-4.17-trimmed.up.zst"))
        file = self.folder / "stream"
        file.write_bytes(data)
        self.assertIsNone(verify_stream(file, self.folder))
        data[xen_edit.places(data)["libxc PAGE_DATA"] + 12] = 1  # a reserved field
        file.write_bytes(data)
        self.assertIn("Reserved", verify_stream(file, self.folder))


if __name__ == "__main__":
    unittest.main()
