"""The recorded guests in captures/, as captures/manifest.json tells of them."""
import hashlib
import json
import os
import pathlib
import subprocess

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "captures"
UNPACKED = FOLDER.parent / "build" / "captures"
# The guests ping 192.168.77.1.
NETDEV = "user,net=192.168.77.0/24,host=192.168.77.1"


def stream_of(entry, folder=FOLDER):
    """The stream's file. One that is stored as the difference from another capture ("base") is put together once, under
    build/."""
    file = folder / entry["file"]
    if "base" not in entry:
        return file
    plain = entry["file"].removesuffix(".patch.zst")
    whole = UNPACKED / f"{plain.removesuffix('.up').removesuffix('.s2d')}-{entry['sha256'][:16]}{pathlib.Path(plain).suffix}"
    if not whole.exists():
        whole.parent.mkdir(parents=True, exist_ok=True)
        spare, partial = UNPACKED / f"base.{os.getpid()}", UNPACKED / f"partial.{os.getpid()}"
        base = unpacked(next(other for other in manifest() if other["file"] == entry["base"]), spare, folder)
        subprocess.run(["zstd", "-dqf", "--long=28", f"--patch-from={base}", file, "-o", partial], check=True)
        spare.unlink(missing_ok=True)
        partial.rename(whole)
    return whole


def unpacked(entry, spare, folder=FOLDER):
    """A plain file with the stream's bytes: `spare`, unless there is one."""
    stream = stream_of(entry, folder)
    if stream.suffix != ".zst":
        return stream
    subprocess.run(["zstd", "-dqf", stream, "-o", spare], check=True)
    return spare


class Guest:
    def __init__(self, entry, folder=FOLDER):
        facts = entry["guest"]
        self.stream = stream_of(entry, folder)
        self.name = entry["file"].removesuffix(".zst").removesuffix(".patch").removesuffix(".up")
        self.last_tick = facts["last_tick"]
        self.sum = facts["sum"]
        self.cpus = facts["cpus"]
        self.memory_mib = facts["memory_mib"]
        self.disk = folder / f"{self.name}.disk.zst"
        if not self.disk.exists():
            self.disk = None
        self.disk_hash = facts["disk"].removeprefix("0/") if self.disk else None
        self.network = facts.get("network", "e1000" in self.name or "rtl8139" in self.name)
        self.netdev = NETDEV
        self.last_up = facts.get("last_up")
        self.allow = facts.get("allow", [])


def manifest():
    return json.loads((FOLDER / "manifest.json").read_text())["files"]


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def guests():
    """Every whole, live Xen stream."""
    return [Guest(entry) for entry in manifest() if "guest" in entry]


def guest(name):
    return next(guest for guest in guests() if guest.name == name)


def first():
    """The one that the demo shows."""
    return guests()[0]


class QemuGuest:
    """A guest that was born under a stock QEMU and ticks on."""

    def __init__(self, entry, folder=FOLDER):
        facts = entry["qemu_guest"]
        self.entry, self.folder = entry, folder
        self.name = entry["file"].removesuffix(".zst").removesuffix(".patch").removesuffix(".s2d")
        self.last_tick, self.last_up, self.sum = facts["last_tick"], facts["last_up"], facts["sum"]
        self.cpus, self.memory_mib = facts["cpus"], facts["memory_mib"]
        self.vga, self.nic, self.disk_model, self.mac = facts["vga"], facts["nic"], facts["disk_model"], facts["mac"]
        self.disk = folder / f"{self.name}.disk.zst" if self.disk_model else None
        self.disk_hash = facts["disk"].removeprefix("0/") if self.disk_model else None

    @property
    def stream(self):
        return stream_of(self.entry, self.folder)

    def _beside(self, suffix):
        return subprocess.run(["zstd", "-dcq", self.folder / f"{self.name}.{suffix}.zst"], check=True, stdout=subprocess.PIPE).stdout

    @property
    def screen(self):
        """PPM, when it had stopped."""
        return self._beside("screen")

    @property
    def facts(self):
        """{question: what its QEMU answered}"""
        return json.loads(self._beside("facts.json"))


def qemu_guests():
    return [QemuGuest(entry) for entry in manifest() if "qemu_guest" in entry]


def qemu_guest(name):
    return next(guest for guest in qemu_guests() if guest.name == name)
