# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus in a node's namespace: scrapes every second, knows the chart's rules, answers queries."""
import http.client
import json
import pathlib
import shutil
import unittest
import urllib.parse

from waiting import eventually

PACK = pathlib.Path(__file__).resolve().parents[2] / "charts/warren/dashboards"
PORT = 19090


def program(name):
    """Or a skipped test."""
    found = shutil.which(name)
    if not found:
        raise unittest.SkipTest(f"no {name}; install the Debian package prometheus")
    return found


class Prometheus:
    def __init__(self, node, folder, targets):
        """targets: {job: ["address:port"]}."""
        self.node, self.folder = node, pathlib.Path(folder)
        self.folder.mkdir()
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}, "rule_files": [str(PACK / "rules.yaml")],
                  "scrape_configs": [{"job_name": job, "static_configs": [{"targets": where}]} for job, where in targets.items()]}
        (self.folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
        self.process = node.start(program("prometheus"), f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
                                  f"--web.listen-address=127.0.0.1:{PORT}", log=self.folder / "log")
        eventually(self.answers, lambda: (self.folder / "log").read_text(), 20)

    def close(self):
        self.process.kill()
        self.process.wait()

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError((self.folder / "log").read_text())
        try:
            return bool(self.api("query", query="1"))
        except (OSError, json.JSONDecodeError):
            return False

    def api(self, what, **parameters):
        """The data of an answer. AssertionError with Prometheus' own words otherwise."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
        connection.sock = self.node.socket()
        connection.sock.settimeout(10)
        connection.sock.connect(("127.0.0.1", PORT))
        try:
            connection.request("GET", f"/api/v1/{what}?{urllib.parse.urlencode(parameters)}")
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if answer["status"] != "success":
            raise AssertionError(f"{parameters}: {answer['error']}")
        return answer["data"]

    def query(self, expression):
        return self.api("query", query=expression)["result"]
