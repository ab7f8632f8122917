"""`vmferry replay` with every captured guest, and with socket reads of 1 byte, 7 bytes and 1 MiB."""
import re
import subprocess
import unittest

import captures
import ticks
from replay import Replay


class ReplayGuest:
    guest = None

    def test_goes_on(self):
        with Replay(self.guest) as replay:
            replay.follow(20)
            self.assertEqual(replay.stop(), 0, replay.words())


class Replays(unittest.TestCase):
    def short_stretch(self, read_size, timeout):
        with Replay(captures.first(), ["--read-size", str(read_size), "--timeout", f"peer={timeout}"]) as replay:
            replay.follow(4, timeout)
            self.assertEqual(replay.stop(), 0, replay.words())

    def test_reads_of_1_byte(self):
        self.short_stretch(1, 900)

    def test_reads_of_7_bytes(self):
        self.short_stretch(7, 300)

    def test_reads_of_1_mebibyte(self):
        self.short_stretch(1 << 20, 60)

    def test_for_seconds(self):
        """--for ends QEMU by itself; the guest has run about that long."""
        with Replay(captures.first(), ["--for", "5"]) as replay:
            self.assertEqual(replay.process.wait(timeout=60), 0, replay.words())
            judge = ticks.Judge.of(replay.guest)
            console = ticks.Console(replay.console, judge)
            console.drain()
            console.close()
            self.assertIn(len(judge.ticks), range(2, 7))

    def test_detach(self):
        """vmferry goes, QEMU and the guest stay."""
        with Replay(captures.first(), ["--detach"]) as replay:
            self.assertEqual(replay.process.wait(timeout=60), 0, replay.words())
            judge = ticks.Judge.of(replay.guest)
            console = ticks.Console(replay.console, judge)
            console.follow(3, 60)
            console.close()
            replay.connect().quit()
            replay.qmp = None

    def test_refused(self):
        """Without a disk for the guest nothing is started."""
        guest = captures.first()
        with Replay(guest) as replay:
            replay.process.terminate()
            replay.process.wait(timeout=30)
        command = [word for word in replay.command if not word.startswith("hda=") and word != "--disk"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("unmapped-disk", done.stderr)


for _guest in captures.guests():
    _name = "Replay_" + re.sub(r"\W", "_", _guest.name)
    globals()[_name] = type(_name, (ReplayGuest, unittest.TestCase), {"guest": _guest})

if __name__ == "__main__":
    unittest.main()
