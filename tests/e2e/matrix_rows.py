"""The rows of the matrix: what is run, and how each kind of row is run. What has to come of it is part of the row: run() raises
when something else does.
"""
import dataclasses
import hashlib
import pathlib
import tempfile

import cuts
import cuts_to_xen
import qemu_source
import ticks
from crossing import crossing
from crossing_to_xen import crossing_to_xen
from xen_guests import Ipxe, Memtest, TickingLinux, Witness

ROOT = pathlib.Path(__file__).resolve().parents[2]
TCG = "tcg"  # this machine's QEMU; other names are hosts of the test bed
NOWHERE = "–"
TO_XEN = {"count": 20, "seconds": 60}  # how long a guest is watched under Xen, for a word of its kernel above all


@dataclasses.dataclass(frozen=True)
class Row:
    """`table`: the part of the document that it belongs to, see matrix.py."""
    source: str
    destination: str
    what: str
    guest: object

    @property
    def words(self):
        return f"{self.source} → {self.destination}: {self.what}"

    @property
    def hosts(self):
        """Of the test bed."""
        return {self.source, self.destination} - {TCG, NOWHERE}

    @property
    def kept(self):
        """The file that says what came of it."""
        return ROOT / "build/testbed/matrix" / f"{hashlib.sha256(self.words.encode()).hexdigest()[:16]}.json"

    def run(self, number, hosts):
        """What came of it, in words for the table. Raises when it is not what the row says."""
        raise NotImplementedError

    def named(self, number):
        return dataclasses.replace(self.guest, name=f"m{number}")


@dataclasses.dataclass(frozen=True)
class ToQemu(Row):
    """A guest of Xen's goes to QEMU, or is refused by this rule and goes on under Xen."""
    refused: str = ""
    allow: tuple = ()
    table = "to QEMU"

    def run(self, number, hosts):
        xen = hosts.xen(self.source)
        destination = hosts.destination(self.destination)
        guest = self.named(number)
        xen.destroy_all()
        try:
            # What may explain a failure is collected at its end, so that the guest and its host are there until then.
            with crossing(f"matrix.{number}", xen, guest, destination) as c:
                xen.create(guest)
                guest.started(xen)
                return self.crossed(c)
        finally:
            if isinstance(guest, Witness):
                # QEMU 7.2's TCG aborts when another guest starts in a Xen host where a witness has run.
                hosts.end_xen()
            else:
                xen.destroy(guest)

    def crossed(self, c):
        c.arrive(allow=self.allow)
        c.migrate()
        if self.refused:
            c.resumed()
            refused_by(self.refused, c.report())
            c.runs_only_in_xen()
            return f"refused: `{self.refused}`"
        c.crossed()
        words = c.runs_only_in_qemu(20)
        report = c.report()
        c.end()
        return f"crossed; {words}; {report['handover_ms']} ms from the last record to running"


@dataclasses.dataclass(frozen=True)
class Cut(ToQemu):
    """Something is gone on the way, and it runs where cuts.py says."""
    cut: object = None
    table = "cut"

    def crossed(self, c):
        return self.cut.run(c)


@dataclasses.dataclass(frozen=True)
class ToXen(Row):
    """A guest of QEMU's (qemu_source.Guest) goes to Xen, or is refused by this rule and goes on under QEMU."""
    refused: str = ""
    table = "to Xen"

    def run(self, number, hosts):
        xen = hosts.xen(self.destination)
        guest = self.named(number)
        xen.destroy_all()
        try:
            with (hosts.source(self.source, guest, xen) as source,
                  crossing_to_xen(f"matrix.{number}", xen, guest, source) as c):
                return self.crossed(c)
        finally:
            xen.destroy_all()

    def crossed(self, c):
        c.serve()
        c.migrate()
        if self.refused:
            refused_by(self.refused, c.report())
            c.runs_only_in_qemu()
            return f"refused: `{self.refused}`"
        report = c.crossed()
        excused = excuses(c.guest) if self.source == TCG else ticks.TWO_HOSTS
        words = c.runs_only_in_xen(**TO_XEN, excuses=excused)
        return f"crossed; {words}; {report['handover_ms']} ms from the last section to running"


@dataclasses.dataclass(frozen=True)
class CutToXen(ToXen):
    """Something is gone on the way, and it runs where cuts_to_xen.py says."""
    cut: object = None
    table = "cut to Xen"

    def crossed(self, c):
        return self.cut.run(c)


@dataclasses.dataclass(frozen=True)
class BornThere(Row):
    """No crossing: what another row's guest may be excused for under Xen, seen without vmferry. Watched as long, by the same
    judge."""
    table = "to Xen"

    def run(self, number, hosts):
        xen = hosts.xen(self.destination)
        guest = self.named(number)
        xen.destroy_all()
        try:
            xen.create(guest)
            guest.started(xen)
            with tempfile.TemporaryDirectory(prefix="vmferry-native-") as folder:
                return "no crossing; " + guest.watched(xen, pathlib.Path(folder), **TO_XEN, excuses=excuses(guest))
        finally:
            xen.destroy_all()


def excuses(guest):
    return ticks.NESTED_SMP if guest.vcpus > 1 else ()


def refused_by(rule, report):
    error = report["error"] or {"kind": "", "text": "not refused at all"}
    if error["kind"] != "refused" or rule not in error["text"]:
        raise ticks.Failed(f"refused otherwise: {error['text']}")


def rows():
    yield from to_qemu()
    yield from to_xen()
    for cut in cuts.CUTS:
        yield Cut("xen-4.17", TCG, cut.words, TickingLinux(), cut=cut)
    for cut in cuts_to_xen.CUTS_TO_XEN:
        yield CutToXen(TCG, "xen-4.17", cut.words, qemu_source.Guest(), cut=cut)


def to_qemu():
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
        yield ToQemu("xen-4.17", TCG, what, guest, refused)
    # It has something at every pin of the I/O APIC, masked for good.
    masked = ("intx-masked",)
    for timer in ("pit", "lapic", "rtc"):
        yield ToQemu("xen-4.17", TCG, f"witness, timer {timer}", Witness(command_line=f"timer={timer}"), allow=masked)
    yield ToQemu("xen-4.17", TCG, "witness, timer hpet", Witness(command_line="timer=hpet", extra=("hpet=1",)), "hpet-tick",
                 allow=masked)
    yield ToQemu("xen-4.17", TCG, "witness, 8259", Witness(command_line="timer=pit pic"), allow=masked)
    yield ToQemu("xen-4.17", TCG, "memtest86+", Memtest())
    yield ToQemu("xen-4.17", TCG, "iPXE", Ipxe())
    yield ToQemu("xen-4.20", TCG, *devices[0][:2])
    yield ToQemu("xen-4.20", TCG, *devices[1][:2])
    yield ToQemu("xen-4.20", TCG, "witness, timer lapic", Witness(command_line="timer=lapic"), allow=masked)
    for host in ("kvm-10.0", "kvm-7.2"):
        yield ToQemu("xen-4.17", host, *devices[0][:2])
        yield ToQemu("xen-4.17", host, "witness, timer lapic", Witness(command_line="timer=lapic"), allow=masked)
    yield ToQemu("xen-4.20", "kvm-10.0", *devices[0][:2])


def to_xen():
    plain = ("cirrus, e1000, IDE disk", qemu_source.Guest())
    virtio = ("standard VGA, virtio-blk, virtio-net",
              qemu_source.Guest(vga="VGA", disk="virtio-blk-pci", nic="virtio-net-pci", memory_mib=128))
    virtio_net = ("standard VGA, IDE disk, virtio-net", qemu_source.Guest(vga="VGA", nic="virtio-net-pci", memory_mib=128))
    yield ToXen(TCG, "xen-4.20", *plain)
    yield ToXen(TCG, "xen-4.20", *virtio_net)
    yield ToXen(TCG, "xen-4.20", *virtio, "virtio-disk-load")
    yield ToXen(TCG, "xen-4.17", *plain)
    yield ToXen(TCG, "xen-4.17", *virtio)
    yield ToXen(TCG, "xen-4.17", "the PM timer as its clock", qemu_source.Guest(clock="acpi_pm"))
    yield ToXen(TCG, "xen-4.17", "2 vCPUs", qemu_source.Guest(vcpus=2))
    yield BornThere(NOWHERE, "xen-4.17", "2 vCPUs, born there", TickingLinux(vcpus=2))
    for host in ("kvm-10.0", "kvm-7.2"):
        yield ToXen(host, "xen-4.17", *plain)
