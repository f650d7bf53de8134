# SPDX-License-Identifier: Apache-2.0
"""What a test of the lab stands on: the lab's own modules, a lab that is up for one test, and its command line as a process."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/lab"))
import kernel  # noqa: E402
import shop  # noqa: E402,F401
import story  # noqa: E402,F401
from place import Place  # noqa: E402
from world import Lab  # noqa: E402

BINARIES = pathlib.Path(os.environ.get("WARREN_BIN") or ROOT / "build/dev/bin")
COMMAND = [sys.executable, "-B", str(ROOT / "tools/lab/lab.py"), "--bin", str(BINARIES)]
DEADLINE = 200
_numbers = iter(range(100))


def name():
    return f"t{os.getpid()}x{next(_numbers)}"


class LabCase(unittest.TestCase):
    maxDiff = None

    def fresh(self):
        """A name; at the end nothing of it may be left, and nothing is."""
        made = name()
        self.addCleanup(lambda: Lab(made, BINARIES).down())
        return made

    def lab(self, **settings):
        lab = Lab(self.fresh(), BINARIES)
        lab.up(**settings)
        self.addCleanup(self._logs_on_failure, lab)
        return lab

    def _logs_on_failure(self, lab):
        result = self._outcome.result
        if any(getattr(test, "test_case", test) is self for test, _ in result.failures + result.errors):
            for path in sorted(lab.folder.glob("*.log")):
                lines = [line for line in path.read_text(errors="replace").splitlines() if '"scope":"access"' not in line or '"error"' in line]
                print(f"-- {path}", *lines[-40:], sep="\n", file=sys.stderr)

    def start(self, *words, before=(), stdin=None):
        process = subprocess.Popen([*before, *COMMAND, *map(str, words)], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process

    def command(self, *words, code=0, before=()):
        """(stdout, stderr) of the lab's command line."""
        process = self.start(*words, before=before)
        out, err = process.communicate(timeout=DEADLINE)
        self.assertEqual(process.returncode, code, f"{words}\n{out}{err}")
        return out, err

    def refused(self, *words, before=()):
        """The one sentence with which a command does nothing."""
        out, err = self.command(*words, code=1, before=before)
        self.assertRegex(err, r"\Awarren lab: [^\n]+\n\Z", out)
        return err

    def nothing_left(self, lab):
        self.assertEqual(Place(lab).leftovers(), [])

    def folder(self):
        made = tempfile.TemporaryDirectory(prefix="wlt-")
        self.addCleanup(made.cleanup)
        return pathlib.Path(made.name)

    def pages(self, lab, count, deadline=60):
        """So many more pages of the load generator."""
        wanted = lab.load()["ok"] + count
        kernel.eventually(lambda: lab.load()["ok"] >= wanted, lambda: f"{count} pages more: {lab.load()}", deadline)

    def none_failed(self, lab):
        load = lab.load()
        self.assertEqual((load["failed"], load["reasons"], load["when"]), (0, {}, []))


def sent_bytes(lab, source, destination, port):
    """What the kernel says that an open connection has sent."""
    out = subprocess.run(["ip", "netns", "exec", lab.netns(source), "ss", "-Htni", "dst", f"{destination}:{port}"], capture_output=True, text=True,
                         check=True).stdout
    return int(re.search(r"bytes_sent:(\d+)", out)[1])
