"""One crossing from a Xen host: a destination, `vmferry serve` there, the wire between, and looks at both ends.

    with crossing(name, xen, guest) as c:
        c.arrive(...)             the destination expects the guest
        c.migrate()               `xl migrate` in the background
        c.xl_ended()              its exit code and words
        c.runs_only_in_qemu()     or c.runs_only_in_xen()
"""
import contextlib
import os
import signal
import time

import evidence
import ticks
from local_destination import LocalDestination
from replay import wait_for
from wire import Wire
from xen_host import STATE

MIGRATE_LOG = f"{STATE}/migrate.xl"
MIGRATE_SECONDS = 300


@contextlib.contextmanager
def crossing(name, xen, guest, destination=LocalDestination):
    """When what is done within fails, a folder with everything that may explain it stays, see evidence.py."""
    one = None

    def collect(folder):
        xen.evidence(guest, folder)
        one.destination_evidence()

    with evidence.collected(name, collect) as folder:
        one = Crossing(xen, guest, folder, destination)
        with one.closing:
            yield one


class Crossing:
    def __init__(self, xen, guest, folder, destination):
        self.xen, self.guest, self.folder, self.kind = xen, guest, folder, destination
        self.closing = contextlib.ExitStack()
        self.destination = self.server = self.wire = None

    def expect(self, allow=(), disk=True):
        """A destination that expects the guest. `disk`: it has one for it; fresh, as the guest reads only what it wrote."""
        self.destination = self.kind(disk and self.guest.disk_mib > 0, self.guest.netdev, allow)
        # The evidence is copied before that is closed, even when the crossing fails: see destination_evidence.
        self.closing.callback(self.destination.close)
        self.closing.push(lambda kind, *_: self.destination_evidence() if kind else None)
        self.destination.expect(self.guest.name)
        if disk and self.guest.disk_mib:
            self.destination.make_disk(self.guest.name, self.guest.disk_mib << 20)

    def arrive(self, *options, allow=(), disk=True, points=()):
        """expect(), and `vmferry serve` with these options at the end of a wire that has these points."""
        self.expect(allow, disk)
        self.server = self.closing.enter_context(contextlib.closing(self.destination.serve(*options)))
        self.wire = self.closing.enter_context(contextlib.closing(Wire(self.server.port, self.folder, points)))

    def destination_evidence(self):
        if self.destination and not (self.folder / "destination").exists():
            self.destination.evidence(self.folder / "destination")
        if self.server:
            (self.folder / "serve.json").write_text("\n".join(map(str, self.server.lines)))

    def migrate(self):
        """`xl migrate` in the background, through the wire."""
        # Longer than socat's own half a second: the answer to the last message may take its time.
        self.xen.machine.start(f"xl migrate -s '' {self.guest.name} 'socat -t 60 - TCP:10.0.2.2:{self.wire.port}'", MIGRATE_LOG)

    def kill_xl(self):
        """And what works for it; the domain is left as it is."""
        self.xen.run("pkill -9 -x xl; pkill -9 -f libxl-save-helper; pkill -9 -f '^socat -t'")

    def kill_vmferry(self):
        """On this machine only."""
        self.server.process.kill()
        self.server.process.wait()

    def kill_qemu(self):
        """On this machine only. vmferry has noticed afterwards, and waited for its child: it asks QEMU nothing more that would
        stay without an answer."""
        session = wait_for(lambda: [s for s in self.destination.sessions() if s["qemu_alive"]], 60, "QEMU")[0]
        os.kill(session["qemu_pid"], signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{session['qemu_pid']}"), 30, "vmferry to notice QEMU's end")

    def xl_ended(self, timeout=MIGRATE_SECONDS):
        """(exit code, what xl said) when it has ended."""
        deadline = time.monotonic() + timeout
        while (result := self.xen.run(f"cat {MIGRATE_LOG}.code")).code != 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"xl has not ended within {timeout} s; it said: {self.xl_words()}")
            time.sleep(1)
        return int(result.text), self.xl_words()

    def xl_words(self):
        return self.xen.run(f"cat {MIGRATE_LOG}").text

    def report(self):
        """How vmferry's session ended."""
        wait_for(self.server.ends, 60, "the session's report")
        return self.server.ends()[-1]

    # -- what xl says

    def crossed(self):
        code, words = self.xl_ended()
        if code != 0 or "Migration successful" not in words:
            refusal = self.server.ends()[-1]["error"] if self.server and self.server.ends() else None
            raise ticks.Failed(f"xl migrate ended with {code}: {words}\nvmferry: {refusal and refusal['text']}")

    def resumed(self):
        """xl says that it keeps the guest."""
        code, words = self.xl_ended()
        if code == 0 or "resuming at sender" not in words:
            raise ticks.Failed(f"xl migrate ended with {code}, where it should have resumed its guest: {words}")

    # -- who runs

    def runs_only_in_xen(self):
        self.not_in_qemu()
        self.guest.goes_on(self.xen)
        domains = list(self.xen.domains())
        if domains != [self.guest.name]:
            raise ticks.Failed(f"domains under Xen: {domains}, where {self.guest.name} should be alone")
        self.not_in_qemu()

    def not_in_qemu(self):
        """No QEMU of any session has run the guest, nor does one."""
        for session in self.destination.sessions():
            if session["qemu_alive"] and (status := self.destination.status(session)) != "inmigrate":
                raise ticks.Failed(f"the guest is {status} in QEMU")
        if printed := self.destination.printed(self.guest.name):
            raise ticks.Failed(f"the guest has run in QEMU: {printed[:200]!r}")

    def runs_only_in_qemu(self, count=8):
        """The domain is gone, and the guest's next words come from QEMU. Returns what it showed, in words."""
        words = self.guest.follow(self.xen, self.destination, count)
        wait_for(lambda: self.xen.domains() == {}, 120, "the end of the domain under Xen")
        session, = self.destination.sessions()
        if (status := self.destination.status(session)) != "running":
            raise ticks.Failed(f"the guest is {status} in QEMU")
        return words

    def end(self):
        """Ends the guest that runs in QEMU."""
        session, = self.destination.sessions()
        self.destination.end(session)

    def destination_disappears(self, pid):
        wait_for(lambda: self.destination.gone(pid), 30, f"the end of process {pid}")
