# SPDX-License-Identifier: Apache-2.0
"""What is alike in every daemon a test runs: a process in its node's namespace, its ports, its metrics, its log."""
import http.client
import pathlib
import re

READY_S, EXIT_S = 30.0, 20.0

_SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Daemon:
    NAME, METRICS = "", 0  # of the program, and the port of its metrics

    def __init__(self, netns, folder):
        self.netns = netns
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_path = self.folder / "log"
        self.process = None

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """Without any goodbye."""
        self.process.kill()
        self.process.wait()

    def http(self, path, port, method="GET"):
        """(status, text)."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.sock = self.netns.socket()
        connection.sock.settimeout(5)
        try:
            connection.sock.connect(("127.0.0.1", port))
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def found(self, path, port):
        """Whether the path is answered with 200 by now; a process that has ended never will."""
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.NAME} ended with {self.process.returncode}:\n{self.log_tail()}")
        try:
            return self.http(path, port)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def metrics(self):
        """[(name, {label: value}, number)]."""
        out = []
        for line in self.http("/metrics", self.METRICS)[1].splitlines():
            sample = _SAMPLE.match(line)
            if sample:
                out.append((sample[1], dict(_LABEL.findall(sample[2] or "")), float(sample[3])))
        return out

    def metric(self, name, **labels):
        """The sum of the samples with these labels."""
        return sum(value for one, has, value in self.metrics() if one == name and labels.items() <= has.items())

    def log_tail(self, count=40):
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-count:])
