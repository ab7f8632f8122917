#!/usr/bin/env python3
"""What crosses: guests × devices × hosts, each really run. matrix.py build/PRESET/vmferry [--only TEXT] [--document FILE]

A row says what has to come of it: the guest goes on in the destination, or the audit refuses it by this rule and it goes on
under Xen, or something is gone on the way and it runs where cuts.py says. A guest that crosses and then misbehaves, or that
is refused for another reason, is a failure. What came of each row is kept under build/testbed/matrix, so that rows can be run
in pieces (--only); --document writes down what came of all rows when each was last run, and the differences in the witness's
reports with their reasons.
"""
import argparse
import dataclasses
import datetime
import functools
import hashlib
import json
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = map(str, (HERE, HERE.parent / "support", HERE.parent / "guests", ROOT / "tools" / "testbed"))


@dataclasses.dataclass(frozen=True)
class Row:
    source: str
    destination: str  # "tcg": this machine's QEMU; otherwise a KVM host of the test bed
    what: str
    guest: object
    refused: str = ""  # the rule; empty: it crosses
    allow: tuple = ()
    cut: object = None  # it does not cross undisturbed, see cuts.py

    @property
    def words(self):
        return f"{self.source} → {self.destination}: {self.what}"

    @property
    def kept(self):
        """The file that says what came of it."""
        return ROOT / "build/testbed/matrix" / f"{hashlib.sha256(self.words.encode()).hexdigest()[:16]}.json"


def rows():
    import cuts
    from xen_guests import Ipxe, Memtest, TickingLinux, Witness
    linux = TickingLinux
    devices = [
        ("cirrus, e1000, IDE disk", linux(), ""),
        ("2 vCPUs, standard VGA, rtl8139, IDE disk", linux(vcpus=2, vga="stdvga", nic="rtl8139", memory_mib=128), ""),
        ("4 vCPUs, no network", linux(vcpus=4, nic="", memory_mib=128), ""),
        ("USB tablet", linux(extra=('usb=1', 'usbdevice="tablet"')), ""),
        ("AHCI disk", linux(extra=('hdtype="ahci"',)), "disk-type"),
        ("virtio-blk and virtio-net", linux(disk_mib=0, nic="", extra=(
            'device_model_args_hvm=["-drive","driver=null-co,size=16777216,read-zeroes=on,if=none,id=v0","-device",'
            '"virtio-blk-pci,drive=v0,addr=0x5","-device","virtio-net-pci,addr=0x6"]',)), "raw-device-model-arguments"),
        ("memory on both sides of an MMIO hole of 3840 MiB", linux(memory_mib=288, extra=("mmio_hole=3840",)), ""),
    ]
    for what, guest, refused in devices:
        yield Row("xen-4.17", "tcg", what, guest, refused)
    # It has something at every pin of the I/O APIC, masked for good.
    masked = ("intx-masked",)
    for timer in ("pit", "lapic", "rtc"):
        yield Row("xen-4.17", "tcg", f"witness, timer {timer}", Witness(command_line=f"timer={timer}"), allow=masked)
    yield Row("xen-4.17", "tcg", "witness, timer hpet", Witness(command_line="timer=hpet", extra=("hpet=1",)), "hpet-tick",
              allow=masked)
    yield Row("xen-4.17", "tcg", "witness, 8259", Witness(command_line="timer=pit pic"), allow=masked)
    yield Row("xen-4.17", "tcg", "memtest86+", Memtest())
    yield Row("xen-4.17", "tcg", "iPXE", Ipxe())
    yield Row("xen-4.20", "tcg", *devices[0][:2])
    yield Row("xen-4.20", "tcg", *devices[1][:2])
    yield Row("xen-4.20", "tcg", "witness, timer lapic", Witness(command_line="timer=lapic"), allow=masked)
    for host in ("kvm-10.0", "kvm-7.2"):
        yield Row("xen-4.17", host, *devices[0][:2])
        yield Row("xen-4.17", host, "witness, timer lapic", Witness(command_line="timer=lapic"), allow=masked)
    yield Row("xen-4.20", "kvm-10.0", *devices[0][:2])
    for cut in cuts.CUTS:
        yield Row("xen-4.17", "tcg", cut.words, linux(), cut=cut)


class Hosts:
    """Brought up when a row first needs them; a source is ended before another one starts, as two cores carry no more."""

    def __init__(self, vmferry):
        self.vmferry, self.sources, self.destinations = vmferry, {}, {}

    def source(self, name):
        from xen_host import XenHost
        # The emulator itself may have died under a guest: QEMU 7.2's TCG has an assertion that nested guests can reach.
        if name not in self.sources or self.sources[name].machine.pid() is None:
            self.close_sources()
            self.sources[name] = XenHost(name, self.vmferry, say=say)
        return self.sources[name]

    def destination(self, name):
        from local_destination import LocalDestination
        from remote_destination import RemoteDestination
        if name == "tcg":
            return LocalDestination
        if name not in self.destinations or self.destinations[name].pid() is None:
            self.close_destinations()
            self.destinations[name] = kvm_host(name, self.vmferry)
        return functools.partial(RemoteDestination, self.destinations[name])

    def close_sources(self):
        for host in self.sources.values():
            host.machine.down()
        self.sources.clear()

    def close_destinations(self):
        for machine in self.destinations.values():
            machine.down()
        self.destinations.clear()

    def close(self):
        self.close_sources()
        self.close_destinations()


def kvm_host(name, vmferry):
    import tempfile
    from machine import Machine, vmferry_payload
    with tempfile.TemporaryDirectory(prefix="vmferry-payload-") as folder:
        vmferry_payload(vmferry, pathlib.Path(folder) / "vmferry")
        return Machine(name).up(folder, say)


def say(text):
    print(text, flush=True)


def run(row, number, hosts):
    """What came of it, in words for the table. Raises when it is not what the row says."""
    from crossing import crossing
    from xen_guests import Witness
    xen = hosts.source(row.source)
    destination = hosts.destination(row.destination)
    guest = dataclasses.replace(row.guest, name=f"m{number}")
    for name in xen.domains():
        xen.run(f"xl destroy {name}")
    try:
        # What may explain a failure is collected at its end, so that the guest and its host are there until then.
        with crossing(f"matrix.{number}", xen, guest, destination) as c:
            xen.create(guest)
            guest.started(xen)
            if row.cut:
                return row.cut.run(c)
            c.arrive(allow=row.allow)
            c.migrate()
            if row.refused:
                c.resumed()
                error = c.report()["error"]
                if error["kind"] != "refused" or row.refused not in error["text"]:
                    raise AssertionError(f"refused otherwise: {error['text']}")
                c.runs_only_in_xen()
                return f"refused: `{row.refused}`"
            c.crossed()
            words = c.runs_only_in_qemu(20)
            report = c.report()
            c.end()
            return f"crossed; {words}; {report['handover_ms']} ms from the last record to running"
    finally:
        if isinstance(guest, Witness):
            # QEMU 7.2's TCG aborts when another guest starts in a Xen host where a witness has run.
            hosts.close_sources()
        else:
            xen.destroy(guest)


def keep(row, came):
    row.kept.parent.mkdir(parents=True, exist_ok=True)
    row.kept.write_text(json.dumps({"came": came, "day": datetime.date.today().isoformat(),
                                    "differences": getattr(row.guest, "differences", ())}))


def difference_row(item):
    """One reason, with the values that it explains and the first of them."""
    reason, values = item
    keys = sorted(values)
    named = f"`{keys[0]}`" if len(keys) == 1 else f"`{keys[0]}` … `{keys[-1]}` ({len(keys)})"
    before, after = values[keys[0]][0]
    return f"| {reason} | {named} | {before} → {after} |"


def document():
    table, cut, differences, used = [], [], {}, set()
    for row in rows():
        kept = json.loads(row.kept.read_text()) if row.kept.exists() else {"came": "not run", "day": "", "differences": []}
        where = f"{row.source} | {row.destination} | {row.what}"
        (cut if row.cut else table).append(f"| {where} | {kept['came']} | {kept['day']} |")
        for key, before, after, reason in kept["differences"]:
            differences.setdefault(reason, {}).setdefault(key, []).append((before, after))
        used |= {row.source, row.destination} - {"tcg"}
    return "\n".join([
        "# What crosses, as measured", "",
        "Written by `tests/e2e/matrix.py` (`tools/test.sh --matrix`) from what it ran; nothing here is by hand. A guest is booted",
        "under a stock Xen, sent by a stock `xl migrate`, and watched in the destination. \"Tick 17 → 18 … 40\": the last one under",
        "Xen, the first and the last one seen in QEMU; \"clock ×\": the rate of its clock against the host's.", "",
        "| from | to | guest | what came of it | day |", "|---|---|---|---|---|", *table, "",
        "## Where something was gone on the way", "",
        "After each, both ends were asked who runs: just one, or none, until the operator decided. What has to come of it:",
        "[the handover](handover.md).", "",
        "| from | to | what | what came of it | day |", "|---|---|---|---|---|", *cut, "",
        "## What the witness saw change", "",
        "It compares every register, and all that it can read of each device. These are all the values that differ after any",
        "of the crossings above that ended well; that each differs just so is checked (`tests/guests/witness_report.py`).", "",
        "| reason | values | for example |", "|---|---|---|", *map(difference_row, sorted(differences.items())), "",
        "## Versions", "", *(f"- {text}" for text in versions(sorted(used))), ""])


def versions(hosts):
    """Of the programs on both sides."""
    from image import Image
    from hosts import HOSTS
    found = []
    for name in hosts:
        image = Image(HOSTS[name])
        packages = ["xen-utils-" + image.host.xen, "qemu-system-xen"] if image.host.xen else ["qemu-system-x86"]
        found.append(f"{name}: " + ", ".join(f"{package} {image.version(package)}" for package in packages))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vmferry")
    parser.add_argument("--only", default="", help="rows in whose words this occurs")
    parser.add_argument("--document", type=pathlib.Path, help="where what came of it is written")
    options = parser.parse_args()
    os.environ["VMFERRY"] = str(pathlib.Path(options.vmferry).resolve())
    hosts = Hosts(os.environ["VMFERRY"])
    failed, passed = 0, 0
    try:
        for number, row in enumerate(rows()):
            if options.only not in row.words:
                continue
            start = time.monotonic()
            try:
                came = run(row, number, hosts)
                passed += 1
            except Exception as error:  # a row that fails says so, and the next one is run
                came = f"**failed**: {type(error).__name__}: {error}"
                failed += 1
            say(f"{row.words}: {came} ({time.monotonic() - start:.0f} s)")
            keep(row, came.splitlines()[0][:300])
    finally:
        hosts.close()
    if options.document:
        options.document.write_text(document())
    say(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
