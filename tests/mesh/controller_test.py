# SPDX-License-Identifier: Apache-2.0
"""Two nodes outside of Kubernetes under warren-controller, which reads one folder: each agent joins with a bootstrap token and has the mesh
over TLS by its own certificate; its tunnel shows the same one to the certificate service."""
import json
import os
import pathlib
import re
import subprocess
import time
import unittest

import apps
from agent import Agent
from ca import Authority
from waiting import Stopwatch, eventually
from world import MeshCase, World
from xds import PYTHON

BINARY = os.environ.get("WARREN_CONTROLLER") or str(pathlib.Path(__file__).resolve().parents[2] / "build/dev/bin/warren-controller")
ASK = str(pathlib.Path(__file__).with_name("ask_certificate.py"))
XDS = 15012
HOST = "istiod.istio-system.svc"


class Folder:
    """The mesh as files of the controller: World writes pods and policies to it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.pods, self.path = {}, str(self.folder)

    def pod(self, pod, **_):
        self.pods[pod.name] = {"name": pod.name, "namespace": pod.namespace, "serviceAccount": pod.account, "node": pod.node.name,
                               "addresses": [pod.v4, pod.v6], "labels": {"app": pod.name}}

    def put(self, name, text):
        beside = self.folder / f".{name}"
        beside.write_text(text)
        beside.rename(self.folder / name)

    def write(self):
        self.put("pods.yaml", json.dumps({"workloads": list(self.pods.values())}))


class ControllerWorld(World):
    """The controller runs in the first node's namespace. settings: its flags."""

    def __init__(self, settings=()):
        super().__init__(by_agent=True)
        self.mesh = Folder(self.folder / "mesh")
        for pod in self.enrolled:
            self.mesh.pod(pod)
        self.state = self.folder / "controller"
        self.settings = settings
        self.roots = {}  # of an agent that is given others

    def start_controller(self):
        self.home = self.lab.nodes["n1"]
        self.controller = self.home.start(BINARY, f"--state={self.state}", f"--source-folder={self.mesh.path}", "--log-format=json",
                                          "--dumpable=true", *self.settings, log=self.folder / "controller.log",
                                          env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"})
        eventually(lambda: (self.state / "public/root-cert.pem").exists() and "warren-controller is up" in self.log(), self.log)

    def start(self):
        self.mesh.write()
        self.start_controller()
        for name in self.lab.nodes:
            self.token(name)
        return super().start()

    @property
    def where(self):
        return f"{self.home.v4}:{XDS}"

    @property
    def root(self):
        return str(self.state / "public/root-cert.pem")

    def token_file(self, node):
        return self.folder / f"{node}.token"

    def token(self, node, *more):
        """A new one in the node's file."""
        name = f"{node}-{len(list(self.folder.glob('*.used')))}"
        (self.folder / f"{name}.used").touch()
        self.token_file(node).write_text(self.command("token", "create", name, "--node", node, *more))
        return name

    def command(self, *words):
        done = subprocess.run([BINARY, *words, f"--state={self.state}"], capture_output=True, text=True, timeout=20, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{words}: {done.stdout}{done.stderr}")
        return done.stdout

    def log(self):
        path = self.folder / "controller.log"
        return path.read_text() if path.exists() else ""

    def audit(self, **match):
        lines = [json.loads(line) for line in (self.state / "audit.log").read_text().splitlines()]
        return [line for line in lines if all(wanted in str(line) for wanted in match.values())]

    def start_agent(self, node, pods):
        more = {"mesh-file": "", "xds-revocations": str(self.revocations(node.name)), "xds-address": f"https://{self.where}", "xds-roots": self.roots.get(node.name, self.root),
                "xds-alternative-host": HOST, "join-token": str(self.token_file(node.name)), "state-dir": str(self.folder / f"{node.name}.state")}
        agent = Agent(node, self.lab.prefix, self.folder / f"agent-{node.name}", "", {**self.agent_settings, **more})
        agent.enrol(*pods)
        return agent.start().wait_answers()

    def revocations(self, node):
        return self.folder / f"{node}-crl.pem"

    def node_file(self, node):
        return self.folder / f"{node}.state" / "node.pem"

    def tunnel_env(self, node):
        return {"NODE_NAME": node, **self.agents[node].tunnel_env(), "CA_ADDRESS": f"https://{self.where}", "CA_ROOT_CA": self.root,
                "ALT_CA_HOSTNAME": HOST, "WARREN_NODE_CERT": str(self.node_file(node)), "CRL_PATH": str(self.revocations(node))}


class Joined(MeshCase):
    flags = ()

    def setUp(self):
        self.world = ControllerWorld(self.flags)
        self.addCleanup(self.world.close)
        self.addCleanup(self._logs_on_failure)
        self.server = self.world.pods.server
        self.world.server(self.server, 7000)
        self.prepare()
        self.world.start()

    def call(self, pod):
        return apps.call(pod, self.server.v4, 7000)

    def join_of(self, node):
        return self.world.agents[node].status()["join"]

    def wait_error(self, node, text):
        eventually(lambda: text in self.join_of(node).get("error", ""), lambda: f"{text!r} in {self.join_of(node)}")


class UnderController(Joined):
    def test_pods_talk_and_an_edit_of_the_folder_denies_within_a_second(self):
        w = self.world
        self.assertEqual(self.call(w.pods.client), "answered")
        line = w.n2.wait_access(direction="inbound")[0]
        self.assertEqual(line["src.identity"], w.pods.client.identity)
        deny = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "no-client", "namespace": "default"},
                "spec": {"action": "DENY", "selector": {"matchLabels": {"app": "server"}},
                         "rules": [{"from": [{"source": {"principals": [w.pods.client.identity.removeprefix("spiffe://")]}}]}]}}
        took = Stopwatch()
        w.mesh.put("deny.yaml", json.dumps(deny))
        eventually(lambda: self.call(w.pods.client) != "answered", "the denial")
        self.assertLess(took.seconds(), 1)
        # A policy and who is under it are two messages: between them everybody is refused.
        eventually(lambda: self.call(w.pods.near) == "answered", "the one who is not denied")
        # The control plane dies: what is denied stays denied, what talks goes on.
        w.controller.kill()
        w.controller.wait()
        self.assertNotEqual(self.call(w.pods.client), "answered")
        self.assertEqual(self.call(w.pods.near), "answered")

    def test_a_node_goes_on_with_its_certificate_without_the_token_and_across_restarts(self):
        w = self.world
        self.assertEqual(self.call(w.pods.client), "answered")
        for node in ("n1", "n2"):
            joined = self.join_of(node)
            self.assertEqual((joined["joined"], joined["identity"]), (True, f"spiffe://cluster.local/node/{node}"))
            self.assertEqual(joined["renewals"], 1)
            self.assertEqual(w.node_file(node).stat().st_mode & 0o777, 0o600)
            key = re.search(r"PRIVATE KEY-----\n(\S{40})", w.node_file(node).read_text())[1]
            for log in (w.agents[node].log_path, w.tunnels[node].log_path, w.folder / "controller.log"):
                self.assertNotIn(key, log.read_text())
            self.assertNotIn(key, w.tunnels[node].http("/config_dump", 15000)[1])
        w.command("token", "revoke", "n2-1")
        w.token_file("n2").unlink()
        w.controller.kill()
        w.controller.wait()
        w.start_controller()
        w.agents["n2"].away()
        w.agents["n2"].back()
        w.agents["n2"].wait_ready()
        eventually(lambda: w.agents["n2"].status()["mesh"]["connected"], "the stream")
        self.assertEqual(self.join_of("n2")["renewals"], 0)
        # A new workload's identity on that node: certificates are signed as before.
        w.tunnels["n2"].terminate()
        w.tunnels["n2"].wait_exit()
        w.tunnels["n2"].start().wait_ready()
        eventually(lambda: self.call(w.pods.client) == "answered", "an answer")
        self.assertEqual(w.tunnels["n2"].config_dump()["certificates"][0]["state"], "Available")

    def test_a_node_may_not_have_the_identity_of_another_nodes_workload(self):
        w = self.world
        if not os.access(PYTHON, os.X_OK):
            self.skipTest("no build/venv: tests/agent/xds/peers.sh makes it")
        def asked(node, identity):
            return w.lab.nodes[node].run(PYTHON, "-B", ASK, w.where, w.root, str(w.node_file(node)), identity).strip()
        self.assertEqual(asked("n1", w.pods.client.identity), "issued")
        refusal = asked("n2", w.pods.client.identity)
        self.assertTrue(refusal.startswith("UNAUTHENTICATED"), refusal)
        lines = w.audit(caller="node/n2", reason="is known to run on node")
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(w.pods.client.identity, str(lines[0]))
        self.assertTrue(asked("n2", "spiffe://cluster.local/node/n1").startswith("UNAUTHENTICATED"))


class Pages(Joined):
    def test_metrics_are_compressed_for_who_takes_gzip(self):
        w = self.world
        eventually(lambda: self.call(w.pods.client) == "answered", "an answer")
        node = w.lab.nodes["n1"]
        for port in (15014, 15020, 15031):  # controller, tunnel, agent
            url = f"http://127.0.0.1:{port}/metrics"
            plain = node.run("curl", "-sf", url)
            packed = int(node.run("curl", "-sf", "-H", "Accept-Encoding: gzip", "-o", "/dev/null", "-w", "%{size_download}", url))
            self.assertLess(packed, len(plain) / 2, port)
            families = {line.split()[2] for line in plain.splitlines() if line.startswith("# TYPE")}
            unpacked = node.run("curl", "-sf", "--compressed", url)
            self.assertEqual({line.split()[2] for line in unpacked.splitlines() if line.startswith("# TYPE")}, families)


class RevokedWorkload(Joined):
    """A certificate that an operator revokes at the controller is worth nothing on any node, without anything carried there by hand."""

    def serial(self, node, pod):
        certificates = [one for one in self.world.tunnels[node].config_dump()["certificates"] if one["identity"] == pod.identity]
        return f"{int(certificates[0]['certChain'][0]['serialNumber']):x}"

    def revocations(self, node):
        return self.world.agents[node].status()["revocations"]

    def test_a_revoked_certificate_ends_its_connections_on_other_nodes_and_stays_revoked(self):
        w = self.world
        connection = w.connect(w.pods.client, self.server.v4, 7000)
        beside = w.connect(w.pods.near, self.server.v4, 7000)
        apps.ask(connection)
        apps.ask(beside)
        self.assertEqual(self.revocations("n2")["lists"], 0)
        revoked = w.state / "authority/revoked"
        revoked.write_text(f"serial {self.serial('n1', w.pods.client)}\n")
        self.assertIn(apps.end_of(connection), ("reset", "closed"))
        self.assertNotEqual(self.call(w.pods.client), "answered")
        apps.ask(beside)
        for node in ("n1", "n2"):
            eventually(lambda n=node: self.revocations(n)["serials"] == 1, lambda n=node: str(self.revocations(n)))
            self.assertEqual(w.revocations(node).read_text(), (w.state / "public/ca-crl.pem").read_text())
        # Neither an agent that begins anew nor a control plane that is gone brings it back.
        w.controller.kill()
        w.controller.wait()
        w.agents["n2"].away()
        w.agents["n2"].back()
        eventually(lambda: self.revocations("n2")["serials"] == 1, "what the file holds")
        self.assertNotEqual(self.call(w.pods.client), "answered")
        # Only the operator does: who was revoked may come again.
        w.start_controller()
        revoked.write_text("")
        eventually(lambda: self.revocations("n2")["serials"] == 0, lambda: str(self.revocations("n2")), 40)
        eventually(lambda: self.call(w.pods.client) == "answered", "an answer", 40)
        self.assertEqual(self.revocations("n2")["refused"], 0)

    def test_what_the_file_lost_or_cannot_take_is_written_again(self):
        w = self.world
        agent, path = w.agents["n2"], w.revocations("n2")
        path.mkdir()  # nothing can be put in its place
        (w.state / "authority/revoked").write_text("serial 0102030405\n")
        eventually(lambda: self.revocations("n2")["failures"] >= 1, lambda: str(self.revocations("n2")))
        self.assertIn(str(path), self.revocations("n2")["error"])
        self.assertGreaterEqual(agent.metric("warren_agent_revocation_write_failures_total"), 1)
        path.rmdir()
        eventually(lambda: self.revocations("n2")["serials"] == 1, lambda: str(self.revocations("n2")), 60)
        self.assertNotIn("error", self.revocations("n2"))
        self.assertEqual(agent.metric("warren_agent_revoked_serials"), 1)


class RevokedNode(Joined):
    flags = ("--ca-lifetime=1m",)

    def test_a_revoked_node_loses_its_stream_within_a_minute_and_is_renewed_no_more(self):
        w = self.world
        self.assertEqual(self.call(w.pods.client), "answered")
        (w.state / "authority").mkdir(exist_ok=True)
        (w.state / "authority/revoked").write_text("node n2\n")
        begin = time.monotonic()
        eventually(lambda: "the client may not go on" in w.log(), w.log, 60)
        eventually(lambda: not w.agents["n2"].status()["mesh"]["connected"], "the end of the stream")
        self.assertLess(time.monotonic() - begin, 60)
        self.assertTrue(w.agents["n1"].status()["mesh"]["connected"])
        # Half of its minute is over: the renewal is refused, with the reason in the audit log.
        eventually(lambda: self.join_of("n2")["failures"] > 0, lambda: str(self.join_of("n2")), 40)
        self.assertTrue(self.join_of("n2")["joined"], "the renewal came before the end of the certificate")
        self.assertIn("revoked", self.join_of("n2")["error"])
        self.assertTrue(w.audit(reason="node n2 is revoked"))
        eventually(lambda: self.join_of("n1")["renewals"] == 2, lambda: str(self.join_of("n1")))
        self.assertEqual(self.join_of("n1")["failures"], 0)


class NotJoined(Joined):
    """The second node has lost its certificate."""

    def test_an_expired_token_is_refused_and_a_new_one_is_taken(self):
        w = self.world
        n2 = w.agents["n2"]
        n2.wait_ready()
        n2.away()
        w.node_file("n2").unlink()
        tokens = json.loads((w.state / "tokens.json").read_text())
        for token in tokens["tokens"]:
            token["expires"] = "2020-01-01T00:00:00Z"
        (w.state / "tokens.json").write_text(json.dumps(tokens))
        n2.back()
        self.wait_error("n2", "has expired, is used up, is unknown or is for other nodes")
        self.assertIn("warren-controller token create NAME --node n2", self.join_of("n2")["error"])
        self.assertTrue(w.audit(reason="bootstrap token n2-1 has expired"))
        self.assertFalse(n2.ready())
        self.assertIn("the node's certificate", n2.http("/healthz/ready", 15032)[1])
        # One that is for another node buys nothing either; then the right one.
        w.token_file("n2").write_text(w.command("token", "create", "wrong", "--node", "n9"))
        eventually(lambda: w.audit(caller="token/wrong"), "the refusal", 40)
        w.token("n2")
        eventually(lambda: self.join_of("n2")["joined"], lambda: str(self.join_of("n2")), 40)
        n2.wait_ready()

    def test_a_control_plane_of_another_root_is_refused(self):
        w = self.world
        n2 = w.agents["n2"]
        n2.wait_ready()
        n2.away()
        w.node_file("n2").unlink()
        other = Authority(w.folder / "other")
        n2.settings["xds-roots"] = str(other.folder / "ca.pem")
        before = len(w.audit())
        n2.back()
        self.wait_error("n2", "is xds.roots the control plane's root certificate")
        self.assertFalse(n2.ready())
        self.assertFalse([line for line in w.audit()[before:] if "n2-1" in str(line)], "the token was shown to a stranger")


if __name__ == "__main__":
    unittest.main()
