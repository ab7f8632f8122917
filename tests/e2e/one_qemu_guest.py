"""What the tests from QEMU to Xen share: one guest under a real QEMU here, one Xen host."""
import contextlib
import os
import tempfile
import unittest

import linux_guest
import qemu_source
from captures import NETDEV
from crossing import MIGRATE_LOG
from crossing_to_xen import crossing_to_xen
from local_destination import LocalDestination
from replay import VMFERRY, wait_for
from xen_host import LIBXL_RECEIVE, STATE, XenHost

# Deep in the first round over the pages.
AMONG_PAGES = 20 << 20
RECEIVE_BY_LIBXL = f"/testbed/vmferry/{LIBXL_RECEIVE}"


class OneQemuGuest(unittest.TestCase):
    """One guest runs under QEMU; a scenario that leaves it there is followed by the next one."""

    host = "xen-4.17"

    @classmethod
    def setUpClass(cls):
        cls.xen = XenHost(cls.host, VMFERRY, libxl_receive=True)
        if not os.environ.get("VMFERRY_KEEP_HOSTS"):
            cls.addClassCleanup(cls.xen.machine.down)
        cls.kernel, cls.initrd = linux_guest.build(cls.xen.machine.image)
        cls.guest = qemu_source.Guest()
        folder = tempfile.TemporaryDirectory(prefix="vmferry-source-")
        cls.addClassCleanup(folder.cleanup)
        cls.source = cls.enterClassContext(qemu_source.source(folder.name, cls.guest, cls.kernel, cls.initrd))
        cls.source.started()

    def setUp(self):
        for name in self.xen.domains():
            self.xen.run(f"xl destroy {name}")
        # A guest that has crossed is stopped at its source, whole: it can be let run again for the next scenario.
        if self.source.is_paused():
            self.source.qmp("cont")
        self.source.goes_on(1)

    def crossing(self):
        return crossing_to_xen(self.id().split(".", 1)[1], self.xen, self.guest, self.source)

    def watches(self):
        """Whether something of the helper is left."""
        return self.xen.run(f"pgrep -f '[v]{LIBXL_RECEIVE[1:]}.bin'").text.split()

    def to_qemu(self, name, last_tick, closing):
        """The guest of that name goes from Xen into a QEMU here, by `xl migrate`. Returns it there, as a source."""
        there = closing.enter_context(contextlib.closing(LocalDestination(True, NETDEV)))
        there.expect(name)
        there.make_disk(name, 16 << 20)
        # It may be stopped between writing its disk and reading it back.
        blocks = self.xen.run(f"head -c {qemu_source.DISK_BYTES} {STATE}/{name}.disk").check().output
        with open(there.disk(name), "r+b") as disk:
            disk.write(blocks)
        server = closing.enter_context(contextlib.closing(there.serve()))
        before = last_tick()
        self.xen.machine.start(f"xl migrate -s '' {name} 'socat -t 60 - TCP:10.0.2.2:{server.port}'", MIGRATE_LOG)
        wait_for(server.ends, 300, "the session's report")
        self.assertIsNone(server.ends()[-1]["error"], self.xen.run(f"cat {MIGRATE_LOG}").text)
        session, = there.sessions()
        moved = qemu_source.Running(there.console(name), session["qmp"], disk=there.disk(name))
        tick = moved.wait_tick(before.number + 4)
        self.assertEqual((tick.sum, tick.disk_hash), (before.sum, before.disk_hash))
        return moved
