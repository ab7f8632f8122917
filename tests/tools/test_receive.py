"""Taking guests from a source that speaks as xl does: over TCP (`serve`) and on stdin and stdout (the name xl)."""
import os
import re
import signal
import socket
import subprocess
import threading
import unittest

import captures
import ticks
import xl
from qmp import Qmp
from replay import VMFERRY, wait_for
from serving import Destination, Server, gone


class Receive(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.guest = captures.first()
        cls.stream = xl.recorded(cls.guest)
        cls.name = re.search(rb'"name": "([^"]+)"', cls.stream[:4096])[1].decode()

    def setUp(self):
        self.host = Destination.of(self.guest)
        self.addCleanup(self.host.close)

    def server(self, *options):
        server = Server(self.host, *options)
        self.addCleanup(server.close)
        return server

    def follow(self, name, count=3):
        """The pace is not judged: some of the lines may have been there for a while."""
        judge = ticks.Judge.of(self.guest)
        console = ticks.Console(self.host.console(name), judge)
        try:
            console.follow(count, 60)
        finally:
            console.close()

    def test_serve(self):
        """The whole way; a second guest of the name is refused while the first is there; the server's end does
        not touch a guest that was taken over."""
        self.host.expect(self.name)
        server = self.server()
        self.assertEqual(server.migrate(self.stream), "destroys")
        self.follow(self.name)
        wait_for(server.ends, 10, "the session's report")
        report = server.ends()[0]
        self.assertEqual((report["schema"], report["state"], report["error"]), ("vmferry/1", "reported", None))
        self.assertGreater(report["counters"]["pages"], 10000)

        self.assertEqual(server.migrate(self.stream), "resumes")
        wait_for(lambda: len(server.ends()) == 2, 10, "the second session's report")
        self.assertIn(self.name, server.ends()[1]["error"]["text"])

        self.assertEqual(server.close(), 0)
        sessions = self.host.sessions()
        self.assertEqual([(s["state"], s["qemu_alive"], s["driven"]) for s in sessions], [("reported", True, False)])
        self.follow(self.name, 6)
        self.host.end(sessions[0])

    def test_two_at_once(self):
        other = chr(ord(self.name[0]) + 1) + self.name[1:]
        self.host.expect(self.name)
        self.host.expect(other)
        server = self.server()
        # Another name and another uuid.
        stream = xl.rename(self.stream, self.name, other)
        uuid = re.search(rb'"uuid": "([^"]+)"', stream[:4096])[1]
        stream = stream[:4096].replace(uuid, uuid[:-1] + (b"0" if uuid[-1:] != b"0" else b"1")) + stream[4096:]
        results = {}
        threads = [threading.Thread(target=lambda name=name, data=data: results.update({name: server.migrate(data)}))
                   for name, data in ((self.name, self.stream), (other, stream))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, {self.name: "destroys", other: "destroys"})
        self.follow(self.name)
        self.follow(other)
        for session in self.host.sessions():
            self.host.end(session)

    def test_unknown_guest(self):
        server = self.server()
        self.assertEqual(server.migrate(self.stream), "resumes")
        wait_for(server.ends, 10, "the session's report")
        self.assertEqual(server.ends()[0]["error"]["kind"], "refused")
        self.assertEqual(self.host.sessions(), [])

    def test_dry_run(self):
        self.host.expect(self.name)
        server = self.server("--dry-run")
        self.assertEqual(server.migrate(self.stream), "resumes")
        wait_for(server.ends, 10, "the session's report")
        report = server.ends()[0]
        self.assertEqual((report["state"], report["error"], report["dry_run"]), ("loaded", None, True))
        self.assertEqual(self.host.sessions(), [])
        self.assertTrue(gone(report["qemu_pid"]))

    def test_source_breaks_off(self):
        self.host.expect(self.name)
        server = self.server()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            source = xl.Source.over(connection)
            source.expect(xl.BANNER)
            source.send(self.stream[:len(self.stream) // 2])
        wait_for(server.ends, 20, "the session's report")
        report = server.ends()[0]
        self.assertEqual(report["error"]["kind"], "stream")
        self.assertTrue(gone(report["qemu_pid"]))
        self.assertEqual(self.host.sessions(), [])

    def test_qemu_dies_before_ready(self):
        self.host.expect(self.name)
        server = self.server()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            source = xl.Source.over(connection)
            source.expect(xl.BANNER)
            source.send(self.stream[:len(self.stream) // 2])
            session = wait_for(lambda: [s for s in self.host.sessions() if s["qemu_alive"]], 20, "QEMU")[0]
            os.kill(session["qemu_pid"], signal.SIGKILL)
            try:
                source.send(self.stream[len(self.stream) // 2:])
            except OSError:
                pass
            self.assertEqual(source.receive(len(xl.READY)), b"")
        wait_for(server.ends, 20, "the session's report")
        report = server.ends()[0]
        self.assertEqual(report["error"]["kind"], "environment")
        self.assertIn("signal 9", report["error"]["text"])
        self.assertEqual(self.host.sessions(), [])

    def test_in_doubt_then_resolved(self):
        """The connection is lost between "ready" and the permission: nobody runs until the operator decides."""
        for what in ("run", "destroy"):
            with self.subTest(what=what):
                self.host.expect(self.name)
                self.host.console(self.name).unlink(missing_ok=True)
                server = self.server()
                with socket.create_connection(("127.0.0.1", server.port)) as connection:
                    source = xl.Source.over(connection)
                    source.expect(xl.BANNER)
                    source.send(self.stream)
                    source.expect(xl.READY)
                wait_for(server.ends, 20, "the session's report")
                report = server.ends()[0]
                self.assertEqual((report["state"], report["error"]["kind"]), ("in doubt", "in doubt"))
                server.close()
                session, = self.host.sessions()
                self.assertEqual((session["state"], session["qemu_alive"], session["permission"]), ("in doubt", True, False))
                self.assertEqual(self.host.console(self.name).read_bytes(), b"")
                done = self.host.resolve(session["session"], what)
                self.assertEqual(done.returncode, 0, done.stderr)
                if what == "run":
                    self.follow(self.name)
                    # Running, it cannot be destroyed by mistake.
                    self.assertEqual(self.host.resolve(session["session"], "destroy").returncode, 2)
                    self.host.end(session)
                else:
                    self.assertTrue(gone(session["qemu_pid"]))
                self.assertEqual(self.host.resolve("nobody", what).returncode, 2)

    def test_under_the_name_xl(self):
        """As `xl migrate GUEST HOST` reaches it through ssh; -p leaves the guest paused."""
        program = self.host.folder / "xl"
        program.symlink_to(VMFERRY)
        self.host.expect(self.name)
        process = subprocess.Popen([program, "-t", "migrate-receive", "-e", "-p"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**os.environ, "VMFERRY_CONFIG": str(self.host.folder)})

        def send(data):
            process.stdin.write(data)
            process.stdin.flush()

        self.assertEqual(xl.Source(send, process.stdout.read).migrate(self.stream), "destroys")
        rest, errors = process.communicate(timeout=20)
        self.assertEqual((process.returncode, rest), (0, b""), errors)
        session, = self.host.sessions()
        self.assertEqual((session["state"], session["paused"], session["qemu_alive"]), ("reported", True, True))
        qmp = Qmp(session["qmp"])
        self.assertEqual(qmp("query-status")["status"], "paused")
        qmp.close()
        done = self.host.resolve(session["session"], "run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.follow(self.name)
        self.host.end(session)


if __name__ == "__main__":
    unittest.main()
