"""More of vmferry-libxl-receive in a real Xen host than tools/test.sh has time for; `tools/test.sh --matrix` runs it."""
import unittest

from one_qemu_guest import AMONG_PAGES, LIBXL_RECEIVE, OneQemuGuest
from replay import wait_for
from wire import Point


class LibxlReceive(OneQemuGuest):
    def test_reset(self):
        """The watch makes the domain anew when the guest resets, and ends with it."""
        with self.crossing() as c:
            c.serve(receive=LIBXL_RECEIVE)
            c.migrate()
            self.assertIsNone(c.report()["error"])
            c.runs_only_in_xen(3)
            name = self.guest.name
            first = self.xen.run(f"xl domid {name}").check().text.strip()
            # The button that QEMU's firmware knows is none of Xen's; the reset line is the same. The device model tells Xen
            # of it only if an I/O request comes before its own main loop has reset the devices: pressed until it does.
            said = '{"execute": "qmp_capabilities"}\n{"execute": "system_reset"}\n'

            def anew():
                self.xen.run(f"socat -t 1 - UNIX-CONNECT:/run/xen/qmp-libxl-{first}", stdin=said.encode())
                found = self.xen.run(f"xl domid {name}")
                return found.code == 0 and found.text.strip() != first

            wait_for(anew, 180, "the domain made anew")
            self.assertTrue(self.watches())
            self.xen.run(f"xl destroy {name}").check()
            wait_for(lambda: not self.watches(), 30, "the watch to end with its domain")

    def test_proxy_killed_midway(self):
        with self.crossing() as c:
            point = Point("up", lambda: c.server.process.kill(), offset=AMONG_PAGES)
            c.serve(points=[point], receive=LIBXL_RECEIVE)
            c.migrate()
            point.wait(300)
            c.runs_only_in_qemu()

    def test_terminated_midway(self):
        """Where a stock xl that is ended leaves its domain behind, the helper destroys it."""
        with self.crossing() as c:
            point = Point("up", lambda: self.xen.run("pkill -TERM -f '[v]mferry-libxl-receive.bin'").check(),
                          offset=AMONG_PAGES)
            c.serve(points=[point], receive=LIBXL_RECEIVE)
            c.migrate()
            point.wait(300)
            self.assertEqual(c.report()["error"]["kind"], "environment")
            c.runs_only_in_qemu()


if __name__ == "__main__":
    unittest.main()
