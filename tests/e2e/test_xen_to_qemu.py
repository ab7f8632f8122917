"""From a real Xen into a real QEMU, by a stock xl; after each scenario both ends are asked who runs."""
import os
import signal
import unittest

from crossing import MIGRATE_LOG, NETDEV, FromXen
from replay import VMFERRY, wait_for
from serving import Destination
from ssh_server import SshServer
from wire import Point


# Deep in the first pass over the pages of any guest here.
AMONG_PAGES = 20 << 20


class XenToQemu(FromXen):
    def crossed(self, code, words):
        self.assertIn("Migration successful", words)
        self.assertEqual(code, 0)

    def resumed(self, code, words):
        """xl says that it has kept the guest."""
        self.assertNotEqual(code, 0, words)
        self.assertIn("resuming at sender", words)

    def test_live(self):
        """`xl migrate -s ''` into `vmferry serve`."""
        with self.recorded() as folder:
            self.arrive(folder=folder)
            self.migrate()
            self.crossed(*self.xl_ended())
            self.runs_only_in_qemu()
            report = self.report()
            self.assertEqual((report["state"], report["error"]), ("reported", None))
            session, = self.destination.sessions()
            self.assertEqual(self.status(session), "running")
            self.destination.end(session)

    def test_live_over_ssh(self):
        """Plain `xl migrate GUEST HOST`: ssh finds vmferry under the name xl."""
        with self.recorded() as folder:
            self.destination = Destination(True, NETDEV)
            self.addCleanup(self.destination.close)
            self.destination.expect(self.guest.name)
            with open(self.destination.disk(self.guest.name), "wb") as image:
                image.truncate(self.guest.disk_mib << 20)
            programs = self.destination.folder / "bin"
            programs.mkdir()
            # What ssh carries is enciphered, so the recording is made here; xl's own command runs between.
            (programs / "link").mkdir()
            (programs / "link/xl").symlink_to(VMFERRY)
            (programs / "xl").write_text(f'#!/bin/bash\ntee {folder}/up | {programs}/link/xl "$@" 2>>{folder}/vmferry.log '
                                         f'| tee {folder}/down\n')
            (programs / "xl").chmod(0o755)
            keys = "rm -f /root/key /root/key.pub /root/host_key*; ssh-keygen -q -t ed25519 -N '' -f /root/host_key && " \
                   "ssh-keygen -q -t ed25519 -N '' -f /root/key && cat /root/key.pub"
            client_key = self.xen.run(keys).check().text
            server = SshServer(self.xen.machine.image, client_key, folder,
                               {"PATH": f"{programs}:/usr/bin:/bin", "VMFERRY_CONFIG": self.destination.folder})
            self.addCleanup(server.close)
            server.start(self.xen.run("cat /root/host_key").check().text)
            self.xen.run("mkdir -p /root/.ssh; printf '%s\\n' 'Host destination' 'HostName 10.0.2.2' "
                         f"'Port {server.port}' 'IdentityFile /root/key' 'StrictHostKeyChecking no' > /root/.ssh/config").check()
            self.xen.machine.start(f"xl migrate {self.guest.name} destination", MIGRATE_LOG)
            self.crossed(*self.xl_ended())
            self.runs_only_in_qemu()
            session, = self.destination.sessions()
            self.assertEqual((session["state"], self.status(session)), ("reported", "running"))
            self.destination.end(session)

    def test_dry_run(self):
        with self.recorded() as folder:
            self.arrive("--dry-run", folder=folder)
            self.migrate()
            self.resumed(*self.xl_ended())
            report = self.report()
            self.assertEqual((report["state"], report["error"], report["dry_run"]), ("loaded", None, True))
            self.ended(report["qemu_pid"])
            self.runs_only_in_xen()

    def test_refused_by_audit(self):
        """The destination has no disk for the guest."""
        with self.recorded() as folder:
            self.arrive(folder=folder, disk=False)
            self.migrate()
            self.resumed(*self.xl_ended())
            report = self.report()
            self.assertEqual(report["error"]["kind"], "refused")
            self.assertIn("hda", report["error"]["text"])
            self.runs_only_in_xen()

    def test_qemu_killed_before_ready(self):
        with self.recorded() as folder:
            def kill():
                session = wait_for(lambda: [s for s in self.destination.sessions() if s["qemu_alive"]], 60, "QEMU")[0]
                os.kill(session["qemu_pid"], signal.SIGKILL)
            point = Point("up", kill, offset=AMONG_PAGES)
            self.arrive(folder=folder, points=[point])
            self.migrate()
            point.wait(300)
            self.resumed(*self.xl_ended())
            self.assertEqual(self.report()["error"]["kind"], "environment")
            self.runs_only_in_xen()

    def test_xl_killed_midway(self):
        """xl and what works for it are gone; the domain knows nothing of it."""
        with self.recorded() as folder:
            point = Point("up", lambda: self.xen.run("pkill -9 -x xl; pkill -9 -f libxl-save-helper; pkill -9 -f '^socat -t 60'"),
                          offset=AMONG_PAGES)
            self.arrive(folder=folder, points=[point])
            self.migrate()
            point.wait(300)
            self.assertEqual(self.xl_ended()[0], 128 + signal.SIGKILL)
            report = self.report()
            self.assertEqual(report["error"]["kind"], "stream")
            self.ended(report["qemu_pid"])
            self.runs_only_in_xen()

    def test_proxy_killed_midway(self):
        with self.recorded() as folder:
            point = Point("up", lambda: self.server.process.kill(), offset=AMONG_PAGES)
            self.arrive(folder=folder, points=[point])
            self.migrate()
            point.wait(300)
            self.resumed(*self.xl_ended())
            self.runs_only_in_xen()



if __name__ == "__main__":
    unittest.main()
