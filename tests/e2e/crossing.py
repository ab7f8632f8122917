"""What the tests of a crossing from Xen have in common: one host, one guest that is saved once and restored for each test,
a destination on this machine, and looks at both ends."""
import os
import shutil
import time
import unittest

import evidence
import ticks
from qmp import Qmp
from replay import VMFERRY, wait_for
from serving import Destination, Server, gone
from wire import Wire
from xen_host import STATE, XenGuest, XenHost

# The guests ping 192.168.77.1.
NETDEV = "user,net=192.168.77.0/24,host=192.168.77.1"
MIGRATE_LOG = f"{STATE}/migrate.xl"
MIGRATE_SECONDS = 600


class FromXen(unittest.TestCase):
    """`host_name`, `guest`, `allow` may be set by a subclass."""
    host_name = "xen-4.17"
    guest = XenGuest()
    allow = ()
    files = ()

    @classmethod
    def setUpClass(cls):
        cls.xen = XenHost(cls.host_name, VMFERRY, cls.files)
        if not os.environ.get("VMFERRY_KEEP_HOSTS"):
            cls.addClassCleanup(cls.xen.machine.down)
        cls.prepare()

    @classmethod
    def prepare(cls):
        """Boots the guest and saves it, unless a host that was kept has done so already."""
        if cls.xen.run(f"test -f {cls.guest.saved}").code == 0:
            return
        cls.xen.create(cls.guest)
        cls.xen.wait_tick(cls.guest, 3)
        cls.xen.save(cls.guest)

    def setUp(self):
        """The guest runs under Xen: as the last test left it, or restored."""
        if self.guest.name in self.xen.domains():
            try:
                self.xen.goes_on(self.guest, 1)
                return
            except ticks.Failed:
                self.xen.destroy(self.guest)
        self.xen.restore(self.guest)
        self.xen.goes_on(self.guest, 1)

    def recorded(self):
        """A folder for this test, left behind with all evidence when it fails."""
        return evidence.collected(self.id().split(".", 1)[1], self.collect)

    def collect(self, folder):
        self.xen.evidence(self.guest, folder)
        destination = getattr(self, "destination", None)
        if destination:
            shutil.copytree(destination.folder, folder / "destination", dirs_exist_ok=True,
                            ignore=lambda _, names: [name for name in names if name.endswith(".disk") or "qmp" in name])
        if getattr(self, "server", None):
            (folder / "serve.json").write_text("\n".join(map(str, self.server.lines)))

    # -- the destination

    def arrive(self, *options, allow=None, disk=True, points=(), folder=None):
        """A destination that expects the guest, `vmferry serve` there, and the wire to it."""
        self.destination = Destination(disk, NETDEV if self.guest.nic else "", self.allow if allow is None else allow)
        self.addCleanup(self.destination.close)
        self.destination.expect(self.guest.name)
        if disk and self.guest.disk_mib:
            with open(self.destination.disk(self.guest.name), "wb") as image:
                image.truncate(self.guest.disk_mib << 20)
        self.server = Server(self.destination, *options)
        self.addCleanup(self.server.close)
        self.wire = Wire(self.server.port, folder, points)
        self.addCleanup(self.wire.close)

    def migrate(self):
        """`xl migrate` in the background, through the wire."""
        self.xen.machine.start(f"xl migrate -s '' {self.guest.name} 'socat -t 60 - TCP:10.0.2.2:{self.wire.port}'", MIGRATE_LOG)

    def xl_ended(self, timeout=MIGRATE_SECONDS):
        """(exit code, what xl said) when it has ended."""
        deadline = time.monotonic() + timeout
        while (result := self.xen.run(f"cat {MIGRATE_LOG}.code")).code != 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"xl has not ended within {timeout} s; it said: {self.xl_words()}")
            time.sleep(1)
        return int(result.text), self.xl_words()

    def xl_words(self):
        return self.xen.run(f"cat {MIGRATE_LOG}").text

    def report(self):
        """How vmferry's session ended."""
        wait_for(self.server.ends, 60, "the session's report")
        return self.server.ends()[-1]

    # -- who runs

    def runs_only_in_xen(self):
        self.not_in_qemu()
        self.xen.goes_on(self.guest)
        self.assertEqual(list(self.xen.domains()), [self.guest.name])
        self.not_in_qemu()

    def not_in_qemu(self):
        """No QEMU of any session has run the guest, nor does one."""
        for session in self.destination.sessions():
            if session["qemu_alive"]:
                self.assertEqual(self.status(session), "inmigrate")
        console = self.destination.console(self.guest.name)
        self.assertEqual(console.read_bytes() if console.exists() else b"", b"")

    def status(self, session):
        qmp = Qmp(session["qmp"])
        try:
            return qmp("query-status")["status"]
        finally:
            qmp.close()

    def runs_only_in_qemu(self, count=8):
        """The domain is gone, and the guest's next tick comes from QEMU. Returns the judge."""
        last = self.xen.last_tick(self.guest)
        self.assertIsNotNone(last)
        judge = ticks.Judge(last.number, last.sum, last.disk_hash, self.guest.vcpus, bool(self.guest.disk_mib),
                            bool(self.guest.nic), last.up)
        console = ticks.Console(self.destination.console(self.guest.name), judge, show=print)
        try:
            console.follow(count, 60)
        finally:
            console.close()
        wait_for(lambda: self.xen.domains() == {}, 120, "the end of the domain under Xen")
        return judge

    def ended(self, pid):
        wait_for(lambda: gone(pid), 30, f"the end of process {pid}")

