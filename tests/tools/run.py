#!/usr/bin/env python3
"""End-to-end tests of the command, against a real QEMU: run.py build/PRESET/vmferry [NAME...]

Runs tests/tools/test_*.py (unittest); a NAME is a module or module.Class[.method]. The last line is "N passed, M failed"; a
test that was skipped counts as failed, because then a component that it needs was not there.
"""
import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent


def main():
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        print(__doc__, file=sys.stderr)
        return 2
    os.environ["VMFERRY"] = str(pathlib.Path(sys.argv[1]).resolve())
    sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
    loader = unittest.TestLoader()
    names = sys.argv[2:] or sorted(file.stem for file in HERE.glob("test_*.py"))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(loader.loadTestsFromNames(names))
    failed = len(result.failures) + len(result.errors) + len(result.skipped) + len(result.unexpectedSuccesses)
    print(f"{max(result.testsRun - failed, 0)} passed, {failed} failed")
    return 1 if failed or result.testsRun == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
