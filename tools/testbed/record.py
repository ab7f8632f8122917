"""testbed record HOST NAME [options]: a new capture, with its entry in captures/manifest.json.

Boots the ticking Linux guest on a Xen host, lets a stock `xl migrate` send it to `vmferry serve`, which must take it and
have it going on, and keeps what went over the wire as captures/NAME.up.zst, or as the difference from an existing stream
when that is much less, and its disk. The guest is what tests/e2e/xen_guests.py makes of the options.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CAPTURES = ROOT / "captures"
sys.path[:0] = map(str, (ROOT / "tests/e2e", ROOT / "tests/support", ROOT / "tests/guests"))


def parse(arguments):
    parser = argparse.ArgumentParser(prog="testbed record", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("name", help="of the capture")
    parser.add_argument("--vmferry", default=str(ROOT / "build/release/vmferry"))
    parser.add_argument("--memory", type=int, default=112, help="MiB")
    parser.add_argument("--vcpus", type=int, default=1)
    parser.add_argument("--vga", default="cirrus", choices=("cirrus", "stdvga"))
    parser.add_argument("--nic", default="e1000", help="model; none")
    parser.add_argument("--no-disk", action="store_true")
    parser.add_argument("--line", action="append", default=[], help="a further line of its xl.cfg")
    parser.add_argument("--tick", type=int, default=10, help="the tick after which it is sent")
    parser.add_argument("--base", help="name of the capture to store the difference from")
    parser.add_argument("--folder", type=pathlib.Path, default=CAPTURES, help="another place than captures/")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    os.environ["VMFERRY"] = options.vmferry
    from crossing import crossing
    from xen_guests import TickingLinux
    from xen_host import XenHost
    guest = TickingLinux(memory_mib=options.memory, vcpus=options.vcpus, vga=options.vga, extra=tuple(options.line),
                         nic="" if options.nic == "none" else options.nic, disk_mib=0 if options.no_disk else 16)
    xen = XenHost(options.host, options.vmferry, say=lambda text: print(text, file=sys.stderr))
    for name in xen.domains():
        xen.run(f"xl destroy {name}")
    xen.create(guest)
    guest.wait_tick(xen, options.tick)
    with crossing(f"record.{options.name}", xen, guest) as c:
        c.arrive()
        c.migrate()
        c.crossed()
        # A recording of a guest that does not go on is worth nothing.
        c.runs_only_in_qemu()
        c.end()
        last = guest.last_tick(xen)
        c.wire.close()
        entries = [store_stream(c.folder / "up", options)]
        if guest.disk_mib:
            disk = c.folder / "disk"
            xen.machine.get(guest.disk, disk)
            entries.append(store(disk, f"{options.name}.disk.zst", options.folder))
    facts = {"last_tick": last.number, "last_up": last.up, "sum": last.sum, "cpus": options.vcpus, "memory_mib": options.memory,
             "network": bool(guest.nic)}
    if guest.disk_mib:
        facts["disk"] = f"{last.disk_status}/{last.disk_hash}"
    entries[0]["format"] = "xl migrate, source to target" + ("; zstd --patch-from" if "base" in entries[0] else "")
    entries[0]["guest"] = facts
    for entry in entries:
        entry.setdefault("format", "raw disk image, after the guest had crossed")
        entry["made"] = "testbed record " + " ".join(arguments)
        entry["versions"] = versions(xen.machine)
    add_to_manifest(entries, options.folder)
    return 0


def store(source, name, folder):
    """Compresses a file into the captures; its entry."""
    import captures
    subprocess.run(["zstd", "-q", "-19", "-T0", "-f", source, "-o", folder / name], check=True)
    return {"file": name, "sha256": captures.sha256(folder / name)}


def store_stream(stream, options):
    import captures
    if not options.base:
        return store(stream, f"{options.name}.up.zst", options.folder)
    base = CAPTURES / f"{options.base}.up.zst"
    name = f"{options.name}.up.patch.zst"
    with tempfile.TemporaryDirectory(prefix="vmferry-record-") as folder:
        plain = pathlib.Path(folder) / "base"
        subprocess.run(["zstd", "-dqf", base, "-o", plain], check=True)
        subprocess.run(["zstd", "-q", "-19", "-f", "--long=28", f"--patch-from={plain}", stream, "-o", options.folder / name],
                       check=True)
    return {"file": name, "sha256": captures.sha256(options.folder / name), "base": base.name}


def versions(machine):
    """What made the stream."""
    image = machine.image
    kernel = next(line.split() for line in image.versions.read_text().splitlines()
                  if line.startswith("linux-image-") and line[len("linux-image-")].isdigit())
    return {"xen": f"{image.version(f'xen-utils-{image.host.xen}')} ({image.host.suite})",
            "device-model": f"qemu-system-xen {image.version('qemu-system-xen')}",
            "guest-kernel": " ".join(kernel), "seabios": image.version("seabios")}


def add_to_manifest(entries, folder):
    """Replaces entries of the same files, adds the others."""
    file = folder / "manifest.json"
    if not file.exists():
        shutil.copy(CAPTURES / "manifest.json", file)
    manifest = json.loads(file.read_text())
    names = {entry["file"] for entry in entries}
    manifest["files"] = [entry for entry in manifest["files"] if entry["file"] not in names] + entries
    file.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
