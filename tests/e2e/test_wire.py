"""The wire of the crossings: what it passes on, records, and where it stops."""
import pathlib
import socket
import tempfile
import threading
import unittest

from wire import Point, Wire


class WireTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.target = self.enterContext(socket.create_server(("127.0.0.1", 0)))

    def pair(self, *points):
        """(source's end, target's end) of a connection through a wire."""
        self.wire = Wire(self.target.getsockname()[1], self.folder, points)
        self.addCleanup(self.wire.close)
        source = self.enterContext(socket.create_connection(("127.0.0.1", self.wire.port)))
        target, _ = self.target.accept()
        self.addCleanup(target.close)
        for end in (source, target):
            end.settimeout(10)
        return source, target

    def receive(self, end, size):
        got = b""
        while len(got) < size and (more := end.recv(size - len(got))):
            got += more
        return got

    def test_both_directions_are_passed_on_and_recorded(self):
        source, target = self.pair()
        source.sendall(b"stream")
        self.assertEqual(self.receive(target, 6), b"stream")
        # One end has said all; the other one may still answer.
        source.shutdown(socket.SHUT_WR)
        self.assertEqual(target.recv(1), b"")
        target.sendall(b"ready")
        self.assertEqual(self.receive(source, 5), b"ready")
        target.close()
        self.assertEqual(source.recv(1), b"")
        self.wire.close()
        self.assertEqual(((self.folder / "up").read_bytes(), (self.folder / "down").read_bytes()), (b"stream", b"ready"))

    def test_it_stops_before_an_offset_and_before_a_text(self):
        go_on = threading.Event()
        seen = []
        points = [Point("up", lambda: (seen.append("up"), go_on.wait(10)), offset=4),
                  Point("down", lambda: seen.append("down"), text=b"ready")]
        source, target = self.pair(*points)
        source.sendall(b"01234567")
        self.assertEqual(self.receive(target, 4), b"0123")
        target.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            target.recv(1)
        target.settimeout(10)
        go_on.set()
        self.assertEqual(self.receive(target, 4), b"4567")
        target.sendall(b"banner ready")
        self.assertEqual(self.receive(source, 12), b"banner ready")
        for point in points:
            point.wait(1)
        self.assertEqual(seen, ["up", "down"])

    def test_a_point_that_is_not_reached_or_fails_says_so(self):
        def fail():
            raise RuntimeError("no xl to kill")
        never, failing = Point("up", lambda: None, offset=100), Point("up", fail, offset=0)
        source, target = self.pair(never, failing)
        source.sendall(b"x")
        self.assertEqual(self.receive(target, 1), b"x")
        with self.assertRaises(RuntimeError):
            failing.wait(5)
        with self.assertRaises(TimeoutError):
            never.wait(0.1)

    def test_what_a_cut_is_before_is_not_passed_on(self):
        point = Point("down", lambda: self.wire.cut(), text=b"ready")
        source, target = self.pair(point)
        target.sendall(b"banner ready")
        self.assertEqual(self.receive(source, 12), b"banner ")
        self.assertEqual(target.recv(1), b"")
        point.wait(1)

    def test_a_lost_target_ends_the_connection(self):
        source, target = self.pair()
        target.close()
        self.assertEqual(source.recv(1), b"")


if __name__ == "__main__":
    unittest.main()
