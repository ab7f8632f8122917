"""A guest under KVM inside a host of the test bed, and the `vmferry serve` beside it: a source for a migration to Xen."""
import contextlib
import json
import pathlib
import shlex

import qemu_source
import ticks
from machine import HostError
from remote_server import RemoteServer

FOLDER = "/root/source"
# Besides: what KVM shows in its own right, and Xen does not.
CPU = f"host,kvm=off,{qemu_source.NOT_UNDER_XEN},-tsc-adjust,-arch-capabilities"


class RemoteSource(qemu_source.Running):
    """The same as qemu_source.Source, in a Machine that is up."""

    this_machine = "10.0.2.2"

    def __init__(self, machine, guest, kernel, initrd):
        self.machine = machine
        super().__init__(f"{FOLDER}/console", f"{FOLDER}/qmp-test", f"{FOLDER}/qmp")
        self.machine.run(f"rm -rf {FOLDER}; mkdir {FOLDER}; truncate -s 16M {FOLDER}/disk").check()
        words = guest.arguments("kvm", CPU, self.brought(kernel), self.brought(initrd), f"{FOLDER}/disk", self.console,
                                self.qmp_socket, self.source_qmp)
        self.machine.start(f"echo $BASHPID > {FOLDER}/pid; exec qemu-system-x86_64 {shlex.join(words)}", f"{FOLDER}/qemu.log")

    def brought(self, file):
        target = f"{FOLDER}/{pathlib.Path(file).name}"
        self.machine.put(file, target)
        return target

    def serve(self, folder, *options):
        return RemoteServer(self.machine, FOLDER, ["--qemu-listen", "tcp:127.0.0.1:4446", "--state-dir", f"{FOLDER}/state", *options], 4446)

    def qmp(self, command, **arguments):
        # The socket has to stay open until the answer is there.
        script = f'{{"execute":"qmp_capabilities"}}\n{json.dumps({"execute": command, "arguments": arguments})}\n'
        text = self.machine.run(f"(cat; sleep 2) | socat - UNIX-CONNECT:{self.qmp_socket}", script.encode()).check().text
        answers = [answer for line in text.splitlines() if "event" not in (answer := json.loads(line))]
        if len(answers) != 3 or "return" not in answers[2]:  # the greeting and the capabilities come first
            raise HostError(f"QEMU answers {command} with {text}")
        return answers[2]["return"]

    def disk_blocks(self):
        return self.machine.run(f"head -c {qemu_source.DISK_BYTES} {FOLDER}/disk").check().output

    def alive(self):
        return self.machine.run(f"kill -0 $(cat {FOLDER}/pid)").code == 0

    def check_alive(self):
        if not self.alive():
            raise ticks.Failed(f"QEMU has ended: {self.machine.run(f'tail -n 5 {FOLDER}/qemu.log').text}")

    def printed(self):
        return self.machine.run(f"cat {self.console} 2>/dev/null").output.decode("latin-1")

    def evidence(self, folder):
        super().evidence(folder)
        (folder / "files.tar").write_bytes(self.machine.run(
            f"tar -C {FOLDER} --exclude=disk --exclude=initrd --exclude='vmlinuz*' --exclude='qmp*' -cf - . 2>/dev/null").output)
        (folder / "host-console").write_text(self.machine.console_end(300))

    def close(self):
        self.machine.run(f"kill -9 $(cat {FOLDER}/pid)")


@contextlib.contextmanager
def source(machine, guest, kernel, initrd):
    qemu = RemoteSource(machine, guest, kernel, initrd)
    try:
        yield qemu
    finally:
        qemu.close()
