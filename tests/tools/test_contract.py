"""The command's contract: exit codes, errors on stderr, JSON, configuration files, and the name xl."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import captures
from loaded import destination_options
from replay import VMFERRY

DONE, REFUSED, USAGE, BAD_STREAM, ENVIRONMENT = 0, 1, 2, 3, 4
ERROR_MEMBERS = {"kind", "format", "record", "field", "offset", "found", "expected", "hint", "text"}


def run(*words, program=VMFERRY, stdin=b"", env=None):
    return subprocess.run([program, *map(str, words)], input=stdin, capture_output=True, timeout=120,
                          env={**os.environ, **(env or {})})


class Contract(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="vmferry-contract-")))
        self.guest = captures.first()
        self.stream = self.guest.stream

    def check(self, code, *words, says=None, **how):
        done = run(*words, **how)
        self.assertEqual(done.returncode, code, done)
        error = done.stderr.decode()
        if code != DONE:
            self.assertTrue(error.startswith("vmferry: "), error)
        if says:
            self.assertIn(says, error)
        return done

    def json_error(self, code, *words, **how):
        """The document that --json prints when it fails; checks what all of them have."""
        done = self.check(code, *words, "--json", **how)
        document = json.loads(done.stdout.decode().splitlines()[-1] if words[0] == "inspect" else done.stdout)
        self.assertEqual(document["schema"], "vmferry/1")
        self.assertEqual(document["command"], words[0])
        self.assertIn("session", document)
        self.assertIsInstance(document["rules"], list)
        self.assertEqual(set(document["error"]), ERROR_MEMBERS)
        self.assertIn(document["error"]["text"], done.stderr.decode())
        return document

    def test_usage(self):
        extra = self.folder / "image"
        extra.write_bytes(bytes(1 << 20))
        for words in ((), ("nonsense",), ("inspect",), ("inspect", "a", "b"), ("inspect", "--nonsense", "f"),
                      ("convert", self.stream, "-o", "x"), ("convert", self.stream, "--to", "vmware", "-o", "x"),
                      ("replay", self.stream, "--for", "-1"), ("replay", self.stream, "--for", "1", "--detach"),
                      ("resolve", "x"), ("resolve", "x", "keep"), ("serve",), ("serve", "--xl-listen", "udp:1:2"),
                      ("serve", "--xl-listen", "tcp:127.0.0.1:99999"), ("template", "-o", self.folder / "t"),
                      ("plan", self.stream, "--accel", "hvf"), ("plan", self.stream, "--disk", "hda"),
                      ("plan", self.stream, "--nic", "x=user"), ("plan", self.stream, "--allow", "nonsense"),
                      ("plan", self.stream, "--allow", "pv-domain"), ("plan", self.stream, "--set", "nonsense=1"),
                      ("plan", self.stream, "--timeout", "load=0"), ("plan", self.stream, "--config", "/nonexistent"),
                      ("plan", self.stream, "--disk", f"hdb={extra}", "--accel", "tcg")):
            with self.subTest(words=words):
                done = self.check(USAGE, *words)
                self.assertEqual(done.stdout, b"")

    def test_help_and_version(self):
        self.assertIn(b"Exit codes", self.check(DONE, "--help").stdout)
        self.assertRegex(self.check(DONE, "--version").stdout, rb"^\d+\.\d+\.\d+\n$")
        for word in ("inspect", "audit", "plan", "template", "convert", "replay", "serve", "migrate-receive", "table",
                     "sessions", "resolve", "rules"):
            self.check(DONE, word, "--help")

    def test_bad_stream(self):
        junk = self.folder / "junk"
        junk.write_bytes(b"this is no migration stream at all, but long enough to be looked at")
        empty = self.folder / "empty"
        empty.write_bytes(b"")
        for file in (junk, empty):
            for words in (("inspect", file), ("audit", file), ("plan", file),
                          ("convert", file, "--to", "qemu", "-o", self.folder / "out")):
                with self.subTest(words=words):
                    document = self.json_error(BAD_STREAM, *words)
                    self.assertEqual(document["error"]["kind"], "stream")
                    self.assertEqual(document["state"], "failed")
        self.assertEqual(sorted(os.listdir(self.folder)), ["empty", "junk"])

    def test_environment(self):
        self.json_error(ENVIRONMENT, "inspect", "/nonexistent")
        document = self.json_error(ENVIRONMENT, "plan", self.stream, "--qemu", "/nonexistent/qemu")
        self.assertEqual(document["error"]["kind"], "environment")
        self.json_error(ENVIRONMENT, "plan", self.stream, "--accel", "tcg", "--disk", "hda=/nonexistent",
                        "--nic", "0=user")
        options = destination_options(self.guest, self.folder)
        # A disk that is full.
        done = self.check(ENVIRONMENT, "convert", self.stream, "--to", "qemu", "-o", "/dev/full", *options)
        self.assertIn("No space left", done.stderr.decode())

    def test_refused(self):
        document = self.json_error(REFUSED, "plan", self.stream, "--accel", "tcg")
        self.assertEqual(document["state"], "refused")
        refused = {rule["rule"] for rule in document["rules"] if rule["verdict"] == "refused"}
        self.assertEqual(refused, {"unmapped-disk", "unmapped-nic"})
        for rule in document["rules"]:
            if rule["verdict"] == "refused":
                self.assertIn(rule["kind"], ("risk", "impossible"))
                self.assertTrue(rule["remedy"])

    def test_plan_and_audit(self):
        options = destination_options(self.guest, self.folder)
        document = json.loads(self.check(DONE, "plan", self.stream, "--json", *options).stdout)
        self.assertEqual(document["state"], "done")
        self.assertIsNone(document["error"])
        self.assertTrue(document["machine"].startswith("pc-i440fx-"))
        self.assertIn("-incoming", document["command_line"])
        # The text form is the same, quoted for a shell.
        text = self.check(DONE, "plan", self.stream, *options).stdout.decode()
        words = subprocess.run(["sh", "-c", f"for word in {text.strip()}; do printf '%s\\0' \"$word\"; done"],
                               stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")[:-1]
        self.assertEqual(words, document["command_line"])
        # Words behind "--" come last, and are QEMU's.
        text = self.check(DONE, "plan", self.stream, *options, "--", "-name", "a b,--x").stdout.decode()
        self.assertIn("'a b,--x'", text)
        # Options that take one value each time may be given as often as needed, before and behind the file.
        text = self.check(DONE, "plan", "--allow", "tcg-cpu", "--allow", "vcpu-tsc", "--timeout", "load=9", "--timeout",
                          "start=9", "--serial", "null", "--set", "reset-stub=off", self.stream, *options).stdout
        self.assertIn(b"-incoming", text)
        document = json.loads(self.check(DONE, "audit", self.stream, "--json", *options).stdout)
        self.assertEqual({rule["verdict"] for rule in document["rules"]}, {"carried", "adapted"})
        self.assertIn(b"portable", self.check(DONE, "audit", self.stream, *options).stdout)

    def test_lists(self):
        rules = json.loads(self.check(DONE, "rules", "--json").stdout)["rules"]
        names = [rule["rule"] for rule in rules]
        self.assertEqual(len(names), len(set(names)))
        self.assertTrue({"pv-domain", "unmapped-disk", "viridian"} <= set(names))
        self.assertTrue(all(rule["meaning"] and rule["remedy"] for rule in rules))
        rows = json.loads(self.check(DONE, "table", "--json").stdout)["rows"]
        self.assertGreater(len(rows), 200)
        rip = next(row for row in rows if row["field"] == "vcpu.rip")
        self.assertEqual((rip["xen"], rip["qemu"], rip["law"]), ("CPU.rip", "cpu: env.eip", "exact"))
        for row in rows:
            self.assertTrue(row["law"] == "exact" or row["conversion"], row)
        sessions = json.loads(self.check(DONE, "sessions", "--json", "--state-dir", self.folder / "s").stdout)
        self.assertEqual(sessions["sessions"], [])
        self.json_error(USAGE, "resolve", "nobody", "destroy", "--state-dir", self.folder / "s")

    def test_configuration_file(self):
        disk = destination_options(self.guest, self.folder)[-3 if self.guest.network else -1]
        path = disk.removeprefix("hda=").removesuffix(",format=raw")
        file = self.folder / "destination.toml"
        file.write_text(f'accel = "tcg"\n[disk]\nhda = "{path},format=raw"\n[nic]\n0 = "{self.guest.netdev}"\n')
        document = json.loads(self.check(DONE, "plan", self.stream, "--json", "--config", file).stdout)
        self.assertIn("tcg", document["command_line"])
        # The command line goes first.
        done = self.check(DONE, "plan", self.stream, "--json", "--config", file, "--nic", "0=socket,listen=:0")
        self.assertIn("socket,listen=:0,id=net0", json.loads(done.stdout)["command_line"])
        for text, says in (("accel = tcg\n", "destination.toml:1"),
                           ('\n\nacell = "tcg"\n', "destination.toml:3"),
                           ('[disk]\n\nhda = 7.5\n', "destination.toml:3: disk.hda"),
                           ('[timeout]\nload = "soon"\n', "destination.toml:2: timeout.load"),
                           ('allow = ["nonsense"]\n', "destination.toml:1: allow")):
            with self.subTest(text=text):
                file.write_text(text)
                self.check(USAGE, "plan", self.stream, "--config", file, says=says)

    def test_under_the_name_xl(self):
        xl = self.folder / "xl"
        xl.symlink_to(VMFERRY)
        (self.folder / "guests").mkdir()
        env = {"VMFERRY_CONFIG": str(self.folder)}
        for words, code in ((("list",), USAGE), ((), USAGE), (("-v", "list"), USAGE), (("migrate-receive", "-x"), USAGE),
                            (("migrate-receive", "word"), USAGE), (("-q", "migrate-receive"), USAGE),
                            (("migrate-receive", "-r"), REFUSED), (("migrate-receive", "-F"), REFUSED),
                            (("migrate-receive", "-e", "--colo"), REFUSED), (("-t", "migrate-receive", "-er"), REFUSED),
                            (("migrate-receive", "--coloft-script", "x"), REFUSED)):
            with self.subTest(words=words):
                done = self.check(code, *words, program=xl, env=env)
                self.assertEqual(done.stdout, b"", "noise before the banner")
        # Nobody at the other end: the banner and nothing else.
        done = self.check(BAD_STREAM, "-t", "-T", "-vvv", "migrate-receive", "-e", "-d", "-p", program=xl, env=env)
        self.assertEqual(done.stdout, b"xl migration receiver ready, send binary domain data.\n")
        # A mistake in the configuration is said before the banner.
        (self.folder / "destination.toml").write_text("nonsense = 1\n")
        done = self.check(USAGE, "migrate-receive", program=xl, env=env, says="destination.toml:1")
        self.assertEqual(done.stdout, b"")

    def test_template(self):
        out = self.folder / "template"
        options = destination_options(self.guest, self.folder)
        words = json.loads(self.check(DONE, "plan", self.stream, "--json", *options).stdout)["command_line"]
        document = json.loads(self.check(DONE, "template", "-o", out, "--json", "--", *words).stdout)
        self.assertGreater(document["sections"], 20)
        self.check(DONE, "inspect", out)
        # It serves as well as a twin that is started for the purpose.
        sizes = [json.loads(self.check(DONE, "convert", self.stream, "--to", "qemu", "-o", self.folder / "out", "--json",
                                       *options, *more).stdout)["bytes_out"] for more in ((), ("--template", out))]
        self.assertEqual(*sizes)


if __name__ == "__main__":
    unittest.main()
