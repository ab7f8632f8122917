"""`vmferry convert --to xl`: recorded guests that were born under QEMU become streams for Xen, which are put before every judge.

    restore_oracle   libxenguest's own restore code takes it; no frame of memory is missing
    verify_stream    Xen's verify-stream-v2 takes it
    hvm_rules        Xen's hypervisor would load its records, and a processor enter them
    device_state     Xen's own device model loads its state, holds exactly that, and shows the screen that the guest had
    xen_from_qemu    memory, registers, interrupts, clocks and devices are those of the QEMU stream
"""
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

import captures
import cpu_policy_rules
import domain_config
import hvm_rules
import xen_edit
import xen_from_qemu
from device_state import DeviceModel, Refused, differences
from qemu_stream import QemuStream
from restore_oracle import Restored, verify_stream
from xen_stream import PAGE

TEMPLATES = captures.FOLDER / "templates"
TSC_KHZ = 2500000  # a TCG guest has none in its stream
EACH = 25  # places of a kind of state at which a fault is made


def convert(guest, release, folder):
    """The stream for a Xen of that release, and the configuration that it was made with."""
    config, out = folder / "config.json", folder / "out.xl"
    config.write_text(json.dumps(domain_config.of(guest)))
    command = [os.environ["VMFERRY"], "convert", guest.stream, "--to", "xl", "-o", out, "--xen-template",
               TEMPLATES / f"xen-{release}.zst", "--domain-config", config, "--set", "accel=tcg", "--set", f"tsc_khz={TSC_KHZ}",
               "--allow", "cpu-policy"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"convert ended with {done.returncode}: {done.stderr}")
    return out


# What the LAPIC record is long, by release.
LAPIC_BYTES = {"4.17": 24, "4.20": 32}


def rules(restored, template, release):
    facts = restored.facts
    arguments = (facts["cpuid"], facts["config"]["b_info"]["max_vcpus"], facts["msrs"], restored.parameters, facts["tsc"]["khz"])
    return hvm_rules.check(restored.hvm_context, *arguments, (LAPIC_BYTES[release],)) + cpu_policy_rules.check(
        facts["cpuid"], facts["msrs"], template["cpuid"], template["msrs"])


class ToXen:
    """One release of Xen; made into a TestCase for each below."""

    release = None

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="vmferry-to-xen-")))

    def judge(self, guest):
        out = convert(guest, self.release, self.folder)
        stream = QemuStream(guest.stream)
        restored = Restored(out, self.folder)
        self.assertEqual(restored.violations, [])
        self.assertEqual(restored.facts["memory"]["missing_ram_frames"], 0)
        self.assertIn(f"Found x86 HVM domain from Xen {self.release}", restored.log)
        self.assertIsNone(verify_stream(out, self.folder))
        with tempfile.TemporaryDirectory(prefix="vmferry-template-") as folder:
            template = Restored(TEMPLATES / f"xen-{self.release}.zst", pathlib.Path(folder)).facts
        self.assertEqual(rules(restored, template, self.release), [])
        self.assertEqual(xen_from_qemu.judge(stream, restored), {})
        self.assertEqual(restored.facts["tsc"]["khz"], TSC_KHZ)
        with DeviceModel(restored.facts["config"], restored.device_model, self.folder, restored) as model:
            self.assertEqual(differences(restored.device_model, model.saved_again()), [])
            self.assertEqual(model.screen(), guest.screen)
            self.assertFalse([call for call in model.calls() if call[0] in ("populate", "relocate")])

    def test_two_processors_e1000_ide(self):
        self.judge(captures.qemu_guest("qemu-7.2/linux-2vcpu-e1000-ide"))

    def test_virtio_xsave(self):
        self.judge(captures.qemu_guest("qemu-7.2/linux-1vcpu-virtio"))


class Xen417(ToXen, unittest.TestCase):
    release = "4.17"


class Xen420(ToXen, unittest.TestCase):
    release = "4.20"


class JudgesSeeFaults(unittest.TestCase):
    """One byte changed anywhere that matters in a stream that is right: a judge says so."""

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="vmferry-to-xen-")))
        guest = captures.qemu_guest("qemu-7.2/linux-2vcpu-e1000-ide")
        cls.stream = QemuStream(guest.stream)
        cls.data = convert(guest, "4.17", folder).read_bytes()
        cls.restored = Restored(folder / "out.xl", folder)
        cls.folder = folder

    def with_context(self, context):
        restored = Restored.__new__(Restored)
        restored.__dict__.update(self.restored.__dict__)
        restored.hvm_context = bytes(context)
        return restored

    def test_save_records(self):
        """Places all over every record, but those that Xen ignores or that have more than one right value."""
        context, at, unseen = self.restored.hvm_context, 0, []
        while at < len(context):
            kind, instance, length = struct.unpack_from("<HHI", context, at)
            for offset in range(0, length, max(1, length // EACH)):
                changed = bytearray(context)
                changed[at + 8 + offset] ^= 0x10
                restored = self.with_context(changed)
                facts = restored.facts
                if not (hvm_rules.check(restored.hvm_context, facts["cpuid"], 2, facts["msrs"], restored.parameters, TSC_KHZ)
                        or xen_from_qemu.judge_processors(self.stream, restored.hvm_context)
                        or xen_from_qemu.judge_interrupts(self.stream, restored.hvm_context)
                        or xen_from_qemu.judge_clocks(self.stream, restored.hvm_context)):
                    unseen.append((hvm_rules.NAMES[kind], offset))
            at += 8 + length
        self.assertEqual([place for place in unseen if not may_differ(*place)], [])

    def test_device_state(self):
        blob, unseen = self.restored.device_model, []
        for offset in range(8, len(blob), len(blob) // (8 * EACH)):
            changed = bytearray(blob)
            changed[offset] ^= 0x10
            if not xen_from_qemu.judge_devices(self.stream, bytes(changed)):
                unseen.append(offset)
        self.assertEqual(unseen, [])

    def test_a_page(self):
        data = bytearray(self.data)
        at = next(at for name, at, size in xen_edit.records(self.data) if name == "libxc PAGE_DATA" and size > 4 * PAGE)
        count, = struct.unpack_from("<I", data, at + 8)
        data[at + 16 + 8 * count + 1234] ^= 1
        file = self.folder / "changed"
        file.write_bytes(data)
        with tempfile.TemporaryDirectory(prefix="vmferry-to-xen-") as folder:
            restored = Restored(file, pathlib.Path(folder))
            self.assertRegex(" ".join(xen_from_qemu.judge_memory(self.stream, restored)), r"^frame 0x[0-9a-f]+ has another content")

    def test_the_device_model_judges_too(self):
        """A section under another name: Xen's device model refuses it as well."""
        blob = self.restored.device_model.replace(b"\x120000:00:03.0/e1000", b"\x120000:00:07.0/e1000")
        with self.assertRaises(Refused):
            DeviceModel(self.restored.facts["config"], blob, self.folder)


def may_differ(record, offset):
    """Fields that nobody reads, or where several values are right."""
    ignored = {
        "HEADER": range(8, 20),  # changeset, the host's CPUID
        # FPU's addresses and spare bytes (behind each ST too), the limit of ES (which is not usable here), msr_flags
        "CPU": (*range(5, 24), *range(28, 32), *(32 + 16 * st + spare for st in range(8) for spare in range(10, 16)),
                *range(416, 512), *range(776, 780), *range(952, 960)),
        "LAPIC_REGS": (*range(0x80 + 0x10, 0xD0), *range(0x380, 0x3A0)),  # derived registers; a count may be rounded
        "RTC": range(16, 24),
        # Of an HPET that is off: reserved registers, comparators, periods.
        "HPET": (*range(240, 256), *(256 + 32 * timer + at for timer in range(3) for at in range(8, 32)), *range(1024, 1048)),
        "PMTIMER": range(8), "CPU_XSAVE": range(8), "TSC_ADJUST": range(8),
        "PCI_IRQ": (), "VMCE_VCPU": range(32),
    }.get(record, ())
    return offset in ignored or record == "CPU_XSAVE"


if __name__ == "__main__":
    unittest.main()
