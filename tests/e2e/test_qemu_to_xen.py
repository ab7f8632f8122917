"""From a real QEMU into a real Xen, whose own `xl migrate-receive` takes the guest; after each scenario both ends are asked
who runs.
"""
import json
import unittest

from crossing_to_xen import REBOOT, crossing_to_xen
from one_qemu_guest import AMONG_PAGES, RECEIVE_BY_LIBXL, OneQemuGuest
from replay import wait_for
from wire import Point
from xen_host import STATE


class QemuToXen(OneQemuGuest):
    def test_live(self):
        with self.crossing() as c:
            c.serve()
            c.migrate()
            c.crossed()
            c.runs_only_in_xen()
            # A reset makes the domain anew.
            before = c.domain()
            c.shut_down(REBOOT)
            wait_for(lambda: c.domain() not in (None, before), 120, "the domain made anew")
            c.destroy()

    def test_replay(self):
        """From a file, later: first only to see whether it would go, then to run. Who must not run meanwhile is the QEMU that
        wrote it."""
        with self.crossing() as c:
            file = c.folder / "recorded"
            self.source.record(file)
            report = c.replay(file, "--dry-run")
            self.assertEqual((report["state"], report["error"]), ("loaded", None))
            wait_for(lambda: not self.xen.domains(), 120, "the end of the domain under Xen")
            self.source.qmp("cont")
            self.assertEqual(c.replay(file)["error"]["kind"], "refused")
            self.assertEqual(list(self.xen.domains()), [])
            self.source.record(file)
            report = c.replay(file)
            self.assertEqual((report["state"], report["error"], report["source"]), ("reported", None, "let go"))
            c.runs_only_in_xen()
            c.destroy()

    def test_round_trip(self):
        """QEMU → Xen → QEMU → Xen: the same memory throughout."""
        with self.crossing() as c:
            c.serve()
            c.migrate()
            c.crossed()
            c.runs_only_in_xen(3)
            moved = self.to_qemu(self.guest.name, c.last_tick_in_xen, c.closing)
            # From Xen it comes with whole MiB; running, it is then refused: tcg-missed-writes.
            moved.qmp("stop")
            with crossing_to_xen(f"{c.folder.name}.again", self.xen, self.guest, moved) as again:
                again.serve()
                again.migrate()
                again.crossed()
                again.runs_only_in_xen()
                again.destroy()

    def test_live_by_libxl(self):
        """vmferry's own helper in xl's place. What it leaves is a domain like xl's own: xl saves and restores it, and its
        watch acts when it is shut down."""
        with self.crossing() as c:
            c.serve(receive=RECEIVE_BY_LIBXL)
            c.migrate()
            c.crossed()
            c.runs_only_in_xen()
            self.assertTrue(self.watches())
            name, saved = self.guest.name, f"{STATE}/{self.guest.name}.saved"
            config = json.loads(self.xen.run(f"xl list -l {name}").check().text)[0]["config"]
            self.assertEqual(config["c_info"]["name"], name)
            before = c.last_tick_in_xen()
            self.xen.run(f"xl save {name} {saved}").check()
            self.assertEqual(self.xen.domains(), {})
            wait_for(lambda: not self.watches(), 30, "the watch to end with its domain")
            self.xen.run(f"rm {c.log}; xl restore {saved}").check()
            wait_for(lambda: len(c.ticks_in_xen()) > 1, 180, "the restored guest's words")
            after = c.ticks_in_xen()[-1]
            self.assertGreater(after.number, before.number)
            self.assertEqual((after.sum, after.disk_hash), (before.sum, before.disk_hash))
            c.destroy()

    def test_dry_run(self):
        with self.crossing() as c:
            c.serve("--dry-run")
            c.migrate()
            report = c.report()
            self.assertEqual((report["state"], report["error"], report["dry_run"]), ("loaded", None, True))
            c.runs_only_in_qemu()

    def test_refused_by_audit(self):
        """The domain has no disk for the guest."""
        with self.crossing() as c:
            c.serve(mapped=False)
            c.migrate()
            self.assertEqual(c.report()["error"]["kind"], "refused")
            c.runs_only_in_qemu()

    def test_xl_killed_midway(self):
        with self.crossing() as c:
            point = Point("up", lambda: self.xen.run("pkill -9 -x xl; pkill -9 -f libxl-save-helper"), offset=AMONG_PAGES)
            c.serve(points=[point])
            c.migrate()
            point.wait(300)
            self.assertEqual(c.report()["error"]["kind"], "environment")
            # xl is gone, and what it had begun stays with Xen: paused, never run.
            c.destroy()
            c.runs_only_in_qemu()

    def test_proxy_killed_midway(self):
        with self.crossing() as c:
            point = Point("up", lambda: c.server.process.kill(), offset=AMONG_PAGES)
            c.serve(points=[point])
            c.migrate()
            point.wait(300)
            c.runs_only_in_qemu()


if __name__ == "__main__":
    unittest.main()
