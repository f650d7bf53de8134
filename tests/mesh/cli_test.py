# SPDX-License-Identifier: Apache-2.0
"""The command line against real daemons: what it says is what they know, and every line of its page runs."""
import json
import os
import pathlib
import re
import subprocess
import time

import apps
from waiting import eventually
from world import MeshCase
from mesh import principal

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("WARREN_CLI") or str(ROOT / "build/dev/bin/warren")
DIRECT = {"same-node-mode": "direct", "flows-sample-period": "1s"}
# Of the page's lines, those whose answer is that there is something to act on; for checks that depends on the machine.
# tests/cluster/chart_test.py does what these do.
IN_CLUSTER = re.compile(r"warren (install|upgrade|uninstall)\b|warren .*--(cluster|on-node)\b")
FINDS = ("warren check", "warren policy diff policies.yaml", "warren policy audit", "--plaintext")


class CommandLine(MeshCase):
    def prepare(self):
        w = self.world
        w.server(w.pods.near, 7000)
        w.server(w.pods.server, 7000)
        w.mesh.policy("shut", "Deny", [[[{"destinationPorts": [7009]}]]], pods=[w.pods.near])
        w.mesh.policy("proven", "Deny", [[[{"notPrincipals": [{"Presence": []}]}]]], pods=[w.pods.near])
        w.mesh.service("web", 1, [w.pods.server], {"80": 7000})

    def environment(self):
        return {"PATH": f"{pathlib.Path(BINARY).parent}:{os.environ['PATH']}", "WARREN_NETNS": self.world.lab.nodes["n1"].netns}

    def warren(self, *arguments, code=0):
        done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=30, env=self.environment(), cwd=self.world.folder, check=False)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done.stdout


class OfTheTunnel(CommandLine):
    def test_tables_show_what_the_tunnel_knows(self):
        w = self.world
        names = {row.split()[1] for row in self.warren("workloads", "-n", "default").splitlines()[1:]}
        self.assertLessEqual({"client", "near", "server", "other"}, names)
        self.assertEqual(json.loads(self.warren("policies", "-o", "json")), w.n1.config_dump()["policies"])
        self.assertIn("1/1", next(row for row in self.warren("services").splitlines() if " web " in row))
        connection = w.connect(w.pods.client, "10.77.99.1", 80)
        apps.ask(connection)
        self.assertRegex(self.warren("connections"), r"client\.default +Outbound +client\.default:\d+ +server\.default:15008 +web\S*:80 +HBONE")
        self.assertRegex(self.warren("certs"), r"sa/client +Leaf +Available +true")

    def test_questions_about_policies_are_answered_from_the_tunnels_mesh(self):
        self.warren("policy", "explain", "default/client", "default/near", "7000")
        self.assertIn("default/shut", self.warren("policy", "explain", "default/client", "default/near", "7009", code=3))

    def test_a_log_level_changes_what_is_logged(self):
        w = self.world
        self.warren("log-level", "--of", "tunnel", "access:debug")
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        eventually(lambda: w.n1.access("connection opened", direction="outbound"), "the debug line")
        self.warren("log-level", "--of", "tunnel", "--reset")
        self.assertNotIn("access", self.warren("log-level", "--of", "tunnel"))


class OfTheAgent(CommandLine):
    settings = {"by_agent": True, "agent": DIRECT}

    @property
    def agent(self):
        return self.world.agents["n1"]

    def environment(self):
        return {**super().environment(), "WARREN_FLOWS_SOCKET": str(self.agent.run_dir / "flows.sock")}

    def talk(self):
        """One allowed on this node, one refused, one through the tunnel."""
        w = self.world
        eventually(lambda: self.agent.status()["tables"]["verdict_pairs"] >= 4, lambda: self.agent.status()["tables"])
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7009), "refused")
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        self.agent.wait_flows(1, close_reason="policy_denied")
        self.agent.wait_flows(1, path="direct", close_reason="finished")

    def test_flows_are_those_the_agent_recorded(self):
        self.talk()
        denied = [json.loads(line) for line in self.warren("flows", "--verdict", "denied", "-o", "json").splitlines()]
        self.assertEqual({flow["decision"].get("policy") for flow in denied}, {"default/shut"}, denied)
        self.assertIn("default/near:7000", self.warren("flows", "--path", "direct", "--since", "1m"))
        live = [json.loads(line) for line in self.warren("flows", "--follow", "--limit", "2", "-o", "json", "--from", "default/client").splitlines()]
        self.assertEqual({flow["source"]["name"] for flow in live}, {"client"})
        busiest = json.loads(self.warren("top", "-o", "json"))
        self.assertEqual(sum(pair["denied"] for pair in busiest), len(denied))

    def test_policy_diff_tells_beforehand_what_happens_afterwards(self):
        w = self.world
        self.talk()
        rules = [[[{"principals": [principal(w.pods.client)]}]]]
        (w.folder / "policies.yaml").write_text(json.dumps({"policies": [
            {"name": "shut", "namespace": "default", "scope": "WorkloadSelector", "action": "Deny", "dryRun": False, "rules": rules}]}))
        changes = json.loads(self.warren("policy", "diff", "policies.yaml", "-o", "json", code=3))["changes"]
        self.assertEqual([(c["from"], c["to"], c["would_be"], c["policy"]) for c in changes],
                         [("default/client", "default/near:7000", "denied", "default/shut")])
        w.mesh.policy("shut", "Deny", rules, pods=[w.pods.near])
        w.change()
        eventually(lambda: apps.call(w.pods.client, w.pods.near.v4, 7000) == "refused", "refused, as foretold")

    def test_status_and_check_agree_with_the_agent(self):
        eventually(lambda: self.agent.status()["ready"], "the agent is ready")
        status = json.loads(self.warren("status", "-o", "json"))
        self.assertEqual(status["agent"]["instance"], self.agent.instance)
        self.assertEqual(status["tunnel"]["workloads"], len(self.world.n1.config_dump()["workloads"]))
        found = subprocess.run([BINARY, "check", "-o", "json"], capture_output=True, text=True, timeout=60, env=self.environment(), check=False)
        ports = [f for f in json.loads(found.stdout)["findings"] if f["area"] == "ports"]
        self.assertEqual([(f["severity"], f["what"].split(" is ")[1]) for f in ports],
                         [("ok", "warren-ztunnel's")] * 3 + [("ok", "warren-agent's")] * 3)
        self.assertFalse([f for f in json.loads(found.stdout)["findings"] if f["area"] in ("agent", "hooks", "certs") and f["severity"] in ("warning", "error")])

    def test_every_line_of_the_page_runs(self):
        w = self.world
        self.talk()
        eventually(lambda: self.agent.status()["ready"], "the agent is ready")
        (w.folder / "policies.yaml").write_text(json.dumps({"policies": [
            {"name": "shut", "namespace": "default", "scope": "WorkloadSelector", "action": "Deny", "dryRun": False, "rules": [[]]}]}))
        lines, inside = [], False
        for line in (ROOT / "docs/cli.md").read_text(encoding="utf-8").splitlines():
            if line.startswith("```"):
                inside = line == "```sh"
            elif inside and not IN_CLUSTER.match(line):
                lines.append(line)
        self.assertGreater(len(lines), 30)
        for line in lines:
            with self.subTest(line):
                began = time.monotonic()
                done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, env=self.environment(), cwd=w.folder, check=False)
                allowed = (0, 3) if any(part in line for part in FINDS) else (0,)
                self.assertIn(done.returncode, allowed, (line, done.stdout, done.stderr, time.monotonic() - began))
                self.assertTrue(done.stdout or ">" in line, line)
