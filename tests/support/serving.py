"""A destination: its configuration, the `vmferry serve` that works there, and what becomes of its guests."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import xl
from qmp import Qmp
from replay import VMFERRY, unpack, wait_for


def gone(pid):
    """Ended; who inherited it may not have taken notice yet."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def configuration(folder, disk, netdev, allow, accel):
    """The text of a destination.toml whose guests have their files in `folder`, as which {folder} in `netdev` stands."""
    rules = ", ".join(f'"{rule}"' for rule in allow)
    text = f'accel = "{accel}"\nserial = "file:{folder}/{{name}}.console"\nallow = [{rules}]\n' \
           f'state_directory = "{folder}/state"\n'
    if disk:
        text += f'[disk]\nhda = "{folder}/{{name}}.disk,format=raw"\n'
    if netdev:
        text += f'[nic]\n0 = "{netdev.replace("{folder}", str(folder))}"\n'
    return text


class Destination:
    """A destination host: a configuration directory, its guests' disks and consoles, and its sessions.

    `disk`: its guests have one; a zstd file is what it holds, True: the test sees to it. `netdev`: what their network
    cards are connected to; empty: they have none. `allow`: rules whose risk is accepted."""

    def __init__(self, disk, netdev, allow=(), accel="tcg"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vmferry-host-"))
        (self.folder / "guests").mkdir()
        (self.folder / "destination.toml").write_text(configuration(self.folder, disk, netdev, allow, accel))
        self.packed_disk = None if disk is True else disk

    @classmethod
    def of(cls, guest):
        """For a captured guest (captures.Guest)."""
        return cls(guest.disk, guest.netdev if guest.network else "", guest.allow)

    def expect(self, name, settings=""):
        (self.folder / "guests" / f"{name}.toml").write_text(settings)
        if self.packed_disk:
            unpack(self.packed_disk, self.disk(name))

    def disk(self, name):
        return self.folder / f"{name}.disk"

    def console(self, name):
        return self.folder / f"{name}.console"

    def sessions(self):
        done = subprocess.run([VMFERRY, "sessions", "--json", "--state-dir", self.folder / "state"],
                              stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)["sessions"]

    def resolve(self, session, what):
        return subprocess.run([VMFERRY, "resolve", session, what, "--state-dir", self.folder / "state"],
                              capture_output=True, text=True)

    def end(self, session):
        """Ends the QEMU of a session that is over on the wire."""
        Qmp(session["qmp"]).quit()
        wait_for(lambda: gone(session["qemu_pid"]), 10, "QEMU's end")

    def close(self):
        for session in self.sessions():
            if session["qemu_alive"]:
                os.kill(session["qemu_pid"], signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Server:
    """`vmferry serve` and the lines that it prints; stderr goes to the destination's `serve.log`."""

    def __init__(self, host, *options):
        with open(host.folder / "serve.log", "ab") as log:
            self.process = subprocess.Popen(
                [VMFERRY, "serve", "--xl-listen", "tcp:127.0.0.1:0", "--config", str(host.folder), "--json", *options],
                stdout=subprocess.PIPE, stderr=log, text=True)
        self.lines = []
        first = json.loads(self.process.stdout.readline())
        self.port = first["port"]
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def ends(self):
        return [line for line in self.lines if line.get("event") == "over"]

    def migrate(self, stream):
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            return xl.Source.over(connection).migrate(stream)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.reader.join(timeout=5)
        self.process.stdout.close()
        return self.process.returncode
