"""More of the way to Xen, and of vmferry-libxl-receive in the hosts of both releases, than tools/test.sh has time for;
`tools/test.sh --matrix` runs it."""
import contextlib
import pathlib
import subprocess
import tempfile
import unittest

import qemu_source
from crossing_to_xen import POWEROFF, REBOOT, crossing_to_xen
from one_qemu_guest import AMONG_PAGES, RECEIVE_BY_LIBXL, OneQemuGuest
from replay import VMFERRY, wait_for
from wire import Point
from xen_guests import TickingLinux
from xen_host import STATE


class InDom0:
    """Scenarios for each release."""

    def test_vmferry_in_dom0(self):
        """vmferry itself runs in dom0, with the helper as a command of its own, and the source's migration comes over the
        network. Then the watch: a domain that resets is made anew, one that powers off is gone, and the watch with it."""
        with self.crossing() as c:
            c.serve_in_dom0(RECEIVE_BY_LIBXL)
            c.migrate()
            c.crossed()
            c.runs_only_in_xen()
            watch = self.watches()
            self.assertEqual(len(watch), 1)
            before = c.domain()
            c.shut_down(REBOOT)
            wait_for(lambda: c.domain() not in (None, before), 120, "the domain made anew")
            wait_for(lambda: self.xen.domains()[self.guest.name].strip("-") in ("r", "b", ""), 60, "it to run")
            self.assertEqual(self.watches(), watch)
            c.shut_down(POWEROFF)
            wait_for(lambda: not self.xen.domains(), 60, "the domain to be gone")
            wait_for(lambda: not self.watches(), 30, "the watch to end with it")

    def test_dry_run_in_dom0(self):
        with self.crossing() as c:
            c.serve_in_dom0(RECEIVE_BY_LIBXL, "--dry-run")
            c.migrate()
            report = c.report()
            self.assertEqual((report["state"], report["error"], report["dry_run"]), ("loaded", None, True))
            c.runs_only_in_qemu()
            self.assertEqual(self.watches(), [])


class MoreToXen(OneQemuGuest):
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
            with crossing_to_xen(self.id().split(".", 1)[1], self.xen, qemu_source.Guest(guest.name, xen_firmware=True), moved) as c:
                c.serve(template=template)
                c.migrate()
                c.crossed()
                c.runs_only_in_xen()
                c.destroy()

    def test_own_configuration(self):
        """An xl.cfg of the operator's."""
        with self.crossing() as c:
            c.serve(config="\n".join([
                f'name="{self.guest.name}"', 'type="hvm"', f'memory={self.guest.memory_mib + 1 + 8}', 'vcpus=1', 'hpet=0',
                'xen_platform_pci=0', 'vga="cirrus"', 'videoram=8', f'serial="file:{c.log}"', 'tsc_mode="native"',
                f'disk=["format=raw,vdev=hda,backendtype=qdisk,target={c.disk}"]',
                f'vif=["mac={qemu_source.MAC},bridge=xenbr0,model=e1000,type=ioemu"]']))
            c.migrate()
            c.crossed()
            c.runs_only_in_xen()
            c.destroy()

    def test_live_without_return_path(self):
        with self.crossing() as c:
            c.serve()
            c.migrate(return_path=False)
            c.crossed()
            c.runs_only_in_xen()
            c.destroy()


class LibxlReceive(InDom0, OneQemuGuest):
    def test_dry_run(self):
        with self.crossing() as c:
            c.serve("--dry-run", receive=RECEIVE_BY_LIBXL)
            c.migrate()
            report = c.report()
            self.assertEqual((report["state"], report["error"], report["dry_run"]), ("loaded", None, True))
            c.runs_only_in_qemu()
            self.assertFalse(self.watches())

    def test_proxy_killed_midway(self):
        with self.crossing() as c:
            point = Point("up", lambda: c.server.process.kill(), offset=AMONG_PAGES)
            c.serve(points=[point], receive=RECEIVE_BY_LIBXL)
            c.migrate()
            point.wait(300)
            c.runs_only_in_qemu()

    def test_terminated_midway(self):
        """Where a stock xl that is ended leaves its domain behind, the helper destroys it."""
        with self.crossing() as c:
            point = Point("up", lambda: self.xen.run("pkill -TERM -f '[v]mferry-libxl-receive.bin'").check(),
                          offset=AMONG_PAGES)
            c.serve(points=[point], receive=RECEIVE_BY_LIBXL)
            c.migrate()
            point.wait(300)
            self.assertEqual(c.report()["error"]["kind"], "environment")
            c.runs_only_in_qemu()


class LibxlReceive420(InDom0, OneQemuGuest):
    host = "xen-4.20"


if __name__ == "__main__":
    unittest.main()
