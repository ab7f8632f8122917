"""Taking guests from a source that speaks as xl does: over TCP (`serve`) and on stdin and stdout (the name xl)."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

import captures
import ticks
import xl
from qmp import Qmp
from replay import VMFERRY, unpack, wait_for


def gone(pid):
    """Ended; who inherited it may not have taken notice yet."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


class Host:
    """A destination host: a configuration directory, its guests' disks and consoles, and its sessions."""

    def __init__(self, guest):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vmferry-host-"))
        (self.folder / "guests").mkdir()
        allow = ", ".join(f'"{rule}"' for rule in guest.allow)
        text = f'accel = "tcg"\nserial = "file:{self.folder}/{{name}}.console"\nallow = [{allow}]\n' \
               f'state_directory = "{self.folder}/state"\n'
        if guest.disk:
            text += f'[disk]\nhda = "{self.folder}/{{name}}.disk,format=raw"\n'
        if guest.network:
            text += f'[nic]\n0 = "{guest.netdev}"\n'
        (self.folder / "destination.toml").write_text(text)
        self.guest = guest

    def expect(self, name, settings=""):
        (self.folder / "guests" / f"{name}.toml").write_text(settings)
        if self.guest.disk:
            unpack(self.guest.disk, self.folder / f"{name}.disk")

    def console(self, name):
        return self.folder / f"{name}.console"

    def sessions(self):
        done = subprocess.run([VMFERRY, "sessions", "--json", "--state-dir", self.folder / "state"],
                              stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)["sessions"]

    def resolve(self, session, what):
        return subprocess.run([VMFERRY, "resolve", session, what, "--state-dir", self.folder / "state"],
                              capture_output=True, text=True)

    def end(self, session):
        """Ends the QEMU of a session that is over on the wire."""
        Qmp(session["qmp"]).quit()
        wait_for(lambda: gone(session["qemu_pid"]), 10, "QEMU's end")

    def close(self):
        for session in self.sessions():
            if session["qemu_alive"]:
                os.kill(session["qemu_pid"], signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Server:
    """`vmferry serve` and the lines that it prints."""

    def __init__(self, host, *options):
        self.process = subprocess.Popen([VMFERRY, "serve", "--xl-listen", "tcp:127.0.0.1:0", "--config", str(host.folder),
                                         "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.lines = []
        first = json.loads(self.process.stdout.readline())
        self.port = first["port"]
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def ends(self):
        return [line for line in self.lines if line.get("event") == "over"]

    def migrate(self, stream):
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            return xl.Source.over(connection).migrate(stream)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.reader.join(timeout=5)
        self.process.stdout.close()
        return self.process.returncode


class Receive(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.guest = captures.first()
        cls.stream = xl.recorded(cls.guest)
        cls.name = re.search(rb'"name": "([^"]+)"', cls.stream[:4096])[1].decode()

    def setUp(self):
        self.host = Host(self.guest)
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
