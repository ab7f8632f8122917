"""A destination inside a host of the test bed: vmferry and QEMU with KVM run there."""
import json
import pathlib
import shlex
import tempfile

from host_file import HostFile
from machine import HostError
from remote_server import VMFERRY, RemoteServer
from serving import configuration

FOLDER = "/root/destination"


class RemoteDestination:
    """The same as local_destination.LocalDestination, for a Machine that is up. `folder`: local, for evidence and copies of
    the guests' consoles."""

    def __init__(self, machine, disk, netdev, allow=(), accel="kvm"):
        self.machine = machine
        self.copies = tempfile.TemporaryDirectory(prefix="vmferry-remote-")
        self.folder = pathlib.Path(self.copies.name)
        self.consoles = []
        text = configuration(FOLDER, disk, netdev, allow, accel)
        self.machine.run(f"rm -rf {FOLDER}; mkdir -p {FOLDER}/guests; cat > {FOLDER}/destination.toml", text.encode()).check()

    def expect(self, name):
        self.machine.run(f": > {FOLDER}/guests/{name}.toml").check()
        self.consoles.append(HostFile(self.machine, f"{FOLDER}/{name}.console", self.console(name)))

    def make_disk(self, name, size):
        self.machine.run(f"truncate -s {size} {FOLDER}/{name}.disk").check()

    def serve(self, *options):
        return RemoteServer(self.machine, FOLDER, ["--xl-listen", "tcp:0.0.0.0:4445", "--config", FOLDER, *options],
                            self.machine.service_port())

    def console(self, name):
        """A local copy of its console that grows."""
        return self.folder / f"{name}.console"

    def printed(self, name):
        return self.machine.run(f"cat {FOLDER}/{name}.console 2>/dev/null").output

    def sessions(self):
        text = self.machine.run(f"{VMFERRY} sessions --json --state-dir {FOLDER}/state").check().text
        return json.loads(text)["sessions"]

    def qmp(self, session, command):
        """The answer to one QMP command, as text."""
        script = f'{{"execute":"qmp_capabilities"}}\n{{"execute":"{command}"}}\n'
        return self.machine.run(f"(cat; sleep 1) | socat - UNIX-CONNECT:{shlex.quote(session['qmp'])}", script.encode()).text

    def status(self, session):
        for line in self.qmp(session, "query-status").splitlines():
            answer = json.loads(line).get("return")
            if answer and "status" in answer:
                return answer["status"]
        raise HostError("QEMU does not say its status")

    def end(self, session):
        self.qmp(session, "quit")

    def gone(self, pid):
        return self.machine.run(f"kill -0 {pid}").code != 0

    def evidence(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / "destination.tar"
        archive.write_bytes(self.machine.run(f"tar -C {FOLDER} --exclude=*.disk --exclude=qmp* -cf - . 2>/dev/null").output)
        (folder / "host-console").write_text(self.machine.console_end(300))

    def close(self):
        for console in self.consoles:
            console.close()
        for session in self.sessions():
            if session["qemu_alive"]:
                self.machine.run(f"kill -9 {session['qemu_pid']}")
        self.copies.cleanup()
