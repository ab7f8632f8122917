"""A guest under a stock QEMU on this machine, and the `vmferry serve` beside it: a source for a migration to Xen.

    with source(folder, guest, kernel, initrd) as qemu:
        qemu.started()
        qemu.migrate(port)
"""
import contextlib
import dataclasses
import json
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import linux_guest
import ticks
from captures import NETDEV
from qmp import Qmp
from replay import VMFERRY

MAC = "00:16:3e:11:22:44"
# What Debian's kernel can do without, and a nested Xen host does not offer: a guest that crosses must not have seen it.
NOT_UNDER_XEN = "-svm,-smap,-smep,-la57,-pku,-pks,-mpx,-rdpid,-monitor,-vme,-pcommit,-wbnoinvd,-xsave,-xsaveopt,-xgetbv1"
CPU = f"max,{NOT_UNDER_XEN}"

DISK_BYTES = 8 * (64 << 10)  # of a disk that the ticking guest uses


@dataclasses.dataclass(frozen=True)
class Guest:
    """The ticking Linux guest with these devices. `disk`, `nic`: QEMU's models, or empty. `clock`: its kernel's clock source;
    empty: the kernel chooses. `xen_firmware`: it was born under Xen."""
    name: str = "q1"
    vcpus: int = 1
    memory_mib: int = 112
    vga: str = "cirrus-vga"
    disk: str = "ide-hd"
    nic: str = "e1000"
    machine: str = "pc,hpet=off"
    clock: str = ""
    xen_firmware: bool = False

    def arguments(self, accel, cpu, kernel, initrd, disk_image, console, *sockets):
        """QEMU's. `console`: the file of its serial port; `sockets`: QMP's."""
        # Not a multiple of 256 KiB: of such memory QEMU before 9.0 does not notice all that the guest writes under TCG while it
        # migrates (docs/testbed.md).
        memory = f"{self.memory_mib * 1024 + 8}k"
        command_line = linux_guest.COMMAND_LINE + (f" clocksource={self.clock}" if self.clock else "")
        words = ["-accel", accel, "-M", self.machine, "-cpu", cpu, "-smp", self.vcpus, "-m", memory, "-nodefaults", "-no-user-config",
                 "-name", self.name, "-kernel", kernel, "-initrd", initrd, "-append", command_line,
                 *self.devices(disk_image), "-serial", f"file:{console}", "-display", "none"]
        for path in sockets:
            words += ["-qmp", f"unix:{path},server=on,wait=off"]
        return list(map(str, words))

    def devices(self, disk_image):
        """Placed as libxl would place them; what it does not know comes behind."""
        arguments = []
        if self.vga:
            arguments += ["-device", f"{self.vga},addr=2,vgamem_mb={16 if self.vga == 'VGA' else 8}"]
        if self.nic:
            arguments += ["-netdev", f"{NETDEV},id=n0", "-device",
                          f"{self.nic},id=nic0,netdev=n0,mac={MAC},addr={5 if 'virtio' in self.nic else 3}"]
        if self.disk:
            arguments += ["-drive", f"file={disk_image},format=raw,if=none,id=d0", "-device",
                          f"{self.disk},id=disk0,drive=d0" + (",addr=6" if "virtio" in self.disk else ",bus=ide.0,unit=0")]
        return arguments


class Server:
    """`vmferry serve --qemu-listen` and the lines that it prints; stderr goes to `folder`/serve.log."""

    def __init__(self, folder, *options):
        self.state = folder / "state"
        with open(folder / "serve.log", "ab") as log:
            self.process = subprocess.Popen(
                [VMFERRY, "serve", "--qemu-listen", "tcp:127.0.0.1:0", "--state-dir", self.state, "--json", *map(str, options)],
                stdout=subprocess.PIPE, stderr=log, text=True)
        self.lines = []
        first = self.process.stdout.readline()
        if not first:
            raise ticks.Failed(f"vmferry serve does not start: {(folder / 'serve.log').read_text()}")
        self.port = json.loads(first)["port"]
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def ends(self):
        return [line for line in self.lines if line.get("event") == "over"]

    def sessions(self):
        done = subprocess.run([VMFERRY, "sessions", "--json", "--state-dir", self.state], stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)["sessions"]

    def resolve(self, session, what):
        return subprocess.run([VMFERRY, "resolve", session, what, "--state-dir", self.state], capture_output=True, text=True)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.reader.join(timeout=5)
        self.process.stdout.close()


class Running:
    """A ticking guest under a QEMU: its console's file and its QMP socket. `source_qmp`: the socket for vmferry; another one
    where these tests ask while vmferry does, as each serves one client at a time. `disk`: the file of its disk."""

    def __init__(self, console, qmp_socket, source_qmp=None, disk=None):
        self.console, self.qmp_socket = pathlib.Path(console), qmp_socket
        self.source_qmp = source_qmp or qmp_socket
        self.disk = disk

    def qmp(self, command, **arguments):
        connection = Qmp(self.qmp_socket)
        try:
            return connection(command, **arguments)
        finally:
            connection.close()

    # -- what lies where it runs, for a vmferry there

    this_machine = "127.0.0.1"  # how that vmferry reaches a port of this machine's loopback

    def brought(self, file):
        """Where that vmferry finds this file."""
        return file

    def serve(self, folder, *options):
        return Server(folder, *options)

    def disk_blocks(self):
        """What the guest has on its disk by now."""
        with open(self.disk, "rb") as disk:
            return disk.read(DISK_BYTES)

    # -- the guest

    def alive(self):
        """As far as that can be seen."""
        return True

    def check_alive(self):
        """Raises ticks.Failed when QEMU has ended, as far as that can be seen."""

    def printed(self):
        """What the guest has written to its serial port here."""
        return self.console.read_text("latin-1") if self.console.exists() else ""

    def last_tick(self):
        text = self.printed()
        whole = text[:text.rfind("\n") + 1].replace("\r", "")
        found = [match for line in whole.splitlines() if (match := ticks.TICK.search(line))]
        return ticks.Tick(found[-1], time.monotonic()) if found else None

    def wait_tick(self, number, timeout=240):
        deadline = time.monotonic() + timeout
        while not (tick := self.last_tick()) or tick.number < number:
            self.check_alive()
            if time.monotonic() > deadline:
                raise ticks.Failed(f"no tick {number} within {timeout} s; the last was {tick.number if tick else 'none'}")
            time.sleep(0.3)
        return tick

    def started(self):
        """It has written each of the eight places on its disk."""
        return self.wait_tick(9)

    def goes_on(self, more=2, timeout=60):
        """Shows that the guest runs here now, as it was. A QEMU that has just lost its connection may still be on its way
        back from finish-migrate."""
        before = self.last_tick()
        deadline = time.monotonic() + timeout
        while (status := self.qmp("query-status")["status"]) != "running":
            if status != "finish-migrate" or time.monotonic() > deadline:
                raise ticks.Failed(f"the source is {status}")
            time.sleep(0.1)
        after = self.wait_tick(before.number + more, timeout)
        if (after.sum, after.disk_hash) != (before.sum, before.disk_hash):
            raise ticks.Failed(f"after tick {before.number}: sum {after.sum}, disk {after.disk_hash}; they were "
                               f"{before.sum}, {before.disk_hash}")

    def migrate(self, port, return_path=True):
        """`migrate tcp:` as an operator types it, with enough bandwidth that it comes to an end."""
        self._migrate(f"tcp:127.0.0.1:{port}", return_path)

    def record(self, file, timeout=120):
        """`migrate exec:` into a file. The guest stands still then."""
        self._migrate(f"exec:cat > {file}", return_path=False)
        deadline = time.monotonic() + timeout
        while (status := self.migration_status()) != "completed":
            if status not in ("setup", "active", "device") or time.monotonic() > deadline:
                raise ticks.Failed(f"the recording is {status}")
            time.sleep(0.1)

    def _migrate(self, uri, return_path):
        wanted = {"return-path": return_path, "events": True}
        # Since QEMU 8.1 it can be asked to wait for the destination before it stops its guest.
        if return_path and "switchover-ack" in {each["capability"] for each in self.qmp("query-migrate-capabilities")}:
            wanted["switchover-ack"] = True
        self.qmp("migrate-set-capabilities",
                 capabilities=[{"capability": name, "state": state} for name, state in wanted.items()])
        self.qmp("migrate-set-parameters", **{"max-bandwidth": 0, "downtime-limit": 2000})
        self.qmp("migrate", uri=uri)

    def migration_status(self):
        return self.qmp("query-migrate").get("status")

    def is_paused(self):
        """Stopped for good, as far as this side can tell: it runs only when somebody says `cont`."""
        return self.qmp("query-status")["status"] in ("postmigrate", "paused")

    def evidence(self, folder):
        folder.mkdir()
        (folder / "console").write_text(self.printed())


class Source(Running):
    """A QEMU that is started here."""

    def __init__(self, folder, guest, kernel, initrd):
        self.folder, self.guest = pathlib.Path(folder), guest
        disk = self.folder / "disk"
        super().__init__(self.folder / "console", self.folder / "qmp-test", self.folder / "qmp", disk)
        with open(disk, "wb") as image:
            image.truncate(16 << 20)
        with open(self.folder / "qemu.log", "wb") as log:
            self.process = subprocess.Popen(
                ["qemu-system-x86_64", *guest.arguments("tcg,thread=multi", CPU, kernel, initrd, disk, self.console,
                                                        self.qmp_socket, self.source_qmp)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def alive(self):
        return self.process.poll() is None

    def check_alive(self):
        if not self.alive():
            raise ticks.Failed(f"QEMU ended with {self.process.returncode}: {(self.folder / 'qemu.log').read_text()[-500:]}")

    def evidence(self, folder):
        super().evidence(folder)
        shutil.copy(self.folder / "qemu.log", folder)

    def close(self):
        if self.alive():
            self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def source(folder, guest, kernel, initrd):
    qemu = Source(folder, guest, kernel, initrd)
    try:
        yield qemu
    finally:
        qemu.close()
