"""A Xen host of the test bed and the guests on it, as the tests need them."""
import pathlib
import tempfile

import linux_guest
import xen_guests
from build_root import BuildRoot
from machine import Machine, libxl_receive_payload, vmferry_payload

STATE = xen_guests.STATE
LIBXL_RECEIVE = "vmferry-libxl-receive"


class XenHost:
    """Brings the host up, with the guests' files and vmferry in /testbed. `vmferry`: in a build folder that has the witness
    too. `libxl_receive`: vmferry-libxl-receive as well, built for its release."""

    def __init__(self, name, vmferry, say=lambda text: None, libxl_receive=False):
        self.machine = Machine(name)
        self.machine.image.build(say)
        kernel, initrd = linux_guest.build(self.machine.image)
        files = {"vmlinuz": kernel, "initrd": initrd,
                 "witness.bin": pathlib.Path(vmferry).parent / "tests/guests/witness/witness.bin",
                 "fetch.ipxe": xen_guests.IPXE / "fetch.ipxe", "answer": xen_guests.IPXE / "answer"}
        with tempfile.TemporaryDirectory(prefix="vmferry-payload-") as folder:
            folder = pathlib.Path(folder)
            (folder / "guests").mkdir()
            for target, source in files.items():
                (folder / "guests" / target).write_bytes(source.read_bytes())
            vmferry_payload(vmferry, folder / "vmferry")
            if libxl_receive:
                self._libxl_receive(vmferry, folder / "vmferry")
            self.machine.up(folder, say)

    def _libxl_receive(self, vmferry, folder):
        suite = self.machine.host.suite
        if f"VERSION_CODENAME={suite}\n" in pathlib.Path("/etc/os-release").read_text():
            libxl_receive_payload(pathlib.Path(vmferry).parent / LIBXL_RECEIVE, folder)
        else:
            root = BuildRoot(suite)
            libxl_receive_payload(root.build(LIBXL_RECEIVE), folder, root.folder)

    def run(self, command, timeout=300, stdin=b""):
        """See Machine.run."""
        return self.machine.run(command, stdin, timeout)

    def create(self, guest):
        self.run(f"cat > {STATE}/{guest.name}.cfg", stdin=guest.config().encode()).check()
        if guest.disk_mib:
            self.run(f"rm -f {guest.disk}; truncate -s {guest.disk_mib}M {guest.disk}").check()
        self.run(f"xl create {STATE}/{guest.name}.cfg").check()

    def save(self, guest):
        """Saves it and keeps its disk as it was at that moment; the guest is then not there."""
        self.run(f"xl save {guest.name} {guest.saved}").check()
        if guest.disk_mib:
            self.run(f"cp --sparse=always {guest.disk} {guest.disk}.saved").check()

    def restore(self, guest):
        if guest.disk_mib:
            self.run(f"cp --sparse=always {guest.disk}.saved {guest.disk}").check()
        self.run(f"xl restore {guest.saved}").check()

    def destroy(self, guest):
        self.run(f"xl destroy {guest.name}")

    def destroy_all(self):
        for name in self.domains():
            self.run(f"xl destroy {name}")

    def printed(self, guest):
        """What the guest has written to its serial port here since it was created or restored."""
        return self.run(f"cat {guest.log} 2>/dev/null").text

    def domains(self):
        """Name → state letters, of all but dom0."""
        lines = self.run("xl list").check().text.splitlines()[1:]
        rows = [line.split() for line in lines]
        return {row[0]: row[4] for row in rows if row[0] != "Domain-0"}

    def evidence(self, guest, folder):
        """Everything on this side that may explain a failure, as files in `folder`."""
        for command, name in ((f"cat {guest.log}", "guest-console"), ("xl list -v", "xl-list"), ("xl dmesg", "xl-dmesg"),
                              (f"cat {STATE}/*.xl", "xl-migrate"), ("dmesg | tail -200", "dom0-dmesg"),
                              ("tail -n 200 /var/log/xen/*", "xen-logs"), (f"cat {STATE}/{guest.name}.cfg", "xl.cfg")):
            try:
                (folder / f"xen-{name}").write_bytes(self.run(command, timeout=60).output)
            except (OSError, RuntimeError) as error:
                (folder / f"xen-{name}").write_text(f"{error}\n")
        (folder / "xen-host-console").write_text(self.machine.console_end(300))
