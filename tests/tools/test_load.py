"""tests/support/load.py sees others' work, and only that; run.py repeats what only load has failed."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import load

COMPUTES = "while :; do :; done"


def computing(**environment):
    """A shell that computes for ever, in a session of its own."""
    return subprocess.Popen(["sh", "-c", COMPUTES], env=os.environ | environment, start_new_session=True)


@contextlib.contextmanager
def ended(process):
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def used(pid):
    """Processor time of a process and its children that have ended."""
    return sum(map(int, load.stat(pid)[11:15])) / load.TICK


def others(seconds):
    """As a Judge would see it: in the worst second."""
    begin = time.monotonic()
    time.sleep(seconds)
    return load.meter().most(begin)


class Load(unittest.TestCase):
    def setUp(self):
        load.meter()  # from now on it is measured

    def test_own_work_is_not_load(self):
        """Nor is that of a child which nobody waits for, nor that of children which come and go. Seen by what is counted as our own,
        as others may begin to work at any moment."""
        script = f"({COMPUTES}) & echo $!; exec >&-; while :; do /bin/true; done"
        own = load.Processes()
        with ended(subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)) as parent:
            child = int(parent.stdout.readline())
            parent.stdout.close()
            try:
                before, theirs = own.seconds(), used(parent.pid) + used(child)
                time.sleep(2)
                theirs = used(parent.pid) + used(child) - theirs
                during = own.seconds()
                self.assertGreater(theirs, 0.2)
                self.assertGreater(during - before, theirs - 0.1)
                parent.kill()  # the child is then init's
                parent.wait()
                theirs = used(child)
                self.assertGreater(own.seconds(), during - 0.1)
                time.sleep(2)
                theirs = used(child) - theirs
                self.assertGreater(theirs, 0.1)
                self.assertGreater(own.seconds() - during, theirs - 0.1)
            finally:
                os.kill(child, signal.SIGKILL)

    def test_others_work_is(self):
        """Also with the lowest priority that there is."""
        for prefix in ([], ["chrt", "--idle", "0"]):
            with ended(subprocess.Popen([*prefix, "sh", "-c", COMPUTES], env=os.environ | {load.MARK: ""},
                                        start_new_session=True)):
                self.assertGreater(others(4), 0.4, prefix)

    def test_another_checkout_is_others_work(self):
        with ended(computing(**{load.MARK: "/elsewhere"})):
            self.assertGreater(others(3), 0.4)


PROBE = '''
import pathlib, unittest, ticks
RUNS = pathlib.Path(__file__).with_name("runs")

class Probe(unittest.TestCase):
    def again(self, reason):
        with RUNS.open("a") as runs:
            runs.write("x")
        try:
            raise reason
        except ticks.Failed as inner:
            raise AssertionError("with evidence") from inner

    def test_once(self):
        if not RUNS.exists():
            self.again(ticks.Disturbed("late"))

    def test_sound(self):
        pass
'''


class Repeated(unittest.TestCase):
    """What run.py makes of a test that only load has failed."""

    def outcome(self, probe):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "tests/probe").mkdir(parents=True)
            shutil.copy(load.ROOT / "tests/run.py", folder / "tests")
            (folder / "tests/support").symlink_to(load.ROOT / "tests/support")
            (folder / "tests/probe/test_probe.py").write_text(probe)
            done = subprocess.run([sys.executable, folder / "tests/run.py", "probe", "/bin/true"], capture_output=True, text=True)
            return done.returncode, done.stdout

    def test_passes_then(self):
        code, said = self.outcome(PROBE)
        self.assertEqual(code, 0, said)
        self.assertTrue(said.endswith("2 passed, 0 failed\n"), said)
        self.assertIn("load: repeated: test_probe.Probe.test_once", said)

    def test_fails_again(self):
        code, said = self.outcome(PROBE.replace("if not RUNS.exists():", "if True:"))
        self.assertEqual(code, 1, said)
        self.assertTrue(said.endswith("1 passed, 1 failed\n"), said)

    def test_other_failures_are_not_repeated(self):
        code, said = self.outcome(PROBE.replace("Disturbed", "Failed"))
        self.assertEqual(code, 1, said)
        self.assertTrue(said.endswith("1 passed, 1 failed\n"), said)
        self.assertNotIn("repeated", said)


if __name__ == "__main__":
    unittest.main()
