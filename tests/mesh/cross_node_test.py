# SPDX-License-Identifier: Apache-2.0
"""A connection through the tunnels: bytes, addresses at both ends, log lines, metrics, and nothing readable on the wire."""
import select
import socket

import apps
from waiting import Stopwatch, eventually
from world import MeshCase

MARKER = b"a secret that must not be seen on the wire between the nodes"
ETH_P_ALL = 0x0003


class CrossNode(MeshCase):
    def check_tcp(self, to, seen_from, literal):
        """One connection from client to the pod, whose record on both sides must be complete."""
        w, client = self.world, self.world.pods.client
        server = w.server(to, 7000)
        with apps.connect(client, literal, 7000) as connection:
            apps.ask(connection, MARKER)
            self.assertEqual(connection.getpeername()[:2], (literal, 7000))
            local = connection.getsockname()[1]
        self.assertEqual([ip for ip, _ in server.peers], [seen_from])
        ip = apps.plain_ip(literal)
        bracketed = f"[{ip}]" if ":" in ip else ip
        source = f"[{seen_from}]" if ":" in seen_from else seen_from
        target_tunnel = w.tunnels[to.node.name]
        out = w.n1.wait_access(direction="outbound", src_workload="client")[0]
        into = target_tunnel.wait_access(direction="inbound", dst_workload=to.name)[0]
        self.assertEqual(out["src.addr"], f"{source}:{local}")
        for line, sent, received in ((out, len(MARKER), len(MARKER)), (into, len(MARKER), len(MARKER))):
            self.assertEqual(line["dst.hbone_addr"], f"{bracketed}:7000")
            self.assertEqual(line["dst.addr"], f"{bracketed}:15008")
            self.assertEqual((line["src.identity"], line["dst.identity"]), (client.identity, to.identity))
            self.assertEqual((line["bytes_sent"], line["bytes_recv"]), (sent, received))
            self.assertNotIn("error", line)
            self.assertEqual(line["level"].lower(), "info")
        for tunnel, reporter in ((w.n1, "source"), (target_tunnel, "destination")):
            labels = dict(reporter=reporter, source_workload="client", destination_workload=to.name, connection_security_policy="mutual_tls",
                          source_principal=client.identity, destination_principal=to.identity, response_flags="-")
            eventually(lambda t=tunnel, l=labels: t.metric("istio_tcp_connections_closed_total", **l) == 1, "closed counted")
            self.assertEqual(tunnel.metric("istio_tcp_connections_opened_total", **labels), 1)
            self.assertEqual(tunnel.metric("istio_tcp_sent_bytes_total", **labels), len(MARKER))
            self.assertEqual(tunnel.metric("istio_tcp_connections_failed_total"), 0)

    def test_tcp_reaches_a_pod_of_another_node_over_ipv4(self):
        """cross_node_captured_inpod"""
        self.check_tcp(self.world.pods.server, self.world.pods.client.v4, self.world.pods.server.v4)

    def test_tcp_reaches_a_pod_of_another_node_over_ipv6(self):
        self.check_tcp(self.world.pods.server, self.world.pods.client.v6, self.world.pods.server.v6)

    def test_an_ipv6_socket_reaches_a_mapped_ipv4_address(self):
        self.check_tcp(self.world.pods.server, self.world.pods.client.v4, "::ffff:" + self.world.pods.server.v4)

    def test_tcp_reaches_a_pod_of_the_same_node(self):
        """local_captured_inpod"""
        self.check_tcp(self.world.pods.near, self.world.pods.client.v4, self.world.pods.near.v4)

    def test_the_wire_between_the_nodes_shows_no_application_bytes(self):
        w = self.world
        w.server(w.pods.server, 7000)
        wire = w.keep(w.lab.nodes["n1"].socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
        wire.bind(("wire", ETH_P_ALL))
        with apps.connect(w.pods.client, w.pods.server.v4, 7000) as connection:
            apps.ask(connection, MARKER)
        w.n2.wait_access(direction="inbound")
        frames = []
        while select.select([wire], [], [], 0.1)[0]:
            frames.append(wire.recv(1 << 17))
        hbone = [frame for frame in frames if (15008).to_bytes(2, "big") in frame[34:38]]
        self.assertGreater(len(hbone), 4)
        self.assertFalse([frame for frame in frames if MARKER[:16] in frame])
        self.assertFalse([frame for frame in frames if (7000).to_bytes(2, "big") in frame[34:38]], "a packet with the application's port")

    def test_a_pod_reaches_itself_by_loopback_and_by_its_own_address_without_the_tunnel(self):
        w, client = self.world, self.world.pods.client
        w.server(client, 7000)
        for ip in ("127.0.0.1", "::1", client.v4, client.v6):
            self.assertEqual(apps.call(client, ip, 7000), "answered", ip)
        self.assertEqual(w.n1.access(), [])
        self.assertEqual(w.n1.metric("istio_tcp_connections_opened_total"), 0)

    def test_a_pod_outside_the_mesh_is_reached_as_it_is(self):
        """server_uncaptured_inpod"""
        w = self.world
        server = w.server(w.pods.plain, 7000)
        for ip in (w.pods.plain.v4, w.pods.plain.v6):
            self.assertEqual(apps.call(w.pods.client, ip, 7000), "answered", ip)
        self.assertEqual([ip for ip, _ in server.peers], [w.pods.client.v4, w.pods.client.v6])
        lines = w.n1.wait_access(2, direction="outbound")
        self.assertEqual({line["dst.addr"] for line in lines}, {f"{w.pods.plain.v4}:7000", f"[{w.pods.plain.v6}]:7000"})
        for line in lines:
            self.assertFalse({"dst.hbone_addr", "src.identity", "dst.identity"} & line.keys(), line)
        self.assertEqual(w.n1.metric("istio_tcp_connections_opened_total", connection_security_policy="unknown"), 2)
        self.assertEqual(w.n1.metric("istio_tcp_connections_opened_total", connection_security_policy="mutual_tls"), 0)

    def check_plaintext(self, to):
        """A pod whose record says TCP: known, and reached without a tunnel, by its own address; what arrives is captured all the same."""
        w, client = self.world, self.world.pods.client
        w.mesh.workloads[to.name]["protocol"] = "TCP"
        w.change()
        server = w.server(to, 7000)
        for ip, source in ((to.v4, client.v4), (to.v6, client.v6)):
            with apps.connect(client, ip, 7000) as connection:
                apps.ask(connection, MARKER)
            self.assertEqual(server.peers[-1][0], source)
        for tunnel, direction in ((w.n1, "outbound"), (w.tunnels[to.node.name], "inbound")):
            lines = tunnel.wait_access(2, direction=direction)
            self.assertEqual(len(lines), 2)
            self.assertEqual({line["dst.addr"] for line in lines}, {f"{to.v4}:7000", f"[{to.v6}]:7000"})
            for line in lines:
                self.assertEqual((line["src.workload"], line["dst.workload"]), ("client", to.name))
                self.assertEqual((line["bytes_sent"], line["bytes_recv"]), (len(MARKER), len(MARKER)))
                self.assertFalse({"dst.hbone_addr", "src.identity", "dst.identity", "error"} & line.keys(), line)
        labels = dict(reporter="source", connection_security_policy="unknown", source_principal="unknown", destination_principal=to.identity)
        self.assertEqual(w.n1.metric("istio_tcp_connections_opened_total", **labels), 2)
        self.assertEqual(w.n1.metric("istio_tcp_connections_opened_total", connection_security_policy="mutual_tls"), 0)

    def test_a_pod_of_protocol_tcp_is_reached_in_plaintext(self):
        """test_tcp_request"""
        self.check_plaintext(self.world.pods.server)

    def test_a_pod_of_protocol_tcp_of_the_same_node_is_reached_in_plaintext(self):
        """test_tcp_request_local"""
        self.check_plaintext(self.world.pods.near)

    def test_a_refused_connection_to_an_unknown_address_ends_with_a_reset(self):
        w = self.world
        self.assertIn(apps.call(w.pods.client, w.pods.plain.v4, 7999), ("reset",))
        line = w.n1.wait_access(direction="outbound")[0]
        self.assertIn("error", line)
        self.assertEqual(w.n1.metric("istio_tcp_connections_failed_total", response_flags="CONNECT"), 1)

    def test_a_closed_port_of_a_mesh_pod_ends_with_a_reset(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7999), "reset")
        self.assertIn("error", w.n1.wait_access(direction="outbound")[0])
        self.assertIn("error", w.n2.wait_access(direction="inbound")[0])
        self.assertEqual(w.n2.metric("istio_tcp_connections_failed_total", response_flags="CONNECT", reporter="destination"), 1)

    def test_the_first_byte_of_the_first_connection_arrives(self):
        """Certificates, handshake and tunnel are made while it waits; none of its bytes may get lost in that (trap 30)."""
        w = self.world
        server = w.server(w.pods.server, 7000, apps.count_then_answer)
        took = Stopwatch()
        with apps.connect(w.pods.client, w.pods.server.v4, 7000) as connection:
            connection.sendall(b"1")
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(apps.read_line(connection).split()[0], "1")
        self.assertLess(took.seconds(), 2)
        self.assertEqual(len(server.peers), 1)

    def test_a_server_that_speaks_first_is_heard(self):
        w = self.world
        w.server(w.pods.server, 7000, apps.named("welcome"))
        with apps.connect(w.pods.client, w.pods.server.v6, 7000) as connection:
            self.assertEqual(apps.read_line(connection), "welcome")


class WithRsaAuthority(MeshCase):
    settings = {"authority": "rsa"}

    def test_an_rsa_authority_serves_as_well(self):
        w = self.world
        w.server(w.pods.server, 7000)
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        self.assertEqual(w.n2.wait_access(direction="inbound")[0]["src.identity"], w.pods.client.identity)


class WithDnsRules(MeshCase):
    settings = {"dns": True}

    def test_tcp_passes_with_the_rules_that_capture_dns_too(self):
        w = self.world
        w.server(w.pods.server, 7000)
        for ip in (w.pods.server.v4, w.pods.server.v6):
            self.assertEqual(apps.call(w.pods.client, ip, 7000), "answered", ip)
