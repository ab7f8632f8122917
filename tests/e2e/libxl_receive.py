"""More of vmferry-libxl-receive in a real Xen host than tools/test.sh has time for; `tools/test.sh --matrix` runs it."""
import unittest

from one_qemu_guest import AMONG_PAGES, LIBXL_RECEIVE, OneQemuGuest
from wire import Point


class LibxlReceive(OneQemuGuest):
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
