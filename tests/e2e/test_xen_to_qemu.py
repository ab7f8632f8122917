"""From a real Xen into a real QEMU, by a stock xl; after each scenario both ends are asked who runs.

One guest is booted and saved once; a scenario finds it running under Xen, as the last one left it or restored.
"""
import os
import signal
import unittest

import ticks
from crossing import MIGRATE_LOG, crossing
from xen_guests import TickingLinux
from replay import VMFERRY
from ssh_server import SshServer
from wire import Point
from xen_host import XenHost

# Deep in the first pass over the pages.
AMONG_PAGES = 20 << 20


class XenToQemu(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.guest = TickingLinux()
        cls.xen = XenHost("xen-4.17", VMFERRY)
        if os.environ.get("VMFERRY_KEEP_HOSTS"):
            # For whoever works on these tests: the host stays up, and its guest saved.
            if cls.xen.run(f"test -f {cls.guest.saved}").code == 0:
                return
        else:
            cls.addClassCleanup(cls.xen.machine.down)
        cls.xen.create(cls.guest)
        cls.guest.started(cls.xen)
        cls.xen.save(cls.guest)

    def setUp(self):
        # Anything but running or blocked is what a broken migration may leave.
        domains = self.xen.domains()
        if self.guest.name in domains and domains[self.guest.name].strip("-") in ("r", "b", ""):
            try:
                self.guest.goes_on(self.xen, 1, timeout=30)
                return
            except ticks.Failed:
                pass
        self.xen.destroy(self.guest)
        self.xen.restore(self.guest)
        self.guest.goes_on(self.xen, 1)

    def crossing(self):
        return crossing(self.id().split(".", 1)[1], self.xen, self.guest)

    def test_live(self):
        """`xl migrate -s ''` into `vmferry serve`."""
        with self.crossing() as c:
            c.arrive()
            c.migrate()
            c.crossed()
            c.runs_only_in_qemu()
            report = c.report()
            self.assertEqual((report["state"], report["error"]), ("reported", None))
            c.end()

    def test_live_over_ssh(self):
        """Plain `xl migrate GUEST HOST`: ssh finds vmferry under the name xl."""
        with self.crossing() as c:
            c.expect()
            programs = c.destination.folder / "bin"
            (programs / "link").mkdir(parents=True)
            (programs / "link/xl").symlink_to(VMFERRY)
            # What ssh carries is enciphered, so the recording is made here.
            script = programs / "xl"
            script.write_text(f'#!/bin/bash\nexec {programs}/link/xl "$@" < <(tee {c.folder}/up 2>/dev/null) '
                              f'> >(tee {c.folder}/down 2>/dev/null) 2>>{c.folder}/vmferry.log\n')
            script.chmod(0o755)
            keys = "rm -f /root/key* /root/host_key*; ssh-keygen -q -t ed25519 -N '' -f /root/host_key && " \
                   "ssh-keygen -q -t ed25519 -N '' -f /root/key && cat /root/key.pub"
            server = SshServer(self.xen.machine.image, self.xen.run(keys).check().text, c.folder,
                               {"PATH": f"{programs}:/usr/bin:/bin", "VMFERRY_CONFIG": c.destination.folder})
            c.closing.callback(server.close)
            server.start(self.xen.run("cat /root/host_key").check().text)
            self.xen.run("mkdir -p /root/.ssh; printf '%s\\n' 'Host destination' 'HostName 10.0.2.2' "
                         f"'Port {server.port}' 'IdentityFile /root/key' 'StrictHostKeyChecking no' > /root/.ssh/config").check()
            self.xen.machine.start(f"xl migrate {self.guest.name} destination", MIGRATE_LOG)
            c.crossed()
            c.runs_only_in_qemu()
            self.assertEqual([s["state"] for s in c.destination.sessions()], ["reported"])
            c.end()

    def test_dry_run(self):
        with self.crossing() as c:
            c.arrive("--dry-run")
            c.migrate()
            c.resumed()
            report = c.report()
            self.assertEqual((report["state"], report["error"], report["dry_run"]), ("loaded", None, True))
            c.destination_disappears(report["qemu_pid"])
            c.runs_only_in_xen()

    def test_refused_by_audit(self):
        """The destination has no disk for the guest."""
        with self.crossing() as c:
            c.arrive(disk=False)
            c.migrate()
            c.resumed()
            report = c.report()
            self.assertEqual(report["error"]["kind"], "refused")
            self.assertIn("hda", report["error"]["text"])
            c.runs_only_in_xen()

    def test_qemu_killed_before_ready(self):
        with self.crossing() as c:
            point = Point("up", c.kill_qemu, offset=AMONG_PAGES)
            c.arrive(points=[point])
            c.migrate()
            point.wait(300)
            c.resumed()
            self.assertEqual(c.report()["error"]["kind"], "environment")
            c.runs_only_in_xen()

    def test_xl_killed_midway(self):
        """xl and what works for it are gone; the domain knows nothing of it."""
        with self.crossing() as c:
            point = Point("up", c.kill_xl, offset=AMONG_PAGES)
            c.arrive(points=[point])
            c.migrate()
            point.wait(300)
            self.assertEqual(c.xl_ended()[0], 128 + signal.SIGKILL)
            report = c.report()
            self.assertEqual(report["error"]["kind"], "stream")
            c.destination_disappears(report["qemu_pid"])
            c.runs_only_in_xen()

    def test_proxy_killed_midway(self):
        with self.crossing() as c:
            point = Point("up", c.kill_vmferry, offset=AMONG_PAGES)
            c.arrive(points=[point])
            c.migrate()
            point.wait(300)
            c.resumed()
            c.runs_only_in_xen()


if __name__ == "__main__":
    unittest.main()
