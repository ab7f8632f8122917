"""The judge of device states: Xen's own device model loads what Xen hosts have sent, and refuses what it has to."""
import pathlib
import struct
import tempfile
import unittest

import captures
from device_state import DeviceModel, Refused, differences, sections
from restore_oracle import Restored


class DeviceStateTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="vmferry-device-state-")))


class Recorded(DeviceStateTest):
    def judge(self, name, vram, expected=()):
        restored = Restored(captures.guest(name).stream, self.folder)
        with DeviceModel(restored.facts["config"], restored.device_model, self.folder, restored) as model:
            self.assertEqual(differences(restored.device_model, model.saved_again()), list(expected))
            calls = model.calls()
            self.assertIn(["map", "port", "0xb000", "0xb003"], calls)  # where hvmloader has put power management
            self.assertIn(["map", "mmio", *map(hex, vram)], calls)
            self.assertFalse([call for call in calls if call[0] == "populate"], "memory that the stream has not brought")
            screen = model.screen()
        self.assertRegex(screen[:15], rb"P6\n\d+ \d+\n255\n")
        return screen

    def test_xen_4_17_cirrus_with_its_memory(self):
        screen = self.judge("xen-4.17-linux-2vcpu-e1000-ide", (0xF0000000, 0xF07FFFFF))
        # Text of the boot stands on it; it came out of the stream's video memory.
        self.assertGreater(sum(map(bool, screen)), 10000)

    def test_xen_4_17_stdvga(self):
        self.judge("xen-4.17-linux-1vcpu-stdvga", (0xF0000000, 0xF0FFFFFF))

    def test_xen_4_20(self):
        """A device model of QEMU 7.2 takes what one of 10.0 wrote: only fw_cfg has a further part, which it does not keep."""
        self.judge("xen-4.20-linux-2vcpu-e1000-ide", (0xF0000000, 0xF07FFFFF), ["fw_cfg/0: 6, not 30 bytes"])


class Faults(DeviceStateTest):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="vmferry-device-state-")))
        restored = Restored(captures.FOLDER / "xen-4.17-trimmed.up.zst", folder)
        cls.config, cls.blob = restored.facts["config"], restored.device_model
        cls.sections = {name: cls.blob.index(bytes([len(name)]) + name.encode()) - 5 for name, _ in sections(cls.blob)}

    def refused(self, blob, text, config=None):
        with self.assertRaises(Refused) as caught:
            DeviceModel(config or self.config, blob, self.folder)
        self.assertIn(text, str(caught.exception))

    def changed(self, name, offset, code, value):
        """A field of a section's content."""
        blob = bytearray(self.blob)
        start = self.sections[name]
        struct.pack_into(">" + code, blob, start + 1 + 4 + 1 + len(name) + 8 + offset, value)
        return bytes(blob)

    def test_sections(self):
        self.assertEqual(
            [name for name, _ in sections(self.blob)],
            "timer cpu_common cpu apic cpu_common cpu apic fw_cfg PCIHost PCIBUS 0000:00:00.0/I440FX dma dma "
            "0000:00:01.0/PIIX3 ioapic hpet mc146818rtc serial fdc ps2kbd ps2mouse pckbd port92 0000:00:01.1/ide i2c_bus "
            "0000:00:01.3/piix4_pm 0000:00:02.0/cirrus_vga 0000:00:03.0/e1000".split())

    def test_slots_of_the_pci_bus(self):
        self.refused(self.changed("PCIBUS", 0, "I", 4), "PCIBUS")

    def test_a_section_that_it_does_not_have(self):
        config = {**self.config, "b_info": {key: value for key, value in self.config["b_info"].items() if key != "kernel"}}
        self.refused(self.blob, "fw_cfg", config)

    def test_a_device_at_another_slot(self):
        self.refused(self.blob.replace(b"\x120000:00:03.0/e1000", b"\x120000:00:04.0/e1000"), "0000:00:04.0/e1000")

    def test_a_device_of_another_kind(self):
        self.refused(self.blob, "e1000", {**self.config, "nics": [{**self.config["nics"][0], "model": "rtl8139"}]})

    def test_end_in_the_midst(self):
        self.refused(self.blob[:-100], "load of migration failed")

    def test_a_byte_too_many(self):
        at = self.sections["PCIHost"] + 30
        self.refused(self.blob[:at] + b"\0" + self.blob[at:], "load of migration failed")

    def test_an_end_before_the_end(self):
        """It is content, and goes on with devices as they are after a reset: only what it holds then shows that."""
        at = self.sections["PCIHost"]
        blob = self.blob[:at] + b"\0" + self.blob[at:]
        with DeviceModel(self.config, blob, self.folder) as model:
            self.assertNotEqual(differences(blob, model.saved_again()), [])

    def test_a_state_that_is_not_the_one_loaded_is_found(self):
        other = self.changed("0000:00:03.0/e1000", 300, "B", 0xA5)
        with DeviceModel(self.config, other, self.folder) as model:
            again = model.saved_again()
        self.assertEqual(differences(other, again), [])
        self.assertRegex("".join(differences(self.blob, again)), r"^0000:00:03.0/e1000/0\+300: 0xa5, not 0x[0-9a-f]{2}$")


if __name__ == "__main__":
    unittest.main()
