"""One crossing into a Xen host: a guest under QEMU, `vmferry serve` beside it, a stock `xl migrate-receive`, the wire on this
machine between, and looks at both ends.

    with crossing_to_xen(name, xen, guest, source) as c:
        c.serve(...)              or c.serve_in_dom0(...)
        c.migrate()
        c.crossed()               or c.report(), where it did not
        c.runs_only_in_xen()      or c.runs_only_in_qemu()

`c.replay(file)` in the place of the three in the middle: with a recording of that guest.
"""
import contextlib
import json
import pathlib
import re
import shlex
import subprocess
import time

import evidence
import ticks
from host_file import HostFile
from machine import free_port
from remote_server import RemoteServer
from replay import VMFERRY, wait_for
from wire import Wire
from xen_host import STATE

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECEIVE_LOG = f"{STATE}/receive.xl"
SETTINGS = ("tsc_mode=native",)  # what a nested Xen host needs, see docs/testbed.md
# The MAC that QEMU's user network gives its gateway 192.168.77.1: on one network segment it would not change either.
GATEWAY_MAC = "52:55:c0:a8:4d:01"
# Xen's own library ends the domain in the way that a guest's firmware would. Reasons: xen/sched.h.
SHUT_DOWN = ("python3 -c 'import ctypes, glob; xc = ctypes.CDLL(glob.glob(\"/usr/lib/x86_64-linux-gnu/libxenctrl.so.4*\")[0]); "
             "xc.xc_interface_open.restype = ctypes.c_void_p; "
             "exit(xc.xc_domain_shutdown(ctypes.c_void_p(xc.xc_interface_open(None, None, 0)), {domain}, {reason}) != 0)'")
POWEROFF, REBOOT = 0, 1


@contextlib.contextmanager
def crossing_to_xen(name, xen, guest, source):
    """`guest`: a qemu_source.Guest that runs at `source`, a qemu_source.Running."""
    one = None

    def collect(folder):
        one.xen_evidence(folder)
        source.evidence(folder / "source")

    with evidence.collected(name, collect) as folder:
        with contextlib.ExitStack() as closing:
            one = CrossingToXen(xen, guest, source, folder, closing)
            source.started()
            yield one


class CrossingToXen:
    def __init__(self, xen, guest, source, folder, closing):
        self.xen, self.guest, self.source, self.folder, self.closing = xen, guest, source, folder, closing
        self.server = self.wire = None
        self.log, self.disk = f"{STATE}/{guest.name}.log", f"{STATE}/{guest.name}.disk"

    def serve(self, *options, mapped=True, **how):
        """`vmferry serve` towards a stock xl in the host; `how`: see towards_xen()."""
        arguments = self.towards_xen(mapped, **how)
        self.server = self.closing.enter_context(contextlib.closing(self.source.serve(self.folder, *arguments, *options)))

    def replay(self, file, *options, **how):
        """`vmferry replay` of what this source has recorded. The document that it prints."""
        words = [VMFERRY, "replay", file, "--to", "xl", *self.towards_xen(**how), "--state-dir", self.folder / "state", "--json",
                 *options]
        with open(self.folder / "replay.log", "ab") as log:
            done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=log, timeout=300)
        (self.folder / "replay.json").write_bytes(done.stdout)
        return json.loads(done.stdout)

    def serve_in_dom0(self, receive, *more):
        """`vmferry serve` in the Xen host itself, with `receive` as a command of its own there. The source's QMP socket is led
        into the host."""
        self.make_ready()
        folder, port = f"{STATE}/serve", free_port()
        relay = subprocess.Popen(["socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork",
                                  f"UNIX-CONNECT:{self.source.source_qmp}"])
        self.closing.callback(relay.wait)
        self.closing.callback(relay.kill)
        self.xen.run(f"rm -rf {folder}; mkdir {folder}").check()
        self.xen.machine.put(self.shipped_template(), f"{folder}/template")
        self.xen.machine.start(f"socat UNIX-LISTEN:{folder}/qmp,fork TCP:10.0.2.2:{port}", f"{folder}/relay")
        options = ["--qemu-listen", "tcp:0.0.0.0:4445", "--state-dir", f"{folder}/state", "--xl-command", receive,
                   "--source-qmp", f"{folder}/qmp", "--xen-template", f"{folder}/template", *self.of_domain(), *more]
        server = RemoteServer(self.xen.machine, folder, options, self.xen.machine.service_port())
        self.server = self.closing.enter_context(contextlib.closing(server))

    def make_ready(self):
        """The host has nothing of an earlier crossing. The guest may be stopped between writing its disk and reading it back, and
        finds there what it has written each second."""
        self.xen.run(f"pkill -f '^socat -t 300 TCP-LISTEN:4445'; rm -f {self.log}; ip link set xenbr0 address {GATEWAY_MAC}")
        self.xen.run(f"cat > {self.disk}; truncate -s 16M {self.disk}", stdin=self.source.disk_blocks()).check()

    def shipped_template(self):
        return ROOT / f"captures/templates/xen-{self.xen.machine.host.name.removeprefix('xen-')}.zst"

    def of_domain(self, mapped=True):
        """Options for what the guest finds in the host."""
        arguments = ["--serial", f"file:{self.log}"]
        for setting in SETTINGS:
            arguments += ["--set", setting]
        if mapped and self.guest.disk:
            arguments += ["--disk", f"{'hda' if self.guest.disk == 'ide-hd' else 'vda'}={self.disk},format=raw"]
        if mapped and self.guest.nic:
            arguments += ["--nic", "0=xenbr0"]
        return arguments

    def own_config(self, text):
        """What the host's xl makes of it."""
        file = self.folder / "own.json"
        said = self.xen.run(f"cat > {STATE}/own.cfg; xl create -n {STATE}/own.cfg", stdin=text.encode()).check().text
        file.write_text(said[said.index("{"):])
        return ["--domain-config", self.source.brought(file)]

    def towards_xen(self, mapped=True, points=(), receive="xl migrate-receive", template=None, config=None):
        """A stock xl waits in the host; the options that lead there. `points`: on the wire between the two. `template`: of
        that host; else the one that is shipped for its release. `config`: an xl.cfg's text, instead of a derived
        configuration."""
        self.make_ready()
        # Longer than socat's own half a second: xl answers after the end of its input, and may take its time.
        self.xen.machine.start(f"socat -t 300 TCP-LISTEN:4445,reuseaddr,fork EXEC:{shlex.quote(receive)}", RECEIVE_LOG)
        self.xen.run("until ss -ltn | grep -q :4445; do sleep 0.1; done").check()
        self.wire = self.closing.enter_context(contextlib.closing(Wire(self.xen.machine.service_port(), self.folder, points)))
        domain = self.own_config(config) if config else self.of_domain(mapped)
        return ["--xl-command", f"tcp:{self.source.this_machine}:{self.wire.port}", "--source-qmp", self.source.source_qmp,
                "--xen-template", self.source.brought(template or self.shipped_template()), *domain]

    def migrate(self, return_path=True):
        self.source.migrate(self.server.port, return_path)

    def report(self, timeout=300):
        """How vmferry's session ended."""
        wait_for(self.server.ends, timeout, "the session's report")
        return self.server.ends()[-1]

    def crossed(self):
        """The session ended well, and the source says so too. Its report."""
        report = self.report()
        if report["error"] or report["state"] != "reported":
            raise ticks.Failed(f"vmferry: {report['state']}, {report['error'] and report['error']['text']}")
        if (status := self.source.migration_status()) != "completed":
            raise ticks.Failed(f"the source's migration is {status}")
        return report

    def printed(self):
        return self.xen.run(f"cat {self.log} 2>/dev/null").text.replace("\r", "")

    def ticks_in_xen(self):
        return [ticks.Tick(match, time.monotonic()) for line in self.printed().splitlines() if (match := ticks.TICK.search(line))]

    def last_tick_in_xen(self):
        return self.ticks_in_xen()[-1]

    # -- who runs

    def runs_only_in_xen(self, count=8, seconds=0, timeout=60, excuses=()):
        """The source is stopped for good, or gone, and the guest's next words come from Xen: at least `count` ticks, and
        `seconds`. `excuses`: see ticks.Judge. Returns what it showed, in words."""
        last = self.source.last_tick()
        if last.clock == "acpi_pm" and not self.guest.xen_firmware:
            excuses = (*excuses, *ticks.PM_TIMER)
        judge = ticks.Judge.after_tick(last, self.guest.vcpus, bool(self.guest.disk), bool(self.guest.nic), excuses)
        with contextlib.closing(HostFile(self.xen, self.log, self.folder / "xen-console")) as copy:
            console = ticks.Console(copy.path, judge)
            try:
                words = console.watch(count, timeout, seconds)
            finally:
                console.close()
        if (self.source.alive() and not self.source.is_paused()) or self.source.last_tick().number != last.number:
            raise ticks.Failed("the guest has run at the source again")
        if list(self.xen.domains()) != [self.guest.name]:
            raise ticks.Failed(f"domains under Xen: {self.xen.domains()}, where {self.guest.name} should be alone")
        if complaint := self.complaints():
            raise ticks.Failed(f"Xen complains: {complaint}")
        return words

    def domain(self):
        """The number of the guest's domain, or None."""
        found = self.xen.run(f"xl domid {self.guest.name}")
        return int(found.text) if found.code == 0 else None

    def shut_down(self, reason):
        self.xen.run(SHUT_DOWN.format(domain=self.domain(), reason=reason)).check()

    def complaints(self):
        """What Xen says of a guest that does what no processor lets it do."""
        text = self.xen.run("xl dmesg").text
        return re.findall(r"^.*(?:Unexpected|domain_crash|Insn mismatch|Bad register).*$", text, re.MULTILINE)[:3]

    def runs_only_in_qemu(self):
        """The guest goes on at the source, and Xen has nothing of it."""
        self.source.goes_on()
        wait_for(lambda: not self.xen.domains(), 120, "the end of the domain under Xen")
        if printed := self.printed():
            raise ticks.Failed(f"the guest has run under Xen: {printed[:200]!r}")

    def destroy(self):
        for name in self.xen.domains():
            self.xen.run(f"xl destroy {name}")

    def xen_evidence(self, folder):
        if self.server:
            (folder / "serve.json").write_text("\n".join(map(str, self.server.lines)))
        for command, name in ((f"cat {self.log}", "guest-console"), ("xl list -v", "xl-list"), ("xl dmesg", "xl-dmesg"),
                              (f"cat {RECEIVE_LOG}", "xl-receive"), (f"cat {STATE}/serve/serve.log", "serve-log"),
                              ("tail -n 200 /var/log/xen/*", "xen-logs")):
            try:
                (folder / f"xen-{name}").write_bytes(self.xen.run(command, timeout=60).output)
            except (OSError, RuntimeError) as error:
                (folder / f"xen-{name}").write_text(f"{error}\n")
