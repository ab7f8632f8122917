"""`vmferry inspect` on every shipped capture, on cut files, and compared with an independent reader."""
import json
import subprocess
import tempfile
import unittest

import captures
from replay import VMFERRY
from xen_stream import QUADS, XenStream

FOLDER = captures.FOLDER
XEN = sorted(FOLDER.glob("*.up.zst"))
QEMU = sorted(FOLDER.glob("qemu-*/q*.bin.zst")) + sorted(FOLDER.glob("qemu-*/kvm-*.bin.zst")) + \
    sorted(FOLDER.glob("qemu-*/tcg-*.bin.zst"))
# Streams that need the cooperation of two QEMUs, and the capability that the hint has to name.
REFUSED = {"m3-multifd2.c0": "multifd", "m4b-postcopy-run.c0": "postcopy-ram", "m5b-xbzrle-rounds.c0": "xbzrle",
           "m6-compress.c0": "compress", "m7-ignore-shared.c0": "x-ignore-shared"}


def inspect(file, *options, stdin=None):
    return subprocess.run([VMFERRY, "inspect", str(file), *options], input=stdin, capture_output=True, timeout=120)


def entries(done):
    """The JSON lines: records, and the summary at the end."""
    *records, summary = [json.loads(line) for line in done.stdout.decode().splitlines()]
    return records, summary


def unpacked(file):
    return subprocess.run(["zstd", "-dcq", str(file)], stdout=subprocess.PIPE, check=True).stdout


class Inspect(unittest.TestCase):
    def check_gapless(self, records, end):
        """The entries of the outermost layer cover the file without gap or overlap."""
        at = 0
        for record in records:
            if record["depth"] == 0 and record["record"] != "error":
                self.assertEqual(record["offset"], at, record["record"])
                at += record["length"]
        self.assertEqual(at, end)

    def test_xen(self):
        for file in XEN:
            with self.subTest(file=file.name):
                done = inspect(file, "--json")
                self.assertEqual(done.returncode, 0, done.stderr)
                records, summary = entries(done)
                self.assertEqual((summary["state"], summary["error"], summary["schema"]), ("done", None, "vmferry/1"))
                self.check_gapless(records, len(unpacked(file)))
                xen = XenStream(file)
                self.assertEqual(records[0]["fields"]["config"], xen.config)
                cpus = {r["fields"]["instance"]: r["fields"] for r in records if r["record"] == "CPU"}
                self.assertEqual(set(cpus), set(xen.vcpus))
                for vcpu, cpu in xen.vcpus.items():
                    for name in QUADS:
                        self.assertEqual(cpus[vcpu][name], cpu[name], name)
                    self.assertEqual(cpus[vcpu]["cs_sel"], cpu["cs_sel"])
                hvm = [r for r in records if r["depth"] == 1 and "instance" in r["fields"] and "state" not in r["fields"]]
                self.assertEqual(len(hvm) + 1, len(xen.hvm))  # END
                self.assertGreaterEqual(summary["pages"]["pages_with_data"], len(xen.pages))
                blob = [r for r in records if r["depth"] == 1 and "state" in r["fields"]]
                self.assertGreater(len(blob), 15)
                self.assertIn("piix4_pm", " ".join(r["record"] for r in blob))

    def test_text(self):
        """The text form holds the same records; nothing of a stream reaches the terminal as a control character."""
        for file in XEN + QEMU:
            with self.subTest(file=file.name):
                records, _ = entries(inspect(file, "--json"))
                text = inspect(file).stdout.decode()
                heads = [line for line in text.splitlines() if line.startswith("0x")]
                self.assertEqual([int(line.split()[0], 16) for line in heads], [r["offset"] for r in records])
                self.assertFalse([c for c in text if ord(c) < 32 and c != "\n"])

    def test_qemu(self):
        for file in QEMU:
            with self.subTest(file=file.name):
                done = inspect(file, "--json")
                records, summary = entries(done)
                if "i440fx-20-" in file.name:  # machine types before 2.1 send no description
                    self.assertEqual(done.returncode, 3)
                    continue
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(summary["format"], "qemu")
                cpus = [r for r in records if r["record"] == "cpu"]
                self.assertTrue(cpus)
                self.assertIn("env.eip", cpus[0]["fields"]["state"])
                self.assertTrue(summary["pages"]["blocks"])

    def test_device_model(self):
        """What `xen-save-devices-state` writes, without description, cut by schemas."""
        files = sorted(FOLDER.glob("*device-model.bin.zst")) + sorted(FOLDER.glob("qemu-7.2/x2-*.bin.zst"))
        self.assertTrue(files)
        for file in files:
            with self.subTest(file=file.name):
                done = inspect(file, "--json")
                self.assertEqual(done.returncode, 0, done.stderr)
                records, _ = entries(done)
                names = [r["record"] for r in records]
                self.assertIn("PIIX3", " ".join(names))
                self.assertGreater(len(names), 20)

    def test_refused_kinds_name_the_capability(self):
        found = 0
        for name, capability in REFUSED.items():
            for file in FOLDER.glob(f"qemu-*/{name}.s2d.zst"):
                found += 1
                with self.subTest(file=file.name):
                    done = inspect(file)
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertIn(capability, done.stderr.decode())
        self.assertGreaterEqual(found, 4)

    def test_cut(self):
        """What is there is shown, then what is missing."""
        for file in (XEN[-1], QEMU[0]):
            data = unpacked(file)
            whole, _ = entries(inspect(file, "--json"))
            for part in (0.001, 0.1, 0.5, 0.9, 0.999):
                length = int(len(data) * part)
                with self.subTest(file=file.name, length=length), tempfile.NamedTemporaryFile() as cut:
                    cut.write(data[:length])
                    cut.flush()
                    done = inspect(cut.name, "--json")
                    self.assertEqual(done.returncode, 3)
                    records, summary = entries(done)
                    self.assertEqual(summary["state"], "failed")
                    self.assertEqual(records[-1]["record"], "error")
                    self.assertLessEqual(records[-1]["offset"], length)
                    before = [r for r in records if r["record"] != "error" and not r["fields"].get("cut")]
                    self.assertEqual(before, whole[:len(before)])
                    self.assertIn("offset", done.stderr.decode())

    def test_damaged_frame(self):
        data = bytearray(XEN[-1].read_bytes())
        data[len(data) // 2] ^= 0x55
        with tempfile.NamedTemporaryFile(suffix=".zst") as file:
            file.write(data)
            file.flush()
            done = inspect(file.name)
            self.assertEqual(done.returncode, 3)
        with tempfile.NamedTemporaryFile(suffix=".zst") as file:
            file.write(XEN[-1].read_bytes()[:-100])
            file.flush()
            done = inspect(file.name)
            self.assertEqual(done.returncode, 3)

    def test_standard_input(self):
        data = XEN[-1].read_bytes()
        self.assertEqual(inspect("-", stdin=data).stdout, inspect(XEN[-1]).stdout)

    def test_memory_is_bounded(self):
        """A whole stream takes hardly more memory than a trimmed one."""
        def peak(*words):
            usage = subprocess.run(["python3", "-c", "import resource,subprocess,sys;"
                                    "subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL);"
                                    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)",
                                    VMFERRY, *map(str, words)], stdout=subprocess.PIPE, check=True)
            return int(usage.stdout)
        big = next(file for file in XEN if "linux" in file.name)
        self.assertLess(peak("inspect", big) - peak("inspect", XEN[-1]), 16 << 10)


if __name__ == "__main__":
    unittest.main()
