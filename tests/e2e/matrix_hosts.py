"""The hosts that rows of the matrix need: brought up when a row first needs them, and ended when one does not: two cores carry no
more than it needs.
"""
import contextlib
import functools
import pathlib
import tempfile

import linux_guest
import qemu_source
import remote_source
from local_destination import LocalDestination
from machine import Machine, vmferry_payload
from matrix_rows import TCG
from remote_destination import RemoteDestination
from xen_host import XenHost


class Hosts:
    def __init__(self, vmferry, say):
        self.vmferry, self.say = vmferry, say
        self.xen_host = self.kvm_host = None

    def end_but(self, names):
        """Ends those that are not among these, or have died: QEMU 7.2's TCG has an assertion that nested guests can reach."""
        if self.xen_host and (self.xen_host.machine.host.name not in names or self.xen_host.machine.pid() is None):
            self.end_xen()
        if self.kvm_host and (self.kvm_host.host.name not in names or self.kvm_host.pid() is None):
            self.end_kvm()

    def xen(self, name):
        """A XenHost."""
        self.xen_host = self.xen_host or XenHost(name, self.vmferry, say=self.say)
        return self.xen_host

    def kvm(self, name):
        """A Machine with vmferry."""
        if not self.kvm_host:
            with tempfile.TemporaryDirectory(prefix="vmferry-payload-") as folder:
                vmferry_payload(self.vmferry, pathlib.Path(folder) / "vmferry")
                self.kvm_host = Machine(name).up(folder, self.say)
        return self.kvm_host

    def destination(self, name):
        """What makes the destination of a crossing()."""
        return LocalDestination if name == TCG else functools.partial(RemoteDestination, self.kvm(name))

    @contextlib.contextmanager
    def source(self, name, guest, xen):
        """A qemu_source.Running with this guest, whose kernel is the Xen host's."""
        files = linux_guest.build(xen.machine.image)
        if name == TCG:
            with (tempfile.TemporaryDirectory(prefix="vmferry-source-") as folder,
                  qemu_source.source(folder, guest, *files) as source):
                yield source
        else:
            with remote_source.source(self.kvm(name), guest, *files) as source:
                yield source

    def end_xen(self):
        if self.xen_host:
            self.xen_host.machine.down()
            self.xen_host = None

    def end_kvm(self):
        if self.kvm_host:
            self.kvm_host.down()
            self.kvm_host = None

    def close(self):
        self.end_xen()
        self.end_kvm()
