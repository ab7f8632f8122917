"""The same as cuts.py on the way to Xen: something is gone from one message of the handover on, and both ends are asked who runs.
matrix.py runs the table; docs/handover.md says what has to come of it.

    source ──► vmferry ──up──► Wire ──up──► socat · xl
                       ◄─down──     ◄─down─

What the wire has not passed on when something is gone is gone as well.
"""
import dataclasses
import time

import ticks
import xl
from cuts import IN_DOUBT, PAGES, Moment, check_states, domain_is
from replay import wait_for

LEFT = "--incoming"


@dataclasses.dataclass(frozen=True)
class CutToXen(Moment):
    states: tuple  # one of these is the session's then; empty: no session is left
    runs: str  # "xen", "qemu" or "nobody"
    domain: str | None  # what its name under Xen got appended; None: there is none
    resolve: str = ""  # what the operator has to decide

    def run(self, c):
        """Cuts the crossing and looks. What came of it, in words; raises when it is not what is written here."""
        point = self.point(lambda: self.act(c))
        c.serve(points=[point])
        c.migrate()
        point.wait(300)
        if self.gone != "vmferry":
            c.report()
        check_states(c.server.sessions(), self.states)
        domain_is(c, self.domain)
        words = self.seen_to_run(c, self.runs)
        return f"{words}; {self.decide(c)}" if self.resolve else words

    def act(self, c):
        if self.gone == "vmferry":
            c.server.process.kill()
            c.server.process.wait()
        elif self.gone == "xl":
            c.xen.run("pkill -9 -x xl; pkill -9 -f libxl-save-helper")
        elif self.gone == "QEMU":
            c.source.process.kill()
            c.source.process.wait()
            return
        c.wire.cut()

    def decide(self, c):
        """The operator's decision, as the report of such a session says it, and what comes of that."""
        session, = c.server.sessions()
        if self.resolve == "run":
            c.destroy()
        if (done := c.server.resolve(session["session"], self.resolve)).returncode != 0:
            raise ticks.Failed(f"resolve {self.resolve}: {done.stderr}")
        words = self.seen_to_run(c, {"run": "qemu", "destroy": "xen"}[self.resolve])
        if self.resolve == "destroy":
            wait_for(lambda: not c.source.alive(), 30, "the end of the source's QEMU")
        return f"`resolve {self.resolve}`: {words}"

    def seen_to_run(self, c, where):
        """It runs just there. In words."""
        if where == "xen":
            return "goes on under Xen, " + c.runs_only_in_xen()
        if printed := c.printed():
            raise ticks.Failed(f"the guest has run under Xen: {printed[:200]!r}")
        if where == "qemu":
            c.source.goes_on()
            if printed := c.printed():
                raise ticks.Failed(f"the guest has run under Xen: {printed[:200]!r}")
            return "goes on in QEMU"
        before = c.source.last_tick().number
        time.sleep(5)  # as many ticks
        if (last := c.source.last_tick().number) != before or c.printed():
            raise ticks.Failed(f"tick {last} came after {before}, or under Xen, where the guest should stand still")
        return "runs nowhere"


CUTS_TO_XEN = (
    CutToXen("connection", "before the banner", "down", xl.BANNER, (), "qemu", None),
    CutToXen("connection", "among the pages", "up", PAGES, (), "qemu", None),
    CutToXen("connection", "before \"ready\"", "down", xl.READY, (), "qemu", None),
    CutToXen("connection", "before the permission", "up", xl.GO, IN_DOUBT, "nobody", None, "run"),
    CutToXen("connection", "half-way through the permission", "up", xl.GO[20:], IN_DOUBT, "nobody", None, "run"),
    CutToXen("connection", "before the report", "down", xl.REPORT, IN_DOUBT, "xen", "", "destroy"),
    CutToXen("vmferry", "before \"ready\" arrives", "down", xl.READY, (), "qemu", None),
    CutToXen("vmferry", "before the permission", "up", xl.GO, IN_DOUBT, "nobody", None, "run"),
    CutToXen("vmferry", "after the permission", "down", xl.REPORT, IN_DOUBT, "xen", "", "destroy"),
    CutToXen("xl", "before \"ready\"", "down", xl.READY, (), "qemu", LEFT),
    CutToXen("xl", "before the permission", "up", xl.GO, IN_DOUBT, "nobody", LEFT, "run"),
    CutToXen("QEMU", "before \"ready\" arrives", "down", xl.READY, (), "xen", ""),
    CutToXen("QEMU", "among the pages", "up", PAGES, (), "nobody", None),
)
