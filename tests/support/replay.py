"""Runs `vmferry replay` with a recorded guest and watches it go on."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import ticks
from qmp import Qmp, QmpError

ROOT = pathlib.Path(__file__).resolve().parents[2]
VMFERRY = os.environ.get("VMFERRY", str(ROOT / "build/release/vmferry"))


def unpack(source, target):
    """zstd file → plain file."""
    subprocess.run(["zstd", "-q", "-d", "-f", str(source), "-o", str(target)], check=True)


class Replay:
    """One replayed guest. Use as a context manager: QEMU and the files are gone afterwards.

    `guest`: a captures.Guest. `arguments`: further options of `vmferry replay`, before "--".
    """

    def __init__(self, guest, arguments=(), extra=(), vmferry=VMFERRY):
        self.guest = guest
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vmferry-replay-"))
        self.console = self.folder / "console"
        self.qmp_path = self.folder / "qmp"
        self.log = self.folder / "vmferry.log"
        command = [vmferry, "replay", str(guest.stream), "--accel", "tcg", "--display", "none",
                   "--serial", f"file:{self.console}", "--state-dir", str(self.folder / "state")]
        if guest.disk:
            self.disk = self.folder / "disk"
            unpack(guest.disk, self.disk)
            command += ["--disk", f"hda={self.disk},format=raw"]
        if guest.network:
            command += ["--nic", f"0={guest.netdev}"]
        for rule in guest.allow:
            command += ["--allow", rule]
        # --qmp would adopt a QEMU; this adds a second monitor to the one that vmferry starts.
        command += [*arguments, "--", "-qmp", f"unix:{self.qmp_path},server=on,wait=off", *extra]
        self.command = command
        with open(self.log, "wb") as log:
            # A group of its own: whatever is left is found and ended by number.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        self.qmp = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def follow(self, count, timeout=60, show=None):
        """`count` ticks on the console, and the verdict over them. Returns the judge; adds vmferry's own words to a
        failure."""
        judge = ticks.Judge.of(self.guest)
        console = ticks.Console(self.console, judge, self.alive, show)
        try:
            console.follow(count, timeout)
            judge.verdict(count)
        except ticks.Failed as reason:
            raise type(reason)(f"{reason}\n{self.words()}") from None
        finally:
            console.close()
        return judge

    def alive(self):
        return self.process.poll() is None

    def words(self):
        return self.log.read_text(errors="replace")[-4000:]

    def connect(self, timeout=60):
        """QMP of the running destination."""
        if not self.qmp:
            self.qmp = Qmp(self.qmp_path, timeout)
        return self.qmp

    def stop(self):
        """Ends QEMU over QMP; returns vmferry's exit code."""
        if self.alive() and self.qmp_path.exists():
            self.connect().quit()
            self.qmp = None
        return self.process.wait(timeout=30)

    def close(self):
        if self.qmp:
            self.qmp.close()
            self.qmp = None
        if self.alive():
            try:
                self.stop()
            except (OSError, QmpError, subprocess.TimeoutExpired):
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def wait_for(condition, timeout, what):
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout} s for {what}")
        time.sleep(0.05)
    return value
