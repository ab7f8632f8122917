"""testbed record-qemu NAME [options]: a new capture of a guest that was born under a stock QEMU, with its entry in
captures/manifest.json.

Boots the ticking Linux guest under this machine's QEMU, lets a stock `migrate exec:` write its stream to a file while it
goes on ticking, and keeps that as captures/qemu-VERSION/NAME.s2d.zst, or as the difference from an existing stream when that
is much less, its disk, and what QEMU says of itself over QMP (NAME.facts.json.zst). The kernel is that of a host of the test bed.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = map(str, (ROOT / "tests/e2e", ROOT / "tests/support", ROOT / "tests/guests"))
# Behind the questions, what no stream says and an offline conversion has to be told.
QUESTIONS = ("query-version", "query-name", "query-uuid", "query-kvm", "query-cpus-fast", "query-hotpluggable-cpus",
             "query-memory-size-summary", "query-memory-devices", "query-block", "query-pci", "query-status")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="testbed record-qemu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", help="of the capture")
    parser.add_argument("--kernel-of", default="xen-4.17", help="the host of the test bed whose kernel it boots")
    parser.add_argument("--memory", type=int, default=96, help="MiB")
    parser.add_argument("--vcpus", type=int, default=1)
    parser.add_argument("--vga", default="cirrus-vga", choices=("cirrus-vga", "VGA"))
    parser.add_argument("--nic", default="e1000", help="model; none")
    parser.add_argument("--disk", default="ide-hd", choices=("ide-hd", "virtio-blk-pci", "none"))
    parser.add_argument("--append", default="nokaslr blob=1", help="more words for the kernel; so recordings are much alike, and small")
    parser.add_argument("--xsave", action="store_true", help="a processor with XSAVE and AVX")
    parser.add_argument("--tick", type=int, default=10, help="the tick after which it is sent")
    parser.add_argument("--base", help="file of the capture to store the difference from")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "captures", help="another place than captures/")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    import linux_guest
    import qemu_source
    import record
    from hosts import HOSTS
    from image import Image
    from replay import wait_for
    image = Image(HOSTS[options.kernel_of]).build()
    kernel, initrd = linux_guest.build(image)
    linux_guest.COMMAND_LINE += f" {options.append}"
    if options.xsave:
        qemu_source.CPU = qemu_source.CPU.removesuffix(",-xsave")
    guest = qemu_source.Guest(name=options.name, vcpus=options.vcpus, memory_mib=options.memory, vga=options.vga,
                              disk="" if options.disk == "none" else options.disk, nic="" if options.nic == "none" else options.nic)
    with tempfile.TemporaryDirectory(prefix="vmferry-record-") as folder:
        folder = pathlib.Path(folder)
        with qemu_source.source(folder, guest, kernel, initrd) as source:
            source.wait_tick(options.tick)
            facts = ask(source.qmp)
            stream = folder / "stream"
            source.qmp("migrate-set-parameters", **{"max-bandwidth": 0, "downtime-limit": 2000})
            source.qmp("migrate", uri=f"exec:cat > {stream}")
            wait_for(lambda: source.migration_status() in ("completed", "failed"), 300, "the migration's end")
            if (status := source.migration_status()) != "completed":
                raise RuntimeError(f"the migration has {status}")
            last = source.last_tick()
            screen = folder / "screen"
            source.qmp("screendump", filename=str(screen))
            said = folder / "facts"
            said.write_text(json.dumps(facts, indent=1) + "\n")
            version = facts["query-version"]["qemu"]
        target = f"qemu-{version['major']}.{version['minor']}/{options.name}"
        entries = [store_stream(stream, f"{target}.s2d", options), record.store(screen, f"{target}.screen.zst", options.folder)]
        entries[1]["format"] = "its screen when it had stopped (PPM)"
        entries.append(record.store(said, f"{target}.facts.json.zst", options.folder))
        entries[-1]["format"] = "what its QEMU said over QMP"
        if guest.disk:
            entries.append(record.store(folder / "disk", f"{target}.disk.zst", options.folder))
            entries[-1]["format"] = "raw disk image, when it had stopped"
    entries[0]["format"] = "QEMU migration stream" + ("; zstd --patch-from" if "base" in entries[0] else "")
    entries[0]["qemu_guest"] = {
        "last_tick": last.number, "last_up": last.up, "sum": last.sum, "cpus": options.vcpus, "memory_mib": options.memory,
        "vga": options.vga, "nic": guest.nic, "disk_model": guest.disk, "mac": qemu_source.MAC if guest.nic else "",
        **({"disk": f"{last.disk_status}/{last.disk_hash}"} if guest.disk else {})}
    kernel_package = next(line.split() for line in image.versions.read_text().splitlines() if re.match(r"linux-image-\d", line))
    for entry in entries:
        entry["made"] = "testbed record-qemu " + " ".join(arguments)
        entry["versions"] = {"qemu": f"{version['major']}.{version['minor']}.{version['micro']} {facts['query-version']['package']}".strip(),
                             "guest-kernel": " ".join(kernel_package), "seabios": package_version("seabios")}
    record.add_to_manifest(entries, options.folder)
    return 0


def ask(qmp):
    """{question: answer}; of the processor, the properties of the first one."""
    answers = {question: qmp(question) for question in QUESTIONS}
    first = answers["query-cpus-fast"][0]["qom-path"]
    answers["cpu"] = {entry["name"]: value for entry in qmp("qom-list", path=first)
                      if entry["type"] in ("bool", "int", "uint64", "uint32", "string")
                      and (value := qmp("qom-get", path=first, property=entry["name"])) is not None}
    return answers


def store_stream(stream, name, options):
    import captures
    import record
    if not options.base:
        return record.store(stream, f"{name}.zst", options.folder)
    base = next(entry for entry in captures.manifest() if entry["file"] == options.base)
    file = f"{name}.patch.zst"
    with tempfile.TemporaryDirectory(prefix="vmferry-record-") as folder:
        plain = captures.unpacked(base, pathlib.Path(folder) / "base")
        subprocess.run(["zstd", "-q", "-19", "-f", "--long=28", f"--patch-from={plain}", stream, "-o", options.folder / file],
                       check=True)
    return {"file": file, "sha256": captures.sha256(options.folder / file), "base": base["file"]}


def package_version(name):
    return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], check=True, capture_output=True, text=True).stdout
