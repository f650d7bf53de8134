# SPDX-License-Identifier: Apache-2.0
"""Requests and certificates that no honest peer sends, to a pod's port 15008 (data-plane contract 4.4, 4.5, 6.1, 6.3)."""
import socket
import ssl
import struct

import apps
from ca import Authority
from hbone import (ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, Hbone, Refused, context, frame, frame_types, header_block,
                   status_and_rest)
from mesh import Mesh, principal
from waiting import PATIENCE_S, eventually
from world import MeshCase

IDENTITY = "spiffe://cluster.local/ns/default/sa/hand-made"
BAGGAGE = ("baggage", "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=hand-made")


class Peer(MeshCase):
    def prepare(self):
        w = self.world
        self.server = w.pods.server
        self.app = w.server(self.server, 7000)
        w.mesh.service("web", 1, [self.server], {"80": 7000})

    def dial(self, identity=IDENTITY, authority=None, ip=None):
        made = authority or self.world.ca
        certificate = made.issue(identity, f"peer-{len(list(made.folder.iterdir()))}") if identity else None
        return self.world.keep(Hbone(self.world.pods.plain, ip or self.server.v4, context(self.world.ca, certificate)))


class Requests(Peer):
    def test_an_honest_request_is_answered_with_200_and_carries_bytes(self):
        """test_hbone_request"""
        for ip in (self.server.v4, self.server.v6):
            peer = self.dial(ip=ip)
            status, stream = peer.request(f"[{ip}]:7000" if ":" in ip else f"{ip}:7000", more=[BAGGAGE])
            self.assertEqual(status, 200)
            self.assertEqual(peer.ask(stream, b"ping"), b"ping")
        self.assertEqual([ip for ip, _ in self.app.peers], [self.world.pods.plain.v4, self.world.pods.plain.v6])

    def test_a_service_hostname_as_authority_reaches_the_pods_own_port(self):
        """test_hostname_request, test_svc_hostname_port"""
        self.assertEqual(self.dial().request("web.default.svc.cluster.local:80")[0], 200)

    def test_hbone_ip_mismatch(self):
        """Another pod's address, a stranger's, a service of others: the tunnel is no open relay."""
        w, peer = self.world, self.dial()
        for authority in (f"{w.pods.client.v4}:7000", f"{w.pods.other.v4}:7000", f"[{self.server.v6}]:7000", "8.8.8.8:53", "127.0.0.1:7000"):
            self.assertEqual(peer.request(authority)[0], 400, authority)
        self.assertEqual(self.app.peers, [])
        self.assertEqual(w.n2.metric("istio_tcp_connections_opened_total"), 0)

    def test_an_authority_that_does_not_parse_gives_400(self):
        peer = self.dial()
        for authority in (self.server.v4, "web.default.svc.cluster.local", ":7000", f"{self.server.v4}:x"):
            self.assertIn(peer.request(authority)[0], (400, "reset"), authority)

    def test_port_0_is_an_authority_and_a_port_on_which_nobody_listens(self):
        """Contract 4.5, 6.1: the syntax is fine (step 6), so the order of checks goes on: 400 for another pod, 401 for a denial, else 503."""
        w, peer = self.world, self.dial()
        for authority in (f"{self.server.v4}:0", "web.default.svc.cluster.local:0"):
            self.assertEqual(peer.request(authority)[0], 503, authority)
        self.assertEqual(peer.request(f"{w.pods.client.v4}:0")[0], 400)
        lines = w.n2.wait_access(direction="inbound")
        self.assertEqual([line["dst.hbone_addr"] for line in lines], [f"{self.server.v4}:0"])
        self.assertEqual(w.n2.metric("istio_tcp_connections_failed_total", response_flags="CONNECT", reporter="destination"), 1)
        w.mesh.policy("nobody", "Allow", [[[{"principals": [principal(w.pods.other)]}]]], pods=[self.server])
        w.change()
        eventually(lambda: peer.request(f"{self.server.v4}:0")[0] == 401, "the policy's word")

    def test_other_methods_give_400(self):
        peer = self.dial()
        for method in ("GET", "POST", "OPTIONS"):
            self.assertEqual(peer.request(f"{self.server.v4}:7000", method)[0], 400, method)

    def test_the_tunnels_own_ports_give_503(self):
        peer = self.dial()
        for port in (15001, 15006, 15008):
            self.assertEqual(peer.request(f"{self.server.v4}:{port}")[0], 503, port)

    def test_an_unknown_hostname_or_service_port_gives_503(self):
        peer = self.dial()
        for authority in ("nobody.default.svc.cluster.local:80", "web.default.svc.cluster.local:81"):
            self.assertEqual(peer.request(authority)[0], 503, authority)

    def test_a_port_on_which_nobody_listens_gives_503(self):
        self.assertEqual(self.dial().request(f"{self.server.v4}:7999")[0], 503)

    def test_a_denied_identity_gets_401_and_the_tunnel_lives_on(self):
        w = self.world
        w.mesh.policy("only-client", "Allow", [[[{"principals": [principal(w.pods.client)]}]]], pods=[self.server])
        w.change()
        peer = self.dial()
        eventually(lambda: peer.request(f"{self.server.v4}:7000")[0] == 401, "401")
        self.assertEqual(peer.request(f"{self.server.v4}:7000")[0], 401)
        friend = self.dial(identity=w.pods.client.identity)
        self.assertEqual(friend.request(f"{self.server.v4}:7000")[0], 200)

    def test_headers_that_lie_change_no_verdict(self):
        """The policy sees the certificate and the socket, not what the headers tell."""
        w = self.world
        w.mesh.policy("only-client", "Allow", [[[{"principals": [principal(w.pods.client)], "sourceIps": [w.pods.client.v4 + "/32"]}]]],
                      pods=[self.server])
        w.change()
        peer = self.dial()
        lies = [("forwarded", f'for="{w.pods.client.v4}:1"'), ("x-forwarded-for", w.pods.client.v4), ("x-forwarded-network", "elsewhere"),
                ("baggage", "k8s.namespace.name=default,k8s.deployment.name=client"), ("traceparent", "-" * 55)]
        eventually(lambda: peer.request(f"{self.server.v4}:7000", more=lies)[0] == 401, "401")

    def test_every_refusal_ends_the_stream_and_has_no_other_header(self):
        """Contract 4.5: 400, 401 and 503; a 200 leaves the stream open and tells who answers."""
        w = self.world
        w.mesh.policy("no-7001", "Deny", [[[{"destinationPorts": [7001]}]]], pods=[self.server])
        w.change()
        peer = self.dial()
        eventually(lambda: peer.request(f"{self.server.v4}:7001")[0] == 401, "401")
        for authority, wanted in ((f"{self.server.v4}:7001", 401), (self.server.v4, 400), (f"{w.pods.client.v4}:7000", 400), (f"{self.server.v4}:15001", 503),
                                  (f"{self.server.v4}:7999", 503), ("nobody.default.svc.cluster.local:80", 503)):
            self.assertEqual(peer.request(authority)[0], wanted, authority)
            flags, block = peer.answer
            self.assertEqual((flags & END_STREAM, status_and_rest(block)[1]), (END_STREAM, b""), authority)
        self.assertEqual(peer.request(f"{self.server.v4}:7000")[0], 200)
        flags, block = peer.answer
        self.assertEqual(flags & END_STREAM, 0)
        self.assertNotEqual(status_and_rest(block)[1], b"", "baggage")

    def last_line(self, *more):
        """The access line of a connection with these headers."""
        w, count = self.world, len(self.world.n2.access())
        peer = self.dial()
        self.assertEqual(peer.request(f"{self.server.v4}:7000", more=more)[0], 200)
        peer.close()
        return w.n2.wait_access(count + 1)[-1]

    def test_of_several_forwarded_headers_the_first_counts(self):
        w = self.world
        w.mesh.service("shop", 2, [self.server], {"80": 7000})
        w.change()
        first, second = (("forwarded", f'for="{w.pods.plain.v4}:1";host={name}.default.svc.cluster.local') for name in ("web", "shop"))
        eventually(lambda: self.last_line(second).get("dst.service", "").startswith("shop"), "the second service")
        self.assertEqual(self.last_line(first, second)["dst.service"], "web.default.svc.cluster.local")
        self.assertEqual(self.last_line(second, first)["dst.service"], "shop.default.svc.cluster.local")

    def test_x_forwarded_network_header(self):
        """Of another network: the address is the gateway's, the baggage tells who it is. Of the own one: the address tells (contract 6.5)."""
        w = self.world
        w.mesh.pod(w.pods.plain, protocol="TCP")
        w.change()
        eventually(lambda: self.last_line(BAGGAGE).get("src.workload") == "plain", "the record of the peer's address")
        self.assertEqual(self.last_line(BAGGAGE, ("x-forwarded-network", ""))["src.workload"], "plain")
        self.assertEqual(self.last_line(BAGGAGE, ("x-forwarded-network", "elsewhere"))["src.workload"], "hand-made")
        self.assertEqual(self.last_line(BAGGAGE, ("x-forwarded-network", ""), ("x-forwarded-network", "elsewhere"))["src.workload"], "plain")

    def test_incoming_baggage_parsing_feature_gate(self):
        """On, as it is unless told otherwise."""
        self.assertEqual(self.last_line(BAGGAGE)["src.workload"], "hand-made")


class Gate(Peer):
    settings = {"env": {"ENABLE_RESPONSE_BAGGAGE": "false"}}

    def test_build_response_baggage_feature_gate(self):
        """Off: none is sent and none is read."""
        peer = self.dial()
        self.assertEqual(peer.request(f"{self.server.v4}:7000", more=[BAGGAGE])[0], 200)
        self.assertEqual(status_and_rest(peer.answer[1])[1], b"")
        peer.close()
        self.assertNotIn("src.workload", self.world.n2.wait_access()[0])


class Certificates(Peer):
    def refused(self, **how):
        with self.assertRaises(Refused):
            self.dial(**how)
        lines = eventually(lambda: self.world.n2.access("connection failed", direction="inbound"), "the refusal in the log")
        self.assertIn("error", lines[0])
        self.assertEqual(self.app.peers, [])

    def test_trust_domain_mismatch_rejected(self):
        self.refused(identity="spiffe://elsewhere.example/ns/default/sa/client")

    def test_a_peer_without_a_certificate_is_rejected(self):
        self.refused(identity=None)

    def test_a_certificate_of_another_authority_is_rejected(self):
        self.refused(authority=Authority(self.world.folder / "other-ca"))

    def test_a_certificate_without_a_mesh_identity_is_rejected(self):
        self.refused(identity="https://example.com/")


class WrongServer(MeshCase):
    settings = {"by_agent": False}  # the tunnel of node 1 has a file of its own

    def prepare(self):
        """Node 1's records say that the pod has another account than it has."""
        w = self.world
        w.server(w.pods.server, 7000)
        believed = Mesh(w.folder / "believed.yaml")
        for pod in w.enrolled:
            believed.pod(pod)
        believed.workloads["server"]["serviceAccount"] = "somebody-else"
        believed.write()
        w.overrides["n1"] = {"LOCAL_XDS_PATH": believed.path}

    def test_a_server_with_another_identity_than_its_record_gets_nothing(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "reset")
        self.assertIn("error", w.n1.wait_access(direction="outbound")[0])
        self.assertEqual(w.n2.metric("istio_tcp_connections_opened_total"), 0)


class OddServers(MeshCase):
    """What a client's tunnel says of a peer that is no HBONE server (contract 9.3). plain has a record as an HBONE workload."""

    IDENTITY = "spiffe://cluster.local/ns/default/sa/none"

    def prepare(self):
        self.world.mesh.pod(self.world.pods.plain)
        self.world.overrides["n1"] = {"WARREN_CONNECT_TIMEOUT": "2s"}

    def serve(self, authority, word=b"", answer=b"", then_close=False):
        """Says word at once, and answer when a request has come."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.set_alpn_protocols(["h2"])
        made.load_cert_chain(*map(str, authority.issue(self.IDENTITY, "odd")))

        def handle(connection):
            try:
                with made.wrap_socket(connection, server_side=True) as tls:
                    tls.sendall(word)
                    heard, asked = b"", False
                    while data := tls.recv(1 << 16):
                        heard += data
                        if not asked and HEADERS in frame_types(heard[len(PREFACE):]):
                            asked = True
                            tls.sendall(answer)
                            if then_close:
                                tls.shutdown(socket.SHUT_WR)
            except OSError:  # the tunnel ends it
                pass

        self.world.server(self.world.pods.plain, 15008, handle)

    def flag_of_a_call(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.client, w.pods.plain.v4, 7000, deadline=PATIENCE_S), "reset")
        error = w.n1.wait_access(direction="outbound")[-1]["error"]

        def flags():
            return {labels["response_flags"] for name, labels, value in w.n1.metrics() if name == "istio_tcp_connections_failed_total" and value}
        return eventually(flags, "a failed connection in the counters"), error

    def test_a_peer_whose_certificate_is_not_trusted_is_no_error_of_the_own_identity(self):
        self.serve(Authority(self.world.folder / "other-ca"))
        flags, error = self.flag_of_a_call()
        self.assertEqual(flags, {"CONNECT"}, error)
        self.assertIn("trust anchors", error)

    def test_a_peer_that_does_not_speak_http2_is_named_so(self):
        self.serve(self.world.ca, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        flags, error = self.flag_of_a_call()
        self.assertEqual(flags, {"H2_HANDSHAKE_FAILURE"}, error)
        self.assertIn("HTTP/2", error)

    def test_a_peer_that_resets_the_request_is_a_failure_of_http2(self):
        self.serve(self.world.ca, frame(SETTINGS), frame(RST_STREAM, 0, 1, struct.pack("!I", 2)))
        flags, error = self.flag_of_a_call()
        self.assertEqual(flags, {"H2_HANDSHAKE_FAILURE"}, error)

    def serve_answer(self, size, *end, then_close=False):
        payload = bytes(range(256)) * (size // 256)
        data = b"".join(frame(DATA, 0, 1, payload[at:at + 16384]) for at in range(0, size, 16384))
        self.serve(self.world.ca, frame(SETTINGS), frame(SETTINGS, ACK) + frame(HEADERS, END_HEADERS, 1, header_block([(":status", "200")])) +
                   data + b"".join(end), then_close)
        return payload

    def check_before_a_reset(self, size):
        """Envoy ends every CONNECT so whose connection its HTTP layer closes."""
        payload = self.serve_answer(size, frame(RST_STREAM, 0, 1, struct.pack("!I", 10)))
        with apps.connect(self.world.pods.client, self.world.pods.plain.v4, 7000) as connection:
            connection.sendall(b"ping")
            self.assertEqual(apps.read_exactly(connection, size), payload)
            self.assertEqual(apps.end_of(connection), "reset")
        self.world.n1.wait_access(direction="outbound", bytes_recv=size, error="stream reset by the peer, code 10")

    def test_a_word_before_a_reset_arrives(self):
        self.check_before_a_reset(256)

    def test_bulk_before_a_reset_arrives_whole(self):
        self.check_before_a_reset(2 << 20)

    def test_bulk_before_the_end_of_the_tunnel_arrives_whole(self):
        size = 2 << 20
        payload = self.serve_answer(size, then_close=True)
        with apps.connect(self.world.pods.client, self.world.pods.plain.v4, 7000) as connection:
            connection.sendall(b"ping")
            eventually(lambda: self.world.n1.metric("warren_pool_dials_total") == 1 and self.world.n1.metric("warren_pool_tunnels") == 0, "the tunnel is gone")
            self.assertEqual(apps.read_exactly(connection, size), payload)
            self.assertEqual(apps.end_of(connection), "reset")
        self.world.n1.wait_access(direction="outbound", bytes_recv=size, error="tunnel closed")

    def check_an_early_end(self, size):
        """A peer that is done and wants no more says so by a reset without an error (RFC 9113 8.1): the whole answer, and an orderly end."""
        payload = self.serve_answer(size, frame(DATA, END_STREAM, 1), frame(RST_STREAM, 0, 1, struct.pack("!I", 0)))
        with apps.connect(self.world.pods.client, self.world.pods.plain.v4, 7000) as connection:
            connection.sendall(b"ping")
            begun = apps.read_exactly(connection, 256)
            connection.sendall(bytes(4096))  # nobody reads it: what is closed over it is a reset to the kernel
            self.assertEqual(begun + apps.read_exactly(connection, size - 256), payload)
            self.assertEqual(apps.end_of(connection), "closed")
        self.world.n1.wait_access(direction="outbound", bytes_recv=size)

    def test_a_word_before_an_early_end_arrives(self):
        self.check_an_early_end(256)

    def test_bulk_before_an_early_end_arrives_whole(self):
        self.check_an_early_end(2 << 20)

    def check_status(self, status, text):
        """Every status but 200 is a failure (contract 4.5)."""
        self.serve(self.world.ca, frame(SETTINGS), frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block([(":status", status)])))
        flags, error = self.flag_of_a_call()
        self.assertEqual((flags, error), ({"CONNECT"}, text))

    def test_a_peers_status_is_told_with_its_phrase(self):
        self.check_status("403", "http status: 403 Forbidden")

    def test_another_good_status_than_200_is_a_failure_too(self):
        self.check_status("204", "http status: 204 No Content")

    def test_a_dial_that_gets_no_answer_names_network_policies(self):
        self.world.pods.plain.run("iptables", "-w", "20", "-A", "INPUT", "-p", "tcp", "--dport", "15008", "-j", "DROP")
        flags, error = self.flag_of_a_call()
        self.assertEqual(flags, {"NETWORK_POLICY"}, error)
        self.assertIn("connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: ", error)
