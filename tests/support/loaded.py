"""`vmferry convert`, then a real QEMU that has loaded the result and is still paused."""
import json
import pathlib
import shutil
import subprocess
import tempfile

from qmp import Qmp
from replay import VMFERRY, unpack


def destination_options(guest, folder, console=None):
    """What `vmferry` has to be told for this guest; its disk is unpacked into `folder`."""
    words = ["--accel", "tcg", "--display", "none", "--state-dir", str(folder / "state")]
    if console:
        words += ["--serial", f"file:{console}"]
    if guest.disk:
        disk = folder / "disk"
        unpack(guest.disk, disk)
        words += ["--disk", f"hda={disk},format=raw"]
    if guest.network:
        words += ["--nic", f"0={guest.netdev}"]
    for rule in guest.allow:
        words += ["--allow", rule]
    return words


class LoadedQemu:
    """Context manager: .qmp, .report (convert's JSON), .console, .qemu (the process)."""

    def __init__(self, guest, extra=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vmferry-loaded-"))
        self.qemu = self.qmp = None
        try:
            self._start(guest, extra)
        except BaseException:
            self.close()
            raise

    def _start(self, guest, extra):
        self.console = self.folder / "console"
        out = self.folder / "qemu.stream"
        options = destination_options(guest, self.folder, self.console)
        done = subprocess.run([VMFERRY, "convert", str(guest.stream), "--to", "qemu", "-o", str(out), "--json", *options],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"convert ended with {done.returncode}: {done.stderr}")
        self.report = json.loads(done.stdout)
        self.command = [*self.report["command_line"], "-S", "-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off", *extra]
        self.log = self.folder / "qemu.log"
        with open(self.log, "wb") as log:
            self.qemu = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.qmp = Qmp(self.folder / "qmp")
        # "exec:" is loaded in the background: the status says when all of it is there.
        self.qmp.wait_status("paused", 60)
        out.unlink()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.qmp:
            self.qmp.quit()
            self.qmp = None
        if self.qemu:
            try:
                self.qemu.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.qemu.kill()
                self.qemu.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
