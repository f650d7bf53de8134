#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs end-to-end tests of this folder. Without root it exits 77 and says why; with WARREN_REQUIRE_ROOT=1 that is a failure.

    run.py                                   every file, one test after the other
    run.py policy_test.py                    one file
    run.py policy_test.py TestCase.test_name one test
    run.py --list policy_test.py             "TestCase.test_name" lines

WARREN_TESTS_FOLDER: another folder, for example tests/lab.
"""
import faulthandler
import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(os.environ.get("WARREN_TESTS_FOLDER", pathlib.Path(__file__).parent)).resolve()
sys.path.insert(0, str(HERE))
HANGS_S = 100  # below ctest's own timeout, so that a hang shows where


def module_of(file):
    """A file of this folder, or of another one by its path."""
    path = pathlib.Path(file)
    if path.parent != pathlib.Path():
        sys.path.insert(0, str(path.parent.resolve()))
    return path.stem


def tests_of(file):
    return unittest.defaultTestLoader.loadTestsFromName(module_of(file))


def each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def main(arguments):
    if arguments[:1] == ["--list"]:
        for test in each(tests_of(arguments[1])):
            print(test.id().split(".", 1)[1])
        return 0
    if os.geteuid() != 0:
        print("needs root: network namespaces, packet rules", flush=True)
        return 1 if os.environ.get("WARREN_REQUIRE_ROOT") == "1" else 77
    if len(arguments) == 2:
        suite = unittest.defaultTestLoader.loadTestsFromName(f"{module_of(arguments[0])}.{arguments[1]}")
        faulthandler.dump_traceback_later(HANGS_S, exit=False)
    else:
        files = arguments or sorted(path.name for path in HERE.glob("*_test.py"))
        suite = unittest.TestSuite(tests_of(file) for file in files)
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
    if result.skipped and not result.failures and not result.errors and result.testsRun == len(result.skipped):
        print(result.skipped[0][1], flush=True)
        return 77
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
