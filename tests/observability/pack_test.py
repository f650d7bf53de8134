# SPDX-License-Identifier: Apache-2.0
"""The observability pack: a real Prometheus scrapes the real daemons under load, and every panel and rule of the chart finds its data. And
the metrics pages themselves: valid, and as docs/metrics.md says."""
import json
import os
import pathlib
import re
import subprocess
import sys

import apps
from agent import METRICS as AGENT
from mesh import principal
from prometheus import PACK, Prometheus, program
from tunnel import METRICS as TUNNEL
from waiting import eventually
from world import MeshCase

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTROLLER = os.environ.get("WARREN_CONTROLLER") or str(ROOT / "build/dev/bin/warren-controller")
CONTROLLER_PORT = 15014
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
METRIC = re.compile(r"\b(?:warren|istio|citadel|pilot)_[a-z0-9_]+\b(?!\s*\()")

# What a well mesh without accidents has no series of: zero is not written before the first one.
QUIET = ("warren_controller_certificates_refused_total", "warren_limit_refusals_total", "warren_early_denies_total")


def panels():
    """(board, title, expression) with the boards' variables as Grafana would fill them in."""
    for path in sorted(PACK.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        for panel in board["panels"]:
            for target in panel["targets"]:
                text = target["expr"].replace("$__rate_interval", "10s")
                for variable in board["templating"]["list"]:
                    text = text.replace(f"${variable['name']}", ".*")
                yield path.stem, panel["title"], text


class Pack(MeshCase):
    settings = {"by_agent": True, "agent": {"same-node-mode": "direct", "flows-sample-period": "1s"}}

    def setUp(self):
        program("prometheus")
        super().setUp()

    def prepare(self):
        w = self.world
        for pod in (w.pods.near, w.pods.server, w.pods.client, w.pods.plain):
            w.server(pod, 7000)
        w.mesh.service("web", 1, [w.pods.server, w.pods.near], {"80": 7000})
        w.mesh.policy("no-7001", "Deny", [[[{"destinationPorts": [7001]}]]], pods=[w.pods.near, w.pods.server, w.pods.client])
        folder = w.folder / "source"
        folder.mkdir()
        (folder / "pods.yaml").write_text(json.dumps({"workloads": []}), encoding="utf-8")
        node = w.lab.nodes["n1"]
        self.controller = node.start(CONTROLLER, f"--state={w.folder / 'controller'}", f"--source-folder={folder}", "--insecure-demo",
                                     log=w.folder / "controller.log", env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"})

    def load(self):
        """One of each: same node, other node, service, plaintext in and out, refused here and there, no listener."""
        p = self.world.pods
        for pod, ip, port in ((p.client, p.near.v4, 7000), (p.client, p.server.v4, 7000), (p.server, p.client.v4, 7000), (p.client, "10.77.99.1", 80),
                              (p.plain, p.client.v6, 7000), (p.client, p.plain.v4, 7000), (p.client, p.near.v4, 7001), (p.server, p.client.v4, 7001),
                              (p.client, p.server.v4, 7999)):
            apps.call(pod, ip, port)

    def page(self, port, accept=""):
        """As curl gets it, so in the format that was asked for."""
        return self.world.lab.nodes["n1"].run("curl", "-sS", "-m5", "-H", f"accept: {accept}", f"http://127.0.0.1:{port}/metrics")

    def test_every_panel_and_every_rule_finds_its_data_under_load(self):
        w = self.world
        n1, n2 = w.lab.nodes["n1"].v4, w.lab.nodes["n2"].v4
        prometheus = w.keep(Prometheus(w.lab.nodes["n1"], w.folder / "prometheus", {
            "warren-agent": [f"{n1}:{AGENT}", f"{n2}:{AGENT}"], "warren-ztunnel": [f"{n1}:{TUNNEL}", f"{n2}:{TUNNEL}"],
            "warren-controller": [f"{n1}:{CONTROLLER_PORT}"]}))
        eventually(lambda: self.load() or len(prometheus.query("up == 1")) == 5,
                   lambda: [(t["scrapeUrl"], t["lastError"]) for t in prometheus.api("targets")["activeTargets"]], 20)
        wanted = list(panels())
        self.assertGreater(len(wanted), 30)
        missing = {}

        def all_there():
            self.load()
            missing.clear()
            for board, title, expression in wanted:
                quiet = set(METRIC.findall(expression)) & set(QUIET)
                if not prometheus.query(expression) and not quiet:
                    missing[f"{board}: {title}"] = expression
            return not missing
        eventually(all_there, lambda: json.dumps(missing, indent=1), 30)

        groups = prometheus.api("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.assertGreater(len(rules), 10)
        eventually(lambda: all(rule["health"] == "ok" for group in prometheus.api("rules")["groups"] for rule in group["rules"]),
                   lambda: prometheus.api("rules"))
        there = set(prometheus.api("label/__name__/values"))
        for rule in rules:
            if rule["type"] == "recording":
                eventually(lambda name=rule["name"]: prometheus.query(name), rule["name"])
            for metric in METRIC.findall(rule["query"]):
                self.assertIn(metric, there | set(QUIET), rule["name"])
        self.assertEqual([rule["name"] for rule in rules if rule["type"] == "alerting" and rule["alerts"]], [], "a well mesh alarms nobody")

        w.n1.process.kill()
        eventually(lambda: prometheus.query('ALERTS{alertname="WarrenTunnelMissing"}'), lambda: prometheus.query("warren_agent_tunnels"), 20)
        w.tunnels.pop("n1").process.wait()

    def test_the_metrics_pages_are_valid_and_as_the_reference_says(self):
        w = self.world
        eventually(lambda: w.agents["n1"].status()["tables"]["verdict_pairs"] >= 2, lambda: w.agents["n1"].status()["tables"])
        self.load()
        for agent in w.agents.values():
            agent.wait_flows(1, path="tunnel", close_reason="finished")
        w.agents["n1"].wait_flows(1, path="direct", close_reason="finished")
        files = []
        for part, port in (("agent", AGENT), ("ztunnel", TUNNEL), ("controller", CONTROLLER_PORT)):
            eventually(lambda p=port: self.page(p), "its page")
            text = self.page(port, OPENMETRICS)
            self.assertTrue(text.endswith("# EOF\n"), text[-200:])
            heads = re.findall(r"^# TYPE (\S+)", text, re.M)
            self.assertEqual(sorted(heads), sorted(set(heads)), "a family once")
            samples = re.findall(r"^([^#\s]\S*(?: [^ ]+)*) \S+$", text, re.M)
            self.assertEqual(len(samples), len(set(samples)), "a series once")
            path = w.folder / f"{part}.metrics"
            path.write_text(text, encoding="utf-8")
            files.append(f"{part}={path}")
            # The linter reads the older format; the tunnel answers with the newer one alone, as the reference does (contract 9.6).
            if part != "ztunnel":
                done = subprocess.run([program("promtool"), "check", "metrics"], input=self.page(port), text=True, capture_output=True, check=False)
                self.assertIn(done.returncode, (0, 3), done.stderr)  # 3: matters of taste, looked at below
                self.assertEqual([line for line in done.stderr.splitlines() if line.startswith("warren_") and "no help text" in line], [])
        reference = [sys.executable, "-B", str(ROOT / "tools/metrics_reference.py")]
        if os.environ.get("UPDATE_GOLDEN") == "1":
            subprocess.run([*reference, "update", *files], check=True)
        done = subprocess.run([*reference, "check", *files], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_promtool_finds_no_fault_with_rules_and_scrape_example(self):
        # Debian's Prometheus is built without the discovery of Kubernetes; the rest of the example is checked with fixed targets.
        example = self.world.folder / "scrape.yaml"
        text = (PACK / "scrape.yaml").read_text(encoding="utf-8")
        self.assertEqual(text.count("kubernetes_sd_configs: [{role: pod}]"), 3)
        example.write_text(text.replace("kubernetes_sd_configs: [{role: pod}]", 'static_configs: [{targets: ["localhost:1"]}]'), encoding="utf-8")
        for command in (["check", "rules", str(PACK / "rules.yaml")], ["check", "config", "--syntax-only", str(example)]):
            done = subprocess.run([program("promtool"), *command], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
