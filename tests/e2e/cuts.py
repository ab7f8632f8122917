"""What happens when something is gone from one message of the handover on: a crossing of the ticking guest is cut there, and
both ends are asked who runs. matrix.py runs the table; docs/handover.md says what has to come of it.
"""
import dataclasses
import time

import ticks
import xl
from replay import wait_for
from wire import Point

IN_DOUBT = ("in doubt",)
# vmferry writes the last state down when the report is on its way.
RUNNING = ("running", "reported")
AWAY = "--migratedaway"


@dataclasses.dataclass(frozen=True)
class Moment:
    """What is gone, and from where on."""
    gone: str  # "connection", "vmferry", "xl" or "QEMU"
    when: str  # in words
    direction: str
    at: object  # bytes: before this text is passed on; a number: before this byte is

    @property
    def words(self):
        return f"{self.gone} gone {self.when}"

    def point(self, action):
        """On the wire."""
        return Point(self.direction, action, **{"text" if isinstance(self.at, bytes) else "offset": self.at})


@dataclasses.dataclass(frozen=True)
class Cut(Moment):
    says: str  # what xl says last; empty: nothing, it is gone
    states: tuple  # one of these is the session's then; empty: no session is left
    runs: str  # "xen", "qemu" or "nobody"
    domain: str | None  # what its name under Xen got appended; None: it is gone
    resolve: str = ""  # what the operator has to decide

    def run(self, c):
        """Cuts the crossing and looks. What came of it, in words; raises when it is not what is written here."""
        gone = {"connection": lambda: c.wire.cut(), "vmferry": c.kill_vmferry, "QEMU": c.kill_qemu, "xl": c.kill_xl}[self.gone]
        point = self.point(gone)
        c.arrive(points=[point])
        c.migrate()
        point.wait(300)
        code, said = c.xl_ended()
        if self.says not in said or (code == 0) != (self.says == DONE):
            raise ticks.Failed(f"xl ended with {code} and said {said!r}")
        if self.gone != "vmferry":
            c.report()
        check_states(c.destination.sessions(), self.states)
        domain_is(c, self.domain)
        before = c.guest.last_tick(c.xen).number
        words = seen_to_run(c, self.runs, before)
        return f"{words}; {self.decide(c, before)}" if self.resolve else words

    def decide(self, c, before):
        """The operator's decision, and what comes of that."""
        session, = c.destination.sessions()
        if (done := c.destination.resolve(session["session"], self.resolve)).returncode != 0:
            raise ticks.Failed(f"resolve {self.resolve}: {done.stderr}")
        words = seen_to_run(c, {"run": "qemu", "destroy": "xen"}[self.resolve], before)
        if self.resolve == "destroy":
            c.destination_disappears(session["qemu_pid"])
        return f"`resolve {self.resolve}`: {words}"


PAGES = 20 << 20  # deep in the first pass
# xl's words: it never stopped the guest; it resumes it; it is told to; it does not know; it has let go.
KEEPS, RESUMES, GIVEN_BACK = "reading banner", "Migration failed, resuming at sender", "Resumed OK"
BADLY, DONE = "Migration failed during final handshake", "Migration successful"

CUTS = (
    Cut("connection", "before the banner", "down", xl.BANNER, KEEPS, (), "xen", ""),
    Cut("connection", "among the pages", "up", PAGES, RESUMES, (), "xen", ""),
    Cut("connection", "before \"ready\"", "down", xl.READY, RESUMES, IN_DOUBT, "xen", "", "destroy"),
    Cut("connection", "before the permission", "up", xl.GO, BADLY, IN_DOUBT, "nobody", AWAY, "run"),
    Cut("connection", "half-way through the permission", "up", xl.GO[20:], BADLY, IN_DOUBT, "nobody", AWAY, "run"),
    Cut("connection", "before the report", "down", xl.REPORT, BADLY, RUNNING, "qemu", AWAY),
    Cut("vmferry", "before \"ready\" arrives", "down", xl.READY, BADLY, IN_DOUBT, "nobody", AWAY, "run"),
    Cut("vmferry", "before the permission", "up", xl.GO, BADLY, IN_DOUBT, "nobody", AWAY, "run"),
    Cut("vmferry", "after the permission", "down", xl.REPORT, DONE, RUNNING, "qemu", None),
    Cut("QEMU", "before \"ready\" arrives", "down", xl.READY, GIVEN_BACK, (), "xen", ""),
    Cut("QEMU", "before the permission", "up", xl.GO, GIVEN_BACK, (), "xen", ""),
    Cut("xl", "before \"ready\" arrives", "down", xl.READY, "", IN_DOUBT, "nobody", "", "run"),
    Cut("xl", "after the permission", "up", xl.GO, "", RUNNING, "qemu", AWAY),
)


def check_states(sessions, wanted):
    """There is one session, in one of these states; none if there are none."""
    states = [session["state"] for session in sessions]
    if len(states) != bool(wanted) or not set(states) <= set(wanted):
        raise ticks.Failed(f"sessions are {states}, where one of {wanted} was expected")


def domain_is(c, suffix):
    """Just this domain is left under Xen; one that has lost its name stands still."""
    wanted = [] if suffix is None else [c.guest.name + suffix]
    wait_for(lambda: list(c.xen.domains()) == wanted, 60, f"{wanted} under Xen, where {c.xen.domains()} are")


def seen_to_run(c, where, before):
    """It runs just there; `before` is the last tick under Xen. In words."""
    if where == "xen":
        stands_in_qemu(c)
        c.guest.goes_on(c.xen)
        stands_in_qemu(c)
        return "goes on under Xen"
    words = "runs nowhere"
    if where == "qemu":
        words = "goes on in QEMU, " + c.guest.follow(c.xen, c.destination, 8)
    else:
        stands_in_qemu(c)
        time.sleep(5)  # as many ticks
        stands_in_qemu(c)
    if (last := c.guest.last_tick(c.xen).number) != before:
        raise ticks.Failed(f"tick {last} came under Xen, after {before}, where the guest should stand still")
    return words


def stands_in_qemu(c):
    """Where there is a QEMU at all."""
    for session in c.destination.sessions():
        if session["qemu_alive"] and (status := c.destination.status(session)) not in ("inmigrate", "paused"):
            raise ticks.Failed(f"the guest is {status} in QEMU")
    if printed := c.destination.printed(c.guest.name):
        raise ticks.Failed(f"the guest has run in QEMU: {printed[:200]!r}")
