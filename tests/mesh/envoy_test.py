# SPDX-License-Identifier: Apache-2.0
"""The wire spoken with stock Envoy, both ways, and Envoy as the waypoint of a service."""
import re

import apps
from envoy import Envoy
from mesh import principal
from waiting import eventually
from world import MeshCase

MIB = 1 << 20


class Client(MeshCase):
    def test_envoy_reaches_a_pod_through_its_tunnel(self):
        w, server = self.world, self.world.pods.server
        app = w.server(server, 7000)
        w.server(server, 7001, apps.count_then_answer)
        identity = "spiffe://cluster.local/ns/default/sa/gateway"
        Envoy(w, w.pods.plain, "hbone_client", identity, target=server.v4, peer_identity=server.identity, good=f"{server.v4}:7000",
              wrong=f"{w.pods.other.v4}:7000")
        for _ in range(20):
            self.assertEqual(apps.call(w.pods.plain, "127.0.0.1", 9000, b"x" * 10_000), "answered")
        self.assertEqual({ip for ip, _ in app.peers}, {w.pods.plain.v4})
        lines = w.n2.wait_access(20, direction="inbound", src_identity=identity)
        self.assertEqual((lines[0]["src.workload"], lines[0]["dst.hbone_addr"]), ("envoy", f"{server.v4}:7000"))
        self.assertFalse([line for line in lines if "error" in line])
        self.assertIn(apps.call(w.pods.plain, "127.0.0.1", 9001), ("reset", "closed"))
        self.assertEqual(len(app.peers), 20)

    def test_bulk_from_envoy_arrives_whole(self):
        w, server = self.world, self.world.pods.server
        w.server(server, 7000, apps.count_then_answer)
        Envoy(w, w.pods.plain, "hbone_client", "spiffe://cluster.local/ns/default/sa/gateway", target=server.v4, peer_identity=server.identity,
              good=f"{server.v4}:7000", wrong="192.0.2.1:1")
        with apps.connect(w.pods.plain, "127.0.0.1", 9000) as connection:
            total, digest = apps.send_pattern(connection, 5, 16 * MIB)
            self.assertEqual(apps.read_line(connection), f"{total} {digest}")

    def test_a_policy_refuses_envoys_identity(self):
        w, server = self.world, self.world.pods.server
        w.mesh.policy("only-client", "Allow", [[[{"principals": [principal(w.pods.client)]}]]], pods=[server])
        w.change()
        app = w.server(server, 7000)
        Envoy(w, w.pods.plain, "hbone_client", "spiffe://cluster.local/ns/default/sa/gateway", target=server.v4, peer_identity=server.identity,
              good=f"{server.v4}:7000", wrong="192.0.2.1:1")
        self.assertIn(apps.call(w.pods.plain, "127.0.0.1", 9000), ("reset", "closed"))
        self.assertEqual(app.peers, [])
        w.n2.wait_access(direction="inbound", reason="denied_no_allow_matched")


class Server(MeshCase):
    """plain has a record as an HBONE workload; what serves its port 15008 is Envoy."""

    IDENTITY = "spiffe://cluster.local/ns/default/sa/none"

    def prepare(self):
        self.world.mesh.pod(self.world.pods.plain)

    def test_a_pod_behind_envoy_is_reached(self):
        w, plain = self.world, self.world.pods.plain
        w.server(plain, 7000)
        w.server(plain, 7001, apps.count_then_answer)
        peer = Envoy(w, plain, "hbone_server", self.IDENTITY)
        for ip in (plain.v4, plain.v6):
            for pod in (w.pods.client, w.pods.server):
                self.assertEqual(apps.call(pod, ip, 7000, b"x" * 10_000), "answered", (pod.name, ip))
        with apps.connect(w.pods.server, plain.v4, 7001) as connection:
            total, digest = apps.send_pattern(connection, 5, 16 * MIB)
            self.assertEqual(apps.read_line(connection), f"{total} {digest}")
        lines = eventually(lambda: len(peer.access()) >= 5 and peer.access(), "Envoy's access log")
        first = next(line for line in lines if f"peer={w.pods.client.identity} " in line and f"CONNECT {plain.v4}:7000 200" in line)
        self.assertIn("tls=TLSv1.3", first)
        self.assertIn("baggage=k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.", first)
        self.assertRegex(first, r'forwarded=for="' + re.escape(w.pods.client.v4) + r':\d+" ')
        self.assertRegex(first, r"traceparent=00-[0-9a-f]{32}-[0-9a-f]{16}-00 ")
        out = w.n1.wait_access(2, direction="outbound", dst_identity=self.IDENTITY)
        self.assertFalse([line for line in out if "error" in line], out)

    def test_a_pod_with_a_waypoint_of_its_own_is_reached_through_it(self):
        """workload_waypoint: The CONNECT names the pod, TCP goes to the waypoint; here that dials the pod in plaintext."""
        w, plain, server = self.world, self.world.pods.plain, self.world.pods.server
        app = w.server(server, 7000)
        peer = Envoy(w, plain, "hbone_server", self.IDENTITY)
        w.mesh.workloads["server"]["waypoint"] = {"destination": f"/{plain.v4}", "hboneMtlsPort": 15008}
        w.change()
        eventually(lambda: apps.call(w.pods.client, server.v4, 7000) == "answered" and app.peers[-1][0] == plain.v4, "a call through the waypoint")
        lines = eventually(peer.access, "Envoy's access log")
        self.assertIn(f"CONNECT {server.v4}:7000 200 peer={w.pods.client.identity} ", lines[-1])
        out = w.n1.wait_access(direction="outbound", dst_identity=self.IDENTITY)[-1]
        self.assertEqual((out["dst.addr"], out["dst.hbone_addr"]), (f"{plain.v4}:15008", f"{server.v4}:7000"))

    def test_a_reset_and_half_closes_pass_envoy(self):
        w, plain = self.world, self.world.pods.plain
        w.server(plain, 7001, apps.count_then_answer)
        Envoy(w, plain, "hbone_server", self.IDENTITY)
        for size in (0, 1, 100_000):
            with apps.connect(w.pods.client, plain.v4, 7001) as connection:
                connection.sendall(b"x" * size)
                connection.shutdown(1)
                self.assertEqual(apps.read_to_end(connection).split()[0], str(size).encode())
        self.assertEqual(apps.call(w.pods.client, plain.v4, 7999), "reset")

    def test_an_envoy_with_another_identity_gets_nothing(self):
        w, plain = self.world, self.world.pods.plain
        app = w.server(plain, 7000)
        Envoy(w, plain, "hbone_server", "spiffe://cluster.local/ns/default/sa/impostor")
        self.assertEqual(apps.call(w.pods.client, plain.v4, 7000), "reset")
        self.assertEqual(app.peers, [])


# http.server as it is looks its own name up when it binds, which takes as long as the resolver of the machine likes.
HTTP_SERVER = """
import functools, http.server, socketserver, sys
class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "web", 8080
Server(("", 8080), functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])).serve_forever()
"""


class Waypoint(MeshCase):
    """A stock Envoy, no fork, between two tunnels (trap 32). plain is the waypoint of the service web on server."""

    IDENTITY = Server.IDENTITY
    VIP = "10.77.99.1"

    def prepare(self):
        w = self.world
        w.mesh.pod(w.pods.plain)
        w.mesh.service("web", 1, [w.pods.server], {"80": 8080, "7001": 7001}, waypoint={"destination": f"/{w.pods.plain.v4}", "hboneMtlsPort": 15008})
        self.peer = Envoy(w, w.pods.plain, "waypoint", self.IDENTITY, vip=self.VIP, endpoint=w.pods.server.v4, endpoint_identity=w.pods.server.identity)

    def serve_http(self):
        w = self.world
        (w.folder / "hello").write_text("hello\n")
        w.pods.server.start("python3", "-c", HTTP_SERVER, str(w.folder))
        eventually(lambda: w.pods.server.run("curl", "-s", "http://127.0.0.1:8080/hello", check=False) == "hello\n", "the HTTP server")

    def test_http_passes_the_waypoint_with_the_clients_identity(self):
        """service_waypoint"""
        w = self.world
        self.serve_http()
        for _ in range(10):
            self.assertEqual(w.pods.client.run("curl", "-sS", "--fail", f"http://{self.VIP}/hello"), "hello\n")
        status = w.pods.client.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{self.VIP}/forbidden")
        self.assertEqual(status, "403")
        lines = eventually(lambda: len(self.peer.access()) >= 11 and self.peer.access(), "the waypoint's access log")
        self.assertIn(f"GET /hello 200 src={w.pods.client.identity} srcip={w.pods.client.v4}:", lines[0])
        self.assertIn(f"svc={self.VIP}:80", lines[0])
        out = w.n1.wait_access(1, direction="outbound", src_workload="client")
        self.assertEqual((out[0]["dst.addr"], out[0]["dst.hbone_addr"], out[0]["dst.identity"]),
                         (f"{w.pods.plain.v4}:15008", f"{self.VIP}:80", self.IDENTITY))
        self.assertEqual(out[0]["dst.service"], "web.default.svc.cluster.local")

    def test_an_answer_that_ends_its_connection_arrives_whole(self):
        """Envoy resets the CONNECT right behind it."""
        w = self.world
        self.serve_http()
        for _ in range(10):
            self.assertEqual(w.pods.client.run("curl", "-sS", "--fail", "-H", "Connection: close", f"http://{self.VIP}/hello"), "hello\n")

    def test_a_pod_of_its_own_passes_the_waypoint(self):
        w = self.world
        w.mesh.workloads["server"]["waypoint"] = {"destination": f"/{w.pods.plain.v4}", "hboneMtlsPort": 15008}
        w.change()
        self.serve_http()
        eventually(lambda: w.pods.client.run("curl", "-s", f"http://{w.pods.server.v4}:8080/hello", check=False) == "hello\n" and self.peer.access(),
                   "the pod by its waypoint")
        self.assertIn(f"svc={w.pods.server.v4}:8080", self.peer.access()[-1])

    def test_tcp_passes_the_waypoint(self):
        w = self.world
        w.server(w.pods.server, 7001, apps.count_then_answer)
        with apps.connect(w.pods.client, self.VIP, 7001) as connection:
            total, digest = apps.send_pattern(connection, 5, 16 * MIB)
            self.assertEqual(apps.read_line(connection), f"{total} {digest}")
        line = w.n2.wait_access(direction="inbound")[0]
        self.assertEqual(line["src.identity"], self.IDENTITY)

    def test_only_the_waypoint_is_let_in_where_a_policy_says_so(self):
        w = self.world
        w.mesh.policy("only-waypoint", "Allow", [[[{"principals": [principal(w.pods.plain)]}]]], pods=[w.pods.server])
        w.change()
        self.serve_http()
        eventually(lambda: apps.call(w.pods.client, w.pods.server.v4, 8080) == "reset", "past the waypoint: reset")
        self.assertEqual(w.pods.client.run("curl", "-sS", "--fail", f"http://{self.VIP}/hello"), "hello\n")
