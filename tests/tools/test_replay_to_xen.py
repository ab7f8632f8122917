"""`vmferry replay --to xl`: a guest that was recorded under QEMU goes into what speaks as `xl migrate-receive` does."""
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile
import unittest

import captures
import domain_config
import xen_from_qemu
import xl_receive
from qemu_stream import QemuStream
from replay import VMFERRY
from restore_oracle import Restored, verify_stream

DONE, USAGE, BAD_STREAM, ENVIRONMENT, IN_DOUBT = 0, 2, 3, 4, 5
TEMPLATE = captures.FOLDER / "templates" / "xen-4.17.zst"


class ReplayToXen(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="vmferry-replay-")))
        self.guest = captures.qemu_guest("qemu-7.2/linux-2vcpu-e1000-ide")
        self.received, self.log, self.state = self.folder / "received", self.folder / "log", self.folder / "state"
        config = self.folder / "config.json"
        config.write_text(json.dumps(domain_config.of(self.guest)))
        self.destination = ("--to", "xl", "--xl-command", self.receiver(), "--xen-template", TEMPLATE, "--domain-config", config,
                            "--set", "accel=tcg", "--set", "tsc_khz=2500000", "--allow", "cpu-policy", "--state-dir", self.state)

    def receiver(self, *how):
        return shlex.join(map(str, (sys.executable, xl_receive.__file__, self.received, self.log, *how)))

    def run_vmferry(self, code, *words):
        done = subprocess.run([VMFERRY, *map(str, words)], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def replay(self, code, command=None, stream=None):
        """The document that it prints."""
        return json.loads(self.run_vmferry(code, "replay", stream or self.guest.stream, *self.toward(command), "--json").stdout)

    def toward(self, command):
        """The destination, behind another command."""
        return (*self.destination[:3], command or self.destination[3], *self.destination[4:])

    def domain(self):
        """What became of it, as the receiver tells."""
        return self.log.read_text().split() if self.log.exists() else []

    def sessions(self):
        return json.loads(self.run_vmferry(DONE, "sessions", "--json", "--state-dir", self.state).stdout)["sessions"]

    def cut(self, keep):
        """The recording up to there; `keep` is given its length."""
        data = self.guest.stream.read_bytes()
        file = self.folder / "cut"
        file.write_bytes(data[:keep(len(data))])
        return file

    def test_goes_on(self):
        """xl is sent the guest that was recorded, whole, and lets it run."""
        report = self.replay(DONE)
        self.assertEqual((report["state"], report["direction"], report["source"]), ("reported", "to Xen", "let go"))
        self.assertTrue(report["recorded"])
        self.assertNotIn("qemu_ended", report)
        self.assertEqual(self.domain(), ["loaded", "runs"])
        self.assertEqual(self.sessions(), [])
        restored = Restored(self.received, self.folder)
        self.assertEqual(restored.violations, [])
        self.assertEqual(xen_from_qemu.judge(QemuStream(self.guest.stream), restored), {})
        self.assertIsNone(verify_stream(self.received, self.folder))

    def test_dry_run(self):
        done = self.run_vmferry(DONE, "replay", self.guest.stream, *self.destination, "--dry-run")
        self.assertIn("dry run: judged was carried and loaded", done.stdout)
        self.assertEqual(self.domain(), ["loaded", "destroyed"])
        self.assertEqual(self.sessions(), [])

    def test_cut(self):
        for keep in (lambda size: 4096, lambda size: size // 2, lambda size: size - 1):
            self.log.unlink(missing_ok=True)
            report = self.replay(BAD_STREAM, stream=self.cut(keep))
            self.assertEqual((report["error"]["kind"], report["source"]), ("stream", "runs on"))
            self.assertEqual(self.domain(), ["destroyed"])
            self.assertEqual(self.sessions(), [])

    def test_receiver_cannot_be_reached(self):
        report = self.replay(ENVIRONMENT, "echo 'ssh: connect to host xenhost port 22: No route to host' >&2; exit 255")
        self.assertIn("No route to host", report["error"]["text"])
        self.assertEqual(self.sessions(), [])

    def test_in_doubt(self):
        """Nobody says whether the guest runs in Xen: the operator is told what to look at and what to type."""
        report = self.replay(IN_DOUBT, self.receiver("dies"))
        session, = self.sessions()
        self.assertEqual((session["state"], session["permission"], session["recorded"]), ("in doubt", True, True))
        self.assertIn(f"`vmferry resolve {session['session']} destroy`", report["error"]["hint"])
        self.assertEqual(self.domain(), ["loaded"])
        # The guest stays claimed until then.
        self.assertEqual(self.replay(1)["error"]["kind"], "refused")
        self.run_vmferry(DONE, "resolve", session["session"], "destroy", "--state-dir", self.state)
        self.assertEqual(self.sessions(), [])
        self.assertEqual(self.replay(DONE)["state"], "reported")

    def test_usage(self):
        """What belongs to the other direction, or is missing of this one, is said before anything is started."""
        xen = captures.first().stream
        for words, says in (((*self.destination, "--for", "3"), "--for"),
                            ((*self.destination, "--detach"), "--detach"),
                            ((*self.destination, "--qmp", "/nonexistent"), "--qmp"),
                            ((*self.destination, "--qemu", "qemu-system-x86_64"), "--qemu"),
                            ((*self.destination, "--timeout", "load=9"), "--timeout"),
                            ((*self.destination, "--", "-S"), "--"),
                            (self.destination[:2], "--xl-command"),
                            (self.destination[:4], "--xen-template"),
                            (("--xl-command", self.receiver()), "--xl-command"),
                            (("--source-qmp", "/nonexistent"), "--source-qmp"),
                            (("--accel", "tcg"), "a stream of the kind QEMU")):
            with self.subTest(words=words):
                self.assertIn(says, self.run_vmferry(USAGE, "replay", self.guest.stream, *words).stderr)
        self.assertIn("a stream of the kind Xen", self.run_vmferry(USAGE, "replay", xen, *self.destination).stderr)
        self.assertEqual(self.domain(), [])


if __name__ == "__main__":
    unittest.main()
