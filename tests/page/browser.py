# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium driven over a pipe by its debugging protocol: JSON messages, each ended by a zero byte, on its descriptors 3 and 4.
Nothing listens on a port, and nothing beyond the standard library is needed."""
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from waiting import eventually

NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
ANSWER_S = 30.0
HIGH = 100  # descriptors of ours, out of the way of 3 and 4


def binary():
    """Or a skipped test."""
    found = os.environ.get("WARREN_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        raise unittest.SkipTest("no Chromium; install the Debian package chromium-headless-shell, or name one by WARREN_CHROMIUM")
    return found


def _pipe():
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, HIGH) for end in ends)
    for end in ends:
        os.close(end)
    return high


class Browser:
    def __init__(self, netns=None):
        """netns: whose network it has; none: the test's."""
        program = binary()
        self.profile = tempfile.mkdtemp(prefix="wrt-browser-")
        child_in, self.to = _pipe()
        self.of, child_out = _pipe()
        # No sandbox: the test is root, and every byte that the browser shows is the test's own.
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                 "--remote-debugging-pipe", f"--user-data-dir={self.profile}", "about:blank")
        with netns.inside() if netns else contextlib.nullcontext():
            self.process = subprocess.Popen((program, *flags), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                            pass_fds=(3, 4), start_new_session=True,
                                            preexec_fn=lambda: (os.dup2(child_in, 3), os.dup2(child_out, 4)))
        os.close(child_in)
        os.close(child_out)
        self.buffer, self.number, self.events = b"", 0, []
        self.session = None

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)  # its helpers too, which write to the profile
        self.process.wait()
        os.close(self.to)
        os.close(self.of)
        eventually(self._profile_gone, self.profile)

    def _profile_gone(self):
        shutil.rmtree(self.profile, ignore_errors=True)
        return not os.path.exists(self.profile)

    def _message(self, end):
        while b"\0" not in self.buffer:
            if not select.select([self.of], [], [], max(0.0, end - time.monotonic()))[0]:
                raise RuntimeError("the browser does not answer")
            data = os.read(self.of, 1 << 20)
            if not data:
                raise RuntimeError(f"the browser has ended: {self.process.wait()}")
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def ask(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data):]
        end = time.monotonic() + ANSWER_S
        while True:
            got = self._message(end)
            if got.get("id") == self.number:
                if "error" in got:
                    raise AssertionError(f"{method}: {got['error']}")
                return got["result"]
            if "method" in got:
                self.events.append(got)

    def open(self, url):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.navigate", url=url)
        return self

    def eval(self, script):
        """The value of an expression, which may be a promise."""
        got = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise AssertionError(f"{script}: {got['exceptionDetails']}")
        return got["result"].get("value")

    def wait(self, script, what=None, deadline=20.0):
        return eventually(lambda: self.eval(script), lambda: f"{what or script}; {self.problems()}\n{self.eval('document.body.innerText')[:3000]}",
                          deadline)

    def size(self, width, height):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def scheme(self, scheme):
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def key(self, key):
        text = {"Enter": "\r"}.get(key, "")
        code = {"Tab": 9, "Enter": 13}[key]
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, text=text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def problems(self):
        """Exceptions, and what the browser itself complains of: blocked by policy, failed to load."""
        return [event["params"] for event in self.events
                if event["method"] == "Runtime.exceptionThrown" or event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error"]

    def requested(self):
        return [event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
