#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""warren-controller from one folder: what nodes get, keep and may have. Run by the Python of build/venv; exit 77 where that has no gRPC.

    WARREN_CONTROLLER=build/dev/bin/warren-controller build/venv/bin/python tests/controller/controller_test.py
"""
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from controller import ADDRESS, AUTHORIZATION, PATIENCE, Certificates, Controller, Node, eventually, grpc, join, make_request, names_of

STRICT = "istio-system/istio_converted_static_strict"
DEBOUNCE_S = 0.05
GRACE_S = 0.2


def workload(name, address, node="n1", account="web", labels="app: web"):
    return f"- {{name: {name}, namespace: shop, serviceAccount: {account}, node: {node}, addresses: [{address}], labels: {{{labels}}}}}\n"


WEB = "workloads:\n" + workload("web-1", "10.0.0.1") + workload("db-1", "10.0.0.2", "n2", "db", "app: db")
POLICY = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-db, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/db]}}]}]}
"""


STRICT_MODE = """apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="warren-controller-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.controller = Controller(self.folder)
        self.addCleanup(lambda: self.controller.stop())
        self.controller.write("web.yaml", WEB)
        self.controller.write("policy.yaml", POLICY)
        self.controller.write("strict.yaml", STRICT_MODE)

    def node(self, name="n1", certificate=None, token=None):
        node = Node(self.controller, name, certificate, token)
        self.addCleanup(node.close)
        return node


class Serving(Case):
    def test_a_node_gets_the_mesh_and_every_change_of_the_folder(self):
        c = self.controller.start()
        node = self.node(certificate=join(c, self.folder, "n1")).synced()
        self.assertEqual(node.addresses(), {"Kubernetes//Pod/shop/web-1", "Kubernetes//Pod/shop/db-1"})
        self.assertEqual(set(node.held[AUTHORIZATION]), {"shop/only-db", STRICT})
        web = node.workload("shop/web-1")
        self.assertEqual(list(web.authorization_policies), [STRICT])
        self.assertEqual((web.service_account, web.node, web.addresses[0], web.tunnel_protocol), ("web", "n1", bytes([10, 0, 0, 1]), 1))
        best = PATIENCE
        for i in range(5):  # a loaded machine may be late once, not always
            begin = time.monotonic()
            c.write("web.yaml", WEB.replace("10.0.0.1", f"10.0.1.{i}"))
            node.wait(lambda n: n.workload("shop/web-1").addresses[0] == bytes([10, 0, 1, i]), "the new address")
            best = min(best, time.monotonic() - begin)
        self.assertLess(best, DEBOUNCE_S + GRACE_S)
        self.assertTrue(all(names == ["Kubernetes//Pod/shop/web-1"] and not removed for _, names, removed in node.updates[2:]))
        (c.mesh / "policy.yaml").unlink()
        node.wait(lambda n: set(n.held[AUTHORIZATION]) == {STRICT}, "the policy's end")

    def test_an_invalid_file_keeps_its_last_state_and_the_status_says_where_and_what(self):
        c = self.controller.start()
        node = self.node(certificate=join(c, self.folder, "n1")).synced()
        c.write("policy.yaml", POLICY.replace("principals", "principles"))
        errors = eventually(lambda: c.status()["source"]["errors"], "an error in the status")
        self.assertIn(f"{c.mesh}/policy.yaml:4: spec.rules[0].from[0].source", errors[0])
        self.assertIn("unknown field 'principles'; the fields here are", errors[0])
        c.write("web.yaml", WEB + workload("web-2", "10.0.0.3"))
        node.wait(lambda n: "Kubernetes//Pod/shop/web-2" in n.addresses(), "the change of the other file")
        self.assertIn("shop/only-db", node.held[AUTHORIZATION])
        self.assertEqual(c.get("health", "/ready")[0], 200)
        self.assertEqual(c.metric("warren_controller_source_errors"), c.status()["source"]["errorCount"])
        c.write("policy.yaml", POLICY)
        eventually(lambda: not c.status()["source"]["errors"], "no error")
        _, errors = c.command("check", str(c.mesh))
        c.write("policy.yaml", "kind: [")
        _, errors = c.command("check", str(c.mesh), code=1)
        self.assertIn("policy.yaml:", errors)

    def test_trap_33_not_ready_and_nobody_served_while_a_file_is_broken_at_the_start(self):
        c = self.controller
        c.write("policy.yaml", POLICY.replace("principals", "principles"))
        c.start(ready=False)
        node = self.node(certificate=join(c, self.folder, "n1"))
        eventually(lambda: node.failures, "a refused stream")
        self.assertEqual(node.failures[0].code(), grpc.StatusCode.UNAVAILABLE)
        code, body = c.get("health", "/ready")
        self.assertEqual((code, "objects of the mesh" in body), (500, True))
        self.assertEqual(node.updates, [])
        c.write("policy.yaml", POLICY)
        node.synced()
        eventually(lambda: c.get("health", "/ready")[0] == 200, "ready")

    def test_the_status_shows_clients_with_what_they_have_and_their_last_nack(self):
        c = self.controller.start()
        node = self.node(certificate=join(c, self.folder, "n1")).synced()
        node.refusal = "shop/web-1: not understood"
        c.write("web.yaml", WEB.replace("10.0.0.1", "10.0.0.9"))
        client = eventually(lambda: [k for k in c.status()["clients"] if k["types"] and k["types"][0]["nacks"] == 1], "the NACK")[0]
        self.assertEqual((client["identity"], client["role"]), ("node/n1", "ztunnel"))
        self.assertEqual(client["types"][0]["lastNack"], "shop/web-1: not understood")
        self.assertEqual(client["types"][0]["resources"], 2)
        self.assertEqual(c.metric("warren_controller_nacks_total"), 1)
        self.assertEqual(c.metric("warren_controller_clients"), 1)
        self.assertIn("Kubernetes//Pod/shop/web-1", c.get("admin", "/debug/ambientz")[1])
        self.assertIn("source.folder", c.get("admin", "/debug/configz")[1])

    def test_trap_39_no_name_is_ever_looked_up_for_the_mesh(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:  # hears, and never answers
            where = f"127.{os.getpid() >> 16 & 255}.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"
            resolver.bind((where, 53))
            resolver.setblocking(False)
            conf = os.path.join(self.folder, "resolv.conf")
            with open(conf, "w") as file:
                file.write(f"nameserver {where}\n")
            self.controller.launcher = ("unshare", "--mount", "sh", "-c", f"mount --bind {conf} /etc/resolv.conf && exec \"$0\" \"$@\"")
            self.controller.write("names.yaml", "\n---\n".join((
                "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: far, namespace: shop}\n"
                "spec: {hosts: [far.example.com], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}",
                "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: vm, namespace: shop}\n"
                "spec: {address: vm.example.com, serviceAccount: web}")))
            c = self.controller.start()
            node = self.node(certificate=join(c, self.folder, "n1")).synced()
            self.assertIn("shop/far.example.com", node.addresses())
            best = PATIENCE
            for i in range(3):
                begin = time.monotonic()
                c.write("web.yaml", WEB.replace("10.0.0.1", f"10.0.1.{i}"))
                node.wait(lambda n: n.workload("shop/web-1").addresses[0] == bytes([10, 0, 1, i]), "the new address")
                best = min(best, time.monotonic() - begin)
            self.assertLess(best, DEBOUNCE_S + GRACE_S)
            with self.assertRaises(BlockingIOError):
                resolver.recv(512)


class Restarting(Case):
    def churn(self, until):
        """Changes one workload again and again; ends with a marker that a node can wait for."""
        i = 0
        while not until.is_set():
            i += 1
            self.controller.write("web.yaml", WEB.replace("10.0.0.1", f"10.1.{i >> 8 & 255}.{i & 255}"))
            until.wait(0.01)

    def restarted_under_load(self, meanwhile=lambda: None):
        """Kills and starts the controller while files change. Returns the node, and what it was sent after the restart."""
        c = self.controller
        c.write("many.yaml", "workloads:\n" + "".join(workload(f"m-{i}", f"10.2.{i >> 8}.{i & 255}") for i in range(500)))
        c.start()
        self.certificate = join(c, self.folder, "n1")
        node = self.node(certificate=self.certificate).synced()
        self.assertEqual(len(node.addresses()), 502)
        stop = threading.Event()
        load = threading.Thread(target=self.churn, args=(stop,))
        load.start()
        try:
            node.wait(lambda n: len(n.updates) > 5, "some changes")
            c.kill()
            meanwhile()
            eventually(lambda: node.failures, "the stream's end")
            self.assertEqual(len(node.addresses()), 502)
            before = len(node.updates)
            c.start()
            node.wait(lambda n: len(n.updates) > before + 5, "changes after the restart")
        finally:
            stop.set()
            load.join(PATIENCE)
        c.write("web.yaml", WEB)
        node.wait(lambda n: n.workload("shop/web-1").addresses[0] == bytes([10, 0, 0, 1]), "the last change")
        return node, node.updates[before:]

    def test_killed_under_load_the_node_keeps_all_and_is_sent_only_differences(self):
        def lose_one():
            text = (self.controller.mesh / "many.yaml").read_text()
            self.controller.write("many.yaml", text.replace(workload("m-7", "10.2.0.7"), ""))

        c = self.controller
        roots = []
        node, updates = self.restarted_under_load(lambda: (roots.append(c.root()), lose_one()))
        self.assertEqual({name for _, names, _ in updates for name in names}, {"Kubernetes//Pod/shop/web-1"})
        self.assertEqual({name for _, _, removed in updates for name in removed}, {"Kubernetes//Pod/shop/m-7"})
        self.assertEqual(roots, [c.root()])
        self.assertIn("token-n1", c.command("token", "list")[0])
        fresh = self.node(certificate=self.certificate).synced()
        self.assertEqual(fresh.held, node.held)

    def test_trap_38_without_its_state_file_nothing_is_numbered_anew(self):
        c = self.controller
        roots = []
        node, updates = self.restarted_under_load(lambda: (roots.append(c.root()), (c.state / "authority/state.json").unlink()))
        self.assertEqual({name for _, names, _ in updates for name in names}, {"Kubernetes//Pod/shop/web-1"})
        self.assertEqual({name for _, _, removed in updates for name in removed}, set())
        self.assertEqual(roots, [c.root()])
        self.assertEqual(self.node(certificate=self.certificate).synced().held, node.held)


class Certificate(Case):
    def certificates(self, **who):
        out = Certificates(self.controller, **who)
        self.addCleanup(out.close)
        return out

    def refused(self, ask, code=None):
        with self.assertRaises(grpc.RpcError) as raised:
            ask()
        self.assertEqual(raised.exception.code(), code or grpc.StatusCode.UNAUTHENTICATED)

    def test_a_node_has_its_own_pods_certificates_and_no_others(self):
        c = self.controller.start()
        mine = self.certificates(certificate=join(c, self.folder, "n1"))
        _, csr = make_request(self.folder, "web")
        chain = mine.ask(csr, "spiffe://cluster.local/ns/shop/sa/web")
        self.assertEqual(names_of(chain[0]), ["URI:spiffe://cluster.local/ns/shop/sa/web"])
        self.assertEqual(chain[-1].encode(), c.root())
        self.refused(lambda: mine.ask(csr, "spiffe://cluster.local/ns/shop/sa/db"))
        line = eventually(lambda: [e for e in c.audit() if e["event"] == "certificate_refused"], "an audit line")[0]
        self.assertEqual((line["caller"], line["identity"]), ("node/n1", "spiffe://cluster.local/ns/shop/sa/db"))
        issued = [e["identity"] for e in c.audit() if e["event"] == "certificate_issued"]
        self.assertEqual(issued, ["spiffe://cluster.local/node/n1", "spiffe://cluster.local/ns/shop/sa/web"])
        # The pod moves here: a moment later its certificate may.
        c.write("web.yaml", WEB.replace("node: n2", "node: n1"))
        eventually(lambda: c.status()["mesh"]["publications"] == 2, "the move")
        self.assertEqual(names_of(mine.ask(csr, "spiffe://cluster.local/ns/shop/sa/db")[0]), ["URI:spiffe://cluster.local/ns/shop/sa/db"])
        self.assertEqual(c.status()["certificates"]["issued"], 3)
        self.assertEqual(c.status()["certificates"]["refused"]["notAllowed"], 1)

    def test_nobody_without_a_credential_and_a_token_for_its_node_only(self):
        c = self.controller.start()
        _, csr = make_request(self.folder, "x")
        self.refused(lambda: self.certificates().ask(csr, "spiffe://cluster.local/ns/shop/sa/web"))
        token = c.token("rack", "rack-*", uses=2)
        self.refused(lambda: self.certificates(token=token).ask(csr, "spiffe://cluster.local/ns/shop/sa/web"))
        self.refused(lambda: self.certificates(token=token).ask(csr, "spiffe://cluster.local/node/n1"))
        self.assertTrue(self.certificates(token=token).ask(csr, "spiffe://cluster.local/node/rack-7"))
        self.assertIn("used 1 of 2", c.command("token", "list")[0])
        c.command("token", "revoke", "rack")
        self.refused(lambda: self.certificates(token=token).ask(csr, "spiffe://cluster.local/node/rack-7"))
        # Once, also for a controller that was killed right after.
        once = c.token("once", "rack-9")
        self.assertTrue(self.certificates(token=once).ask(csr, "spiffe://cluster.local/node/rack-9"))
        self.refused(lambda: self.certificates(token=once).ask(csr, "spiffe://cluster.local/node/rack-9"))
        c.kill()
        c.start()
        self.refused(lambda: self.certificates(token=once).ask(csr, "spiffe://cluster.local/node/rack-9"))
        eventually(lambda: [e for e in c.audit() if "once is used up" in e.get("reason", "")], "an audit line")
        stranger = self.node(token="warren-join-0000")
        eventually(lambda: stranger.failures, "a refused stream")
        self.assertEqual(stranger.failures[0].code(), grpc.StatusCode.UNAUTHENTICATED)
        # A token that is good buys a certificate, not the mesh.
        early = self.node("rack-8", token=c.token("rack-8", "rack-8"))
        eventually(lambda: early.failures, "a refused stream")
        self.assertEqual(early.failures[0].code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertEqual(early.updates, [])
        other = self.node("n2", certificate=join(c, self.folder, "n1"))
        eventually(lambda: other.failures, "a refused stream")
        self.assertEqual(other.failures[0].code(), grpc.StatusCode.PERMISSION_DENIED)
        self.assertNotIn("plaintext xds", c.ports)

    def test_a_root_is_replaced_while_nodes_stay_connected(self):
        c = self.controller.start()
        certificate = join(c, self.folder, "n1")
        node = self.node(certificate=certificate).synced()
        first = c.root()
        self.assertIn("it signs from", c.command("root", "rotate")[0])
        both = eventually(lambda: c.root() != first and c.root(), "the new root in the bundle")
        self.assertEqual((both.count(b"BEGIN CERT"), first in both), (2, True))
        c.command("root", "hasten")
        eventually(lambda: c.status()["authority"]["phase"] == "retiring", "the new root to sign")
        # Signed by the old root and by the new one: both come in.
        self.node("n1", certificate=certificate).synced()
        second = join(c, self.folder, "n2")
        self.node("n2", certificate=second).synced()
        c.command("root", "hasten")
        eventually(lambda: c.status()["authority"]["phase"] == "steady" and c.root() != both, "the old root to go")
        self.assertEqual(c.root().count(b"BEGIN CERT"), 1)
        self.node("n2", certificate=second).synced()
        c.write("web.yaml", WEB.replace("10.0.0.1", "10.0.0.9"))
        node.wait(lambda n: n.workload("shop/web-1").addresses[0] == bytes([10, 0, 0, 9]), "a change on the first stream")
        self.assertEqual(node.failures, [])


class Process(Case):
    def test_it_has_no_rights_that_it_does_not_need(self):
        c = self.controller.start()
        text = pathlib.Path(f"/proc/{c.process.pid}/status").read_text()
        status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        self.assertEqual({status[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")}, {"0" * 16})
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        self.assertEqual((c.state / "tokens.json").exists(), False)
        c.token("t", "n1")
        self.assertEqual([oct((c.state / name).stat().st_mode & 0o777) for name in ("authority", "tokens.json", "audit.log")],
                         ["0o700", "0o600", "0o600"])

    def test_a_demo_says_so_and_alone_serves_in_plain_text(self):
        self.controller.settings |= {"insecure_demo": "true", "xds_plaintext_listen": "127.0.0.1:0"}
        c = self.controller.start()
        self.assertTrue(any("INSECURE DEMO" in line["message"] for line in c.lines()))
        channel = grpc.insecure_channel(f"127.0.0.1:{c.ports['plaintext xds']}")
        self.addCleanup(channel.close)
        grpc.channel_ready_future(channel).result(PATIENCE)

    def test_a_wrong_setting_names_itself(self):
        done = subprocess.run([os.environ.get("WARREN_CONTROLLER", "warren-controller"), "--xds-listen=nowhere"], capture_output=True,
                              text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 2)
        self.assertIn("xds.listen", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
