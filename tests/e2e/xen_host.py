"""A Xen host of the test bed and the guests on it, as the tests need them."""
import dataclasses
import pathlib
import tempfile
import time

import linux_guest
import ticks
from machine import Machine, vmferry_payload

GUESTS = "/testbed/guests"  # kernels and initrds
STATE = "/root"  # disks, logs, saved guests


@dataclasses.dataclass(frozen=True)
class XenGuest:
    """A guest under xl. `disk_mib` 0: no disk. `nic`: a model, or empty."""
    name: str = "g1"
    kernel: str = "vmlinuz"
    ramdisk: str = "initrd"
    command_line: str = linux_guest.COMMAND_LINE
    memory_mib: int = 96
    vcpus: int = 1
    vga: str = "cirrus"
    disk_mib: int = 16
    nic: str = "e1000"
    extra: str = ""  # further lines of the configuration

    @property
    def log(self):
        return f"{STATE}/{self.name}.log"

    @property
    def disk(self):
        return f"{STATE}/{self.name}.disk"

    @property
    def saved(self):
        return f"{STATE}/{self.name}.saved"

    def config(self):
        """The text of its xl.cfg."""
        lines = [f'name="{self.name}"', 'type="hvm"', f"memory={self.memory_mib}", f"vcpus={self.vcpus}",
                 f'kernel="{GUESTS}/{self.kernel}"', f'cmdline="{self.command_line}"', "xen_platform_pci=0", "hpet=0",
                 f'vga="{self.vga}"', f"videoram={16 if self.vga == 'stdvga' else 8}", "vnc=0", "sdl=0", "usb=0",
                 f'serial="file:{self.log}"', 'on_crash="preserve"']
        if self.ramdisk:
            lines.append(f'ramdisk="{GUESTS}/{self.ramdisk}"')
        if self.disk_mib:
            # Nothing here answers to hotplug scripts of phy.
            lines.append(f'disk=["format=raw,backendtype=qdisk,vdev=hda,access=rw,target={self.disk}"]')
        if self.nic:
            lines.append(f'vif=["type=ioemu,model={self.nic},mac=00:16:3e:11:22:33,bridge=xenbr0"]')
        return "\n".join([*lines, self.extra]) + "\n"


class XenHost:
    """Brings the host up, with the guests' files and vmferry in /testbed."""

    def __init__(self, name, vmferry, files=(), say=lambda text: None):
        self.machine = Machine(name)
        self.machine.image.build(say)
        kernel, initrd = linux_guest.build(self.machine.image)
        with tempfile.TemporaryDirectory(prefix="vmferry-payload-") as folder:
            folder = pathlib.Path(folder)
            (folder / "guests").mkdir()
            for source, target in ((kernel, "vmlinuz"), (initrd, "initrd"), *files):
                (folder / "guests" / target).write_bytes(pathlib.Path(source).read_bytes())
            vmferry_payload(vmferry, folder / "vmferry")
            self.machine.up(folder, say)

    def run(self, command, timeout=300):
        return self.machine.run(command, timeout=timeout)

    def create(self, guest):
        self.machine.run(f"cat > {STATE}/{guest.name}.cfg", stdin=guest.config().encode()).check()
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

    def domains(self):
        """Name → state letters, of all but dom0."""
        lines = self.run("xl list").check().text.splitlines()[1:]
        rows = [line.split() for line in lines]
        return {row[0]: row[4] for row in rows if row[0] != "Domain-0"}

    def last_tick(self, guest):
        """The last whole tick that it printed here, or None."""
        text = self.run(f"tail -c 2000 {guest.log} 2>/dev/null").text
        whole = text[:text.rfind("\n") + 1]
        matches = [ticks.TICK.search(line) for line in whole.splitlines()]
        found = [match for match in matches if match]
        return ticks.Tick(found[-1], time.monotonic()) if found else None

    def wait_tick(self, guest, number, timeout=600):
        """Waits for that tick and returns the last one."""
        deadline = time.monotonic() + timeout
        while True:
            tick = self.last_tick(guest)
            if tick and tick.number >= number:
                return tick
            if time.monotonic() > deadline:
                raise ticks.Failed(f"{guest.name} did not reach tick {number} within {timeout} s under Xen; the last was "
                                   f"{tick.number if tick else 'none'}")
            time.sleep(1)

    def goes_on(self, guest, more=2):
        """The guest ticks here: `more` further lines, with the same sum and its disk alive. Raises ticks.Failed."""
        before = self.last_tick(guest)
        after = self.wait_tick(guest, (before.number if before else 0) + more, timeout=180)
        if before and (after.sum, after.disk_hash) != (before.sum, before.disk_hash):
            raise ticks.Failed(f"under Xen, after tick {before.number}: sum {after.sum}, disk {after.disk_hash}; they were "
                               f"{before.sum}, {before.disk_hash}")
        return after

    def stands_still(self, guest, seconds=6):
        """No tick for some seconds. Raises ticks.Failed."""
        before = self.last_tick(guest)
        time.sleep(seconds)
        after = self.last_tick(guest)
        if (before and before.number) != (after and after.number):
            raise ticks.Failed(f"{guest.name} runs under Xen: tick {after.number} came")

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
