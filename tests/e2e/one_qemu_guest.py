"""What the tests from QEMU to Xen share: one guest under a real QEMU here, one Xen host."""
import os
import tempfile
import unittest

import linux_guest
import qemu_source
from crossing_to_xen import crossing_to_xen
from replay import VMFERRY
from xen_host import XenHost

# Deep in the first round over the pages.
AMONG_PAGES = 20 << 20
LIBXL_RECEIVE = "/testbed/vmferry/vmferry-libxl-receive"


class OneQemuGuest(unittest.TestCase):
    """One guest runs under QEMU; a scenario that leaves it there is followed by the next one."""

    @classmethod
    def setUpClass(cls):
        cls.xen = XenHost("xen-4.17", VMFERRY)
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
        return self.xen.run("pgrep -f '[v]mferry-libxl-receive.bin'").text.split()
