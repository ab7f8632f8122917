#!/usr/bin/env python3
"""End-to-end tests of the command: run.py tools|e2e|guests build/PRESET/vmferry [NAME...]

    tools   against a real QEMU and recorded Xen guests
    guests  of the test guests themselves, under a real QEMU
    e2e     against real Xen hosts too, of the test bed

Runs tests/FOLDER/test_*.py (unittest); a NAME is a module or module.Class[.method]. The last line is "N passed, M failed"; a
test that was skipped counts as failed, because then a component that it needs was not there.
"""
import os
import pathlib
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ALSO = (HERE / "support", HERE / "guests", HERE.parent / "tools" / "testbed")


class Timed(unittest.TextTestResult):
    """Says of each test how long it took."""

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        self.stream.writeln(f"    {time.monotonic() - self.began:.1f} s")


def main():
    if len(sys.argv) < 3 or not (HERE / sys.argv[1]).is_dir() or not os.access(sys.argv[2], os.X_OK):
        print(__doc__, file=sys.stderr)
        return 2
    folder = HERE / sys.argv[1]
    vmferry = pathlib.Path(sys.argv[2]).resolve()
    os.environ["VMFERRY"] = str(vmferry)
    os.environ["WITNESS"] = str(vmferry.parent / "tests/guests/witness/witness.bin")
    sys.path[:0] = map(str, (folder, *ALSO))
    loader = unittest.TestLoader()
    names = sys.argv[3:] or sorted(file.stem for file in folder.glob("test_*.py"))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Timed).run(loader.loadTestsFromNames(names))
    failed = len(result.failures) + len(result.errors) + len(result.skipped) + len(result.unexpectedSuccesses)
    print(f"{max(result.testsRun - failed, 0)} passed, {failed} failed")
    return 1 if failed or result.testsRun == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
