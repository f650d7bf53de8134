# SPDX-License-Identifier: Apache-2.0
"""Stock Envoy in a pod's namespace, as a peer that was not made by us; its configurations are the templates in peers/."""
import os
import pathlib
import string
import unittest

from waiting import eventually

HERE = pathlib.Path(__file__).resolve().parent
BINARY = pathlib.Path(os.environ.get("WARREN_ENVOY") or HERE.parents[1] / "build/venv/bin/envoy")
ADMIN = 15000


class Envoy:
    def __init__(self, world, pod, template, identity, **values):
        if not BINARY.exists():
            raise unittest.SkipTest(f"{BINARY} is missing; tests/mesh/peers.sh installs it")
        self.pod, self.folder = pod, world.folder / f"envoy-{pod.name}"
        self.folder.mkdir()
        certificate, key = world.ca.issue(identity, f"envoy-{pod.name}")
        self.log, self.access_path = self.folder / "log", self.folder / "access"
        values |= {"certificate": certificate, "key": key, "ca": world.ca.certificate, "log": self.access_path}
        config = self.folder / "config.yaml"
        config.write_text(string.Template((HERE / "peers" / f"{template}.yaml").read_text()).substitute(values))
        self.process = pod.start(str(BINARY), "-c", str(config), "--disable-hot-restart", "--concurrency", "1", "-l", "warning",
                                 "--file-flush-interval-msec", "100", log=self.log,
                                 env={"PATH": os.environ["PATH"], "HOME": str(self.folder)})
        eventually(self._live, lambda: "Envoy\n" + self.log.read_text(), 20)

    def _live(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"Envoy ended with {self.process.returncode}:\n{self.log.read_text()}")
        return self.pod.run("curl", "-s", f"http://127.0.0.1:{ADMIN}/ready", check=False) == "LIVE\n"

    def access(self):
        return self.access_path.read_text().splitlines() if self.access_path.exists() else []

    def stat(self, name):
        text = self.pod.run("curl", "-s", f"http://127.0.0.1:{ADMIN}/stats?filter=^{name}$")
        return int(text.split(":")[1])
