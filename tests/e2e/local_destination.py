"""A destination on this machine, with its stock QEMU."""
import shutil

import serving
from qmp import Qmp


class LocalDestination(serving.Destination):
    def make_disk(self, name, size):
        with open(self.disk(name), "wb") as image:
            image.truncate(size)

    def serve(self, *options):
        return serving.Server(self, *options)

    def status(self, session):
        """What QEMU says of its guest: running, paused, inmigrate, …"""
        qmp = Qmp(session["qmp"])
        try:
            return qmp("query-status")["status"]
        finally:
            qmp.close()

    def gone(self, pid):
        return serving.gone(pid)

    def printed(self, name):
        """What the guest has written to its serial port here."""
        console = self.console(name)
        return console.read_bytes() if console.exists() else b""

    def evidence(self, folder):
        """The destination's files without disks and sockets."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, ignore_dangling_symlinks=True,
                        ignore=lambda _, names: [name for name in names if name.endswith(".disk") or name.startswith("qmp")])
