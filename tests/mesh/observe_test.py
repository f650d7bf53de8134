# SPDX-License-Identifier: Apache-2.0
"""What operators see: metrics that agree with the log, the dump, and ports that answer only where they should."""
import json
import pathlib
import subprocess

import apps
from mesh import principal
from tunnel import ADMIN, METRICS, READINESS
from waiting import eventually
from world import MeshCase

COUNTERS = {"closed": "istio_tcp_connections_closed_total", "opened": "istio_tcp_connections_opened_total",
            "failed": "istio_tcp_connections_failed_total", "sent": "istio_tcp_sent_bytes_total", "received": "istio_tcp_received_bytes_total"}


class Agreement(MeshCase):
    def prepare(self):
        w = self.world
        for port in (7000, 7001):
            w.server(w.pods.server, port)
        w.server(w.pods.plain, 7000)
        w.server(w.pods.near, 7002)
        w.mesh.policy("7001-for-other", "Deny", [[[{"notPrincipals": [principal(w.pods.other)]}], [{"destinationPorts": [7001]}]]],
                      pods=[w.pods.server])
        w.mesh.service("web", 1, [w.pods.server, w.pods.near], {"80": 7000})

    def calls(self):
        """All sorts: tunnel, plaintext, passthrough, refused, denied, retried."""
        w = self.world
        for i in range(5):
            text = b"x" * (1 + 1000 * i)
            for pod, ip, port in ((w.pods.client, w.pods.server.v4, 7000), (w.pods.plain, w.pods.server.v6, 7000), (w.pods.client, w.pods.plain.v4, 7000),
                                  (w.pods.client, w.pods.server.v4, 7001), (w.pods.other, w.pods.server.v6, 7001), (w.pods.client, w.pods.server.v4, 7999),
                                  (w.pods.client, "10.77.99.1", 80), (w.pods.other, w.pods.near.v4, 7002)):
                apps.call(pod, ip, port, text)

    def test_trap_40_the_sum_of_the_log_is_what_the_counters_say(self):
        """For each reporter: connections, failures and bytes of both directions."""
        w = self.world
        self.calls()
        for tunnel in (w.n1, w.n2):
            for reporter, direction in (("source", "outbound"), ("destination", "inbound")):
                def counters(t=tunnel, r=reporter):
                    return {key: int(t.metric(name, reporter=r)) for key, name in COUNTERS.items()}

                eventually(lambda c=counters: c()["opened"] == c()["closed"] > 0, "all closed")
                now = counters()
                lines = tunnel.wait_access(now["closed"], direction=direction)
                down, up = ("bytes_recv", "bytes_sent") if direction == "outbound" else ("bytes_sent", "bytes_recv")
                self.assertEqual(now, {
                    "closed": len(lines), "opened": len(lines), "failed": len([line for line in lines if "error" in line]),
                    "sent": sum(line[down] for line in lines), "received": sum(line[up] for line in lines),
                }, (tunnel.folder.name, reporter))
                self.assertGreater(now["sent"], 0)
            self.assertEqual(tunnel.metric("istio_tcp_sockets_open", reporter="source"), 0)

    def test_plaintext_that_arrives_names_the_service_it_probably_meant(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.plain, w.pods.server.v4, 7000), "answered")
        self.assertEqual(w.n2.wait_access(direction="inbound")[0].get("dst.service"), "web.default.svc.cluster.local")

    def test_the_exposition_is_openmetrics(self):
        w = self.world
        self.calls()
        status, text = w.n1.http("/stats/prometheus", METRICS)
        self.assertEqual(status, 200)
        self.assertTrue(text.endswith("# EOF\n"))
        self.assertEqual(w.n1.metric("istio_build", component="ztunnel"), 1)
        self.assertEqual(w.n1.http("/elsewhere", METRICS)[0], 404)


class Ports(MeshCase):
    def test_the_dump_shows_mesh_certificates_pods_and_live_connections(self):
        w = self.world
        w.mesh.policy("nobody", "Deny", [[[{"destinationPorts": [1]}]]], pods=[w.pods.server])
        w.mesh.service("web", 1, [w.pods.server], {"80": 7000})
        w.change()
        w.server(w.pods.server, 7000)
        connection = w.connect(w.pods.client, "10.77.99.1", 80)
        apps.ask(connection)
        dump = w.n1.config_dump()
        self.assertEqual({one["name"] for one in dump["workloads"] if one["namespace"] == "default"}, {"client", "near", "server", "other"})
        self.assertEqual([one["hostname"] for one in dump["services"]], ["web.default.svc.cluster.local"])
        self.assertEqual([one["name"] for one in dump["policies"]], ["nobody"])
        certificate = [one for one in dump["certificates"] if one["identity"] == w.pods.client.identity][0]
        self.assertEqual((certificate["state"], len(certificate["certChain"]) > 0), ("Available", True))
        state = dump["workloadState"][w.pods.client.uid]
        self.assertEqual((state["state"], state["info"]["serviceAccount"]), ("Up", "client"))
        out = state["connections"]["outbound"]
        self.assertEqual([(one["originalDst"], one["actualDst"], one["protocol"]) for one in out],
                         [("10.77.99.1:80", f"{w.pods.server.v4}:15008", "HBONE")])
        inbound = w.n2.config_dump()["workloadState"][w.pods.server.uid]["connections"]["inbound"]
        self.assertEqual([one["protocol"] for one in inbound], ["HBONE"])
        connection.close()
        eventually(lambda: not w.n1.config_dump()["workloadState"][w.pods.client.uid].get("connections", {}).get("outbound"), "no connection in the dump")
        self.assertNotIn("PRIVATE KEY", json.dumps(dump))

    def test_admin_answers_on_loopback_only_and_the_others_everywhere(self):
        w = self.world
        node = w.lab.nodes["n2"]
        for port, outcome in ((ADMIN, "refused"), (METRICS, "closed"), (READINESS, "closed")):
            got = apps.call(w.pods.plain, node.v4, port, b"GET / HTTP/1.0\r\n\r\n")
            self.assertEqual(got == "refused", outcome == "refused", (port, got))

    def test_a_log_level_can_be_changed_while_it_runs(self):
        w = self.world
        w.server(w.pods.server, 7000)
        self.assertEqual(w.n1.http("/logging?level=access=debug", ADMIN, "POST")[0], 200)
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        eventually(lambda: w.n1.access("connection opened", direction="outbound"), "the debug line")
        self.assertEqual(w.n1.http("/logging?level=nonsense", ADMIN, "POST")[0], 400)
        self.assertEqual(w.n1.http("/logging", ADMIN)[0], 405)

    def test_threads_and_secrets_are_confined(self):
        """Only the capabilities that are needed, and a filter of system calls."""
        w = self.world
        status = dict(line.split(":", 1) for line in open(f"/proc/{w.n1.pid}/status", encoding="ascii") if ":" in line)
        kept = int(status["CapEff"], 16)
        net_admin, net_raw, sys_admin = 1 << 12, 1 << 13, 1 << 21
        self.assertEqual(kept & ~(net_admin | net_raw | sys_admin), 0, hex(kept))
        self.assertEqual(status["Seccomp"].strip(), "2")
        self.assertEqual(status["NoNewPrivs"].strip(), "1")


class Secrets(MeshCase):
    """The keys of all pods of a node are in there."""

    def prepare(self):
        self.world.overrides["n1"] = {"WARREN_DUMPABLE": "false", "RUST_LOG": "trace"}

    def test_no_core_and_no_debugger_shows_them(self):
        w = self.world
        limits = pathlib.Path(f"/proc/{w.n1.pid}/limits").read_text(encoding="ascii")
        self.assertRegex(limits, r"Max core file size +0 +0 ")

        def shown(tunnel):
            """To a root that may not trace everybody, as a process of another container is."""
            return subprocess.run(["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", "sh", "-c", f": < /proc/{tunnel.pid}/mem"],
                                  capture_output=True, check=False).returncode == 0
        self.assertTrue(shown(w.n2))  # that one is dumpable, as all of a lab's are
        self.assertFalse(shown(w.n1))

    def test_no_log_and_no_dump_has_a_key(self):
        w = self.world
        w.server(w.pods.server, 7000)
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        w.n1.wait_access(direction="outbound")
        for text in (w.n1.http("/config_dump", ADMIN)[1], w.n1.log_path.read_text(encoding="utf-8")):
            text = str(text)
            self.assertIn(w.pods.client.identity, text)
            self.assertNotIn("PRIVATE KEY", text)
