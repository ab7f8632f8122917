"""From a real QEMU into a real Xen, whose own `xl migrate-receive` takes the guest; after each scenario both ends are asked
who runs.
"""
import contextlib
import json
import pathlib
import subprocess
import tempfile
import unittest

import qemu_source
from captures import NETDEV
from crossing import MIGRATE_LOG
from crossing_to_xen import crossing_to_xen
from local_destination import LocalDestination
from one_qemu_guest import AMONG_PAGES, LIBXL_RECEIVE, OneQemuGuest
from replay import VMFERRY, wait_for
from wire import Point
from xen_guests import TickingLinux
from xen_host import STATE

class QemuToXen(OneQemuGuest):
    def to_qemu(self, name, last_tick, closing):
        """The guest of that name goes from Xen into a QEMU here, by `xl migrate`. Returns it there, as a source."""
        there = closing.enter_context(contextlib.closing(LocalDestination(True, NETDEV)))
        there.expect(name)
        there.make_disk(name, 16 << 20)
        server = closing.enter_context(contextlib.closing(there.serve()))
        before = last_tick()
        self.xen.machine.start(f"xl migrate -s '' {name} 'socat -t 60 - TCP:10.0.2.2:{server.port}'", MIGRATE_LOG)
        wait_for(server.ends, 300, "the session's report")
        self.assertIsNone(server.ends()[-1]["error"], self.xen.run(f"cat {MIGRATE_LOG}").text)
        session, = there.sessions()
        moved = qemu_source.Running(there.console(name), session["qmp"])
        tick = moved.wait_tick(before.number + 4)
        self.assertEqual((tick.sum, tick.disk_hash), (before.sum, before.disk_hash))
        return moved

    def test_live(self):
        with self.crossing() as c:
            c.serve()
            c.migrate()
            report = c.report()
            self.assertEqual((report["state"], report["error"]), ("reported", None))
            self.assertEqual(c.source.migration_status(), "completed")
            c.runs_only_in_xen()
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
            self.assertIsNone(c.report()["error"])
            c.runs_only_in_xen(3)
            moved = self.to_qemu(self.guest.name, c.last_tick_in_xen, c.closing)
            with crossing_to_xen(f"{c.folder.name}.again", self.xen, self.guest, moved) as again:
                again.serve()
                again.migrate()
                self.assertIsNone(again.report()["error"])
                again.runs_only_in_xen()
                again.destroy()

    def test_born_under_xen(self):
        """Xen → QEMU → Xen, with the firmware that Xen gave it; the template is the host's own, made as the README says."""
        guest = TickingLinux("x1")
        like = TickingLinux("like-x1")
        config = f"{STATE}/{like.name}.cfg"
        self.xen.run(f"cat > {config}; truncate -s 16M {like.disk}", stdin=like.config().encode()).check()
        self.xen.run(f"xl create -p {config} && xl save {like.name} {like.saved}").check()
        with contextlib.ExitStack() as closing:
            folder = pathlib.Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="vmferry-template-")))
            (folder / "saved").write_bytes(self.xen.run(f"cat {like.saved}").check().output)
            template = folder / "template.zst"
            subprocess.run([VMFERRY, "template", "--xen", folder / "saved", "-o", template], check=True)
            self.xen.create(guest)
            guest.started(self.xen)
            moved = self.to_qemu(guest.name, lambda: guest.last_tick(self.xen), closing)
            # Its memory is as large as under Xen; running, it is refused: tcg-missed-writes.
            moved.qmp("stop")
            with crossing_to_xen(self.id().split(".", 1)[1], self.xen, qemu_source.Guest(guest.name), moved) as c:
                c.serve(template=template)
                c.migrate()
                self.assertIsNone(c.report()["error"])
                c.runs_only_in_xen()
                c.destroy()

    def test_live_without_return_path(self):
        with self.crossing() as c:
            c.serve()
            c.migrate(return_path=False)
            report = c.report()
            self.assertEqual((report["state"], report["error"]), ("reported", None))
            c.runs_only_in_xen()
            c.destroy()

    def test_live_by_libxl(self):
        """vmferry's own helper in xl's place. What it leaves is a domain like xl's own: xl saves and restores it, and its
        watch acts when it is shut down."""
        with self.crossing() as c:
            c.serve(receive=LIBXL_RECEIVE)
            c.migrate()
            report = c.report()
            self.assertEqual((report["state"], report["error"]), ("reported", None))
            self.assertEqual(c.source.migration_status(), "completed")
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

    def test_libxl_gives_back(self):
        """At a dry run its copy was complete and is gone; so it is when vmferry dies among the pages."""
        with self.crossing() as c:
            c.serve("--dry-run", receive=LIBXL_RECEIVE)
            c.migrate()
            report = c.report()
            self.assertEqual((report["state"], report["error"], report["dry_run"]), ("loaded", None, True))
            c.runs_only_in_qemu()
            self.assertFalse(self.watches())

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
