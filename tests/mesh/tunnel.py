# SPDX-License-Identifier: Apache-2.0
"""One warren-ztunnel as a process in its node's namespace: started, waited for, asked by its ports, ended by SIGTERM with exit code 0."""
import json
import os
import pathlib
import signal
import time

from daemon import EXIT_S, READY_S, Daemon
from waiting import PATIENCE_S, eventually

BINARY = os.environ.get("WARREN_ZTUNNEL") or str(pathlib.Path(__file__).resolve().parents[2] / "build/dev/bin/warren-ztunnel")
ADMIN, METRICS, READINESS = 15000, 15020, 15021


class Tunnel(Daemon):
    NAME, METRICS = "warren-ztunnel", METRICS

    def __init__(self, netns, folder, env, launcher=()):
        """netns: the node, or a pod for a dedicated tunnel. env: on top of what every lab tunnel has. launcher: a command that executes it."""
        super().__init__(netns, folder)
        # Nothing of the test's own environment: a setting of the caller's shell must not change a verdict.
        self.env = {"PATH": os.environ["PATH"], "PROXY_MODE": "shared", "XDS_ADDRESS": "", "CA_ADDRESS": "", "LOG_FORMAT": "json",
                    "CONNECTION_TERMINATION_DEADLINE": "2s", "WARREN_DUMPABLE": "true", **env}
        # Of a sanitizer build; the program's system call filter does not let the leak detector trace it.
        self.env |= {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1", "TSAN_OPTIONS": "halt_on_error=1:ignore_noninstrumented_modules=1"}
        self.launcher = launcher

    def start(self, *arguments):
        if not os.access(BINARY, os.X_OK):
            raise AssertionError(f"{BINARY} is missing; build target warren-ztunnel or name it by WARREN_ZTUNNEL")
        self.process = self.netns.start(*self.launcher, BINARY, *arguments, env=self.env, log=self.log_path)
        return self

    @property
    def pid(self):
        return self.process.pid

    # -- its ports

    def ready(self):
        return self.found("/healthz/ready", READINESS)

    def wait_ready(self):
        eventually(self.ready, lambda: "readiness\n" + self.log_tail(), READY_S)
        return self

    def config_dump(self):
        return json.loads(self.http("/config_dump", ADMIN)[1])

    # -- its log

    def lines(self):
        out = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                out.append(json.loads(line))
            except ValueError:
                out.append({"message": line})
        return out

    def access(self, message="connection complete", **match):
        """Access log lines; src_addr stands for the key src.addr."""
        match = {key.replace("_", ".", 1) if key.startswith(("src_", "dst_")) else key: value for key, value in match.items()}
        return [line for line in self.lines()
                if line.get("scope") == "access" and line.get("message") == message and all(line.get(k) == v for k, v in match.items())]

    def wait_access(self, count=1, deadline=PATIENCE_S, **match):
        """At least so many of them, once they are there."""
        def enough():
            found = self.access(**match)
            return found if len(found) >= count else None
        return eventually(enough, lambda: f"{count} access line(s) {match}\n{self.log_tail()}", deadline)

    # -- the kernel's view

    def resident_bytes(self):
        pages = int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # -- its end

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait_exit(self, deadline=EXIT_S):
        """Ends by itself within the deadline, with 0; the seconds that took."""
        begin = time.monotonic()
        eventually(lambda: self.process.poll() is not None, lambda: f"exit of warren-ztunnel\n{self.log_tail()}", deadline)
        if self.process.returncode != 0:
            raise AssertionError(f"warren-ztunnel ended with {self.process.returncode}\n{self.log_tail()}")
        return time.monotonic() - begin

def tunnel_sockets(netns, port=15008):
    """How many established TCP connections to a peer's port the namespace has."""
    out = netns.run("ss", "-Htn", "state", "established", f"( dport = :{port} )")
    return len(out.splitlines())


def listens(netns, port):
    """Somebody accepts at that port of the namespace. Asked of the kernel: a connect by hand is refused where the agent captures."""
    return bool(netns.run("ss", "-Hltn", f"sport = :{port}").strip())
