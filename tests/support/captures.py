"""The recorded guests in captures/, as captures/manifest.json tells of them."""
import json
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "captures"
# The guests ping 192.168.77.1.
NETDEV = "user,net=192.168.77.0/24,host=192.168.77.1"


class Guest:
    def __init__(self, entry, folder=FOLDER):
        facts = entry["guest"]
        self.stream = folder / entry["file"]
        self.name = entry["file"].removesuffix(".up.zst")
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


def guests():
    """Every whole, live Xen stream."""
    return [Guest(entry) for entry in manifest() if "guest" in entry]


def guest(name):
    return next(guest for guest in guests() if guest.name == name)


def first():
    """The one that the demo shows."""
    return guests()[0]
