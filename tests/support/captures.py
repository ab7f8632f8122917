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
    whole = UNPACKED / f"{entry['file'].removesuffix('.up.patch.zst')}-{entry['sha256'][:16]}.up"
    if not whole.exists():
        UNPACKED.mkdir(parents=True, exist_ok=True)
        base, partial = UNPACKED / f"base.{os.getpid()}", UNPACKED / f"partial.{os.getpid()}"
        subprocess.run(["zstd", "-dqf", folder / entry["base"], "-o", base], check=True)
        subprocess.run(["zstd", "-dqf", "--long=28", f"--patch-from={base}", file, "-o", partial], check=True)
        base.unlink()
        partial.rename(whole)
    return whole


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
