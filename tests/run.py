#!/usr/bin/env python3
"""End-to-end tests of the command: run.py tools|e2e|guests build/PRESET/vmferry [NAME...]

    tools   against a real QEMU and recorded Xen guests
    guests  of the test guests themselves, under a real QEMU
    e2e     against real Xen hosts too, of the test bed

Runs tests/FOLDER/test_*.py (unittest); a NAME is a module or module.Class[.method]. The last line is "N passed, M failed"; a
test that was skipped counts as failed, because then a component that it needs was not there. A test in which only a rule on
clocks did not hold, while the machine had other work (ticks.Disturbed), is repeated once at the end, alone; lines that begin
with "load:" say so, and what was excused for it.
"""
import os
import pathlib
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = map(str, (HERE / "support", HERE / "guests", HERE.parent / "tools" / "testbed"))
import load  # noqa: E402
import ticks  # noqa: E402


class Timed(unittest.TextTestResult):
    """Says of each test how long it took."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.again = []  # (name, why)

    def addError(self, test, error):
        if not self.disturbed(test, error):
            super().addError(test, error)

    def addFailure(self, test, error):
        if not self.disturbed(test, error):
            super().addFailure(test, error)

    def disturbed(self, test, error):
        if not ticks.is_disturbed(error[1]):
            return False
        self.again.append((test.id(), str(error[1])))
        self.stream.writeln(f"DISTURBED, to be repeated: {error[1]}")
        return True

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        self.stream.writeln(f"    {time.monotonic() - self.began:.1f} s")


class Repeated(Timed):
    """What fails now has failed."""

    def disturbed(self, test, error):
        return False


def main():
    if len(sys.argv) < 3 or not (HERE / sys.argv[1]).is_dir() or not os.access(sys.argv[2], os.X_OK):
        print(__doc__, file=sys.stderr)
        return 2
    folder = HERE / sys.argv[1]
    vmferry = pathlib.Path(sys.argv[2]).resolve()
    os.environ["VMFERRY"] = str(vmferry)
    os.environ["WITNESS"] = str(vmferry.parent / "tests/guests/witness/witness.bin")
    sys.path.insert(0, str(folder))
    load.meter()  # from now on it is measured
    loader = unittest.TestLoader()
    names = sys.argv[3:] or sorted(file.stem for file in folder.glob("test_*.py"))
    result = run(loader, names, Timed)
    failed = bad(result)
    if result.again:
        again = run(loader, [name for name, _ in result.again], Repeated)
        failed += max(bad(again), len(result.again) - again.testsRun)
        for name, why in result.again:
            print(f"load: repeated: {name}: {why.splitlines()[0]}")
    for line in ticks.Seen.words():
        print(f"load: {line}")
    print(f"{max(result.testsRun - failed, 0)} passed, {failed} failed")
    return 1 if failed or result.testsRun == 0 else 0


def run(loader, names, kind):
    return unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=kind).run(loader.loadTestsFromNames(names))


def bad(result):
    return len(result.failures) + len(result.errors) + len(result.skipped) + len(result.unexpectedSuccesses)


if __name__ == "__main__":
    sys.exit(main())
