# SPDX-License-Identifier: Apache-2.0
"""Calls to the tunnel's own ports, by whatever address: each ends, none is answered by an application, none is captured again for ever."""
import apps
from waiting import eventually
from world import MeshCase

PORTS = (15001, 15006, 15008, 15053)


class SelfCalls(MeshCase):
    settings = {"by_agent": False}  # the agent's kernel programs refuse such calls before they reach a tunnel: agent_test.py

    def prepare(self):
        w = self.world
        w.mesh.service("loop", 1, [w.pods.client, w.pods.server], {str(port): port for port in PORTS})

    def counts(self):
        return [tunnel.metric("istio_tcp_connections_opened_total") + tunnel.metric("warren_early_denies_total") for tunnel in (self.world.n1, self.world.n2)]

    def targets(self):
        w = self.world
        return {
            "loopback": "127.0.0.1", "loopback 6": "::1", "mapped loopback": "::ffff:127.0.0.1", "other loopback": "127.1.2.3",
            "own": w.pods.client.v4, "own 6": w.pods.client.v6, "near": w.pods.near.v4, "near 6": w.pods.near.v6,
            "far": w.pods.server.v4, "far 6": w.pods.server.v6, "service": "10.77.99.1", "service 6": "fd77:99::1",
            "plain": w.pods.plain.v4, "node": w.lab.nodes["n1"].v4,
        }

    def test_malicious_calls_inpod(self):
        """Trap 42: one call makes a handful of connections at most, at either node."""
        w = self.world
        for port in PORTS:
            before = self.counts()
            calls = [(name, apps.Thread(apps.call, w.pods.client, ip, port, b"GET / HTTP/1.0\r\n\r\n")) for name, ip in self.targets().items()]
            for name, thread in calls:
                with self.subTest(port=port, target=name):
                    # 15008 answers what is not TLS with an alert, 15001 by loopback is reset; nobody echoes.
                    self.assertNotIn(thread.take(15), ("answered", "timeout"))
            for was, now in zip(before, self.counts()):
                self.assertLess(now - was, 3 * len(calls), f"port {port}")
        for tunnel in (w.n1, w.n2):
            eventually(lambda t=tunnel: t.metric("istio_tcp_sockets_open", reporter="source") == 0, "no open socket of a client")
            # What is left are tunnels that wait for more work, each one socket.
            eventually(lambda t=tunnel: t.metric("istio_tcp_sockets_open") <= 8, "few open sockets")

    def test_calls_from_outside_the_mesh_to_a_pods_tunnel_ports_end(self):
        w = self.world
        before = self.counts()
        for ip in (w.pods.server.v4, w.pods.server.v6):
            for port in PORTS:
                self.assertNotIn(apps.call(w.pods.plain, ip, port), ("answered", "timeout"), (ip, port))
        for was, now in zip(before, self.counts()):
            self.assertLess(now - was, 10)
        eventually(lambda: w.n2.metric("istio_tcp_sockets_open") == 0, "no open socket")

    def test_after_all_that_the_mesh_works(self):
        w = self.world
        w.server(w.pods.server, 7000)
        for ip in self.targets().values():
            for port in PORTS:
                apps.call(w.pods.client, ip, port, b"\x16\x03\x01\x00\x05hello")
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")

    def test_a_connection_to_a_loopback_tunnel_port_is_logged_as_a_self_call(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.client, "127.0.0.1", 15001), "reset")
        line = eventually(lambda: w.n1.access("connection failed", dst_addr="127.0.0.1:15001"), "the refusal in the log")[0]
        self.assertIn("tunnel itself", line["error"])
        self.assertEqual(w.n1.metric("warren_early_denies_total", reason="self_call", direction="outbound"), 1)
