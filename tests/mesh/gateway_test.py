# SPDX-License-Identifier: Apache-2.0
"""Ways to a pod that are not the plain one: another network behind a gateway (double HBONE, contract 4.9, 5.5), an application that takes the
PROXY protocol (contract 4.11)."""
import ipaddress
import struct

import apps
from envoy import Envoy
from mesh import Mesh
from waiting import eventually
from world import MeshCase

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
VIP = "10.77.99.1"
HOSTNAME = "web.default.svc.cluster.local"


class OtherNetwork(MeshCase):
    """Node 2 is network "remote". plain is its gateway: Envoy, which ends the outer CONNECT and passes its bytes on to server's port 15008."""

    # A file of its own for node 1, so not by the agent.
    settings = {"pods": (("client", 1, "client"), ("server", 2, "server"), ("plain", 2, None)), "by_agent": False}
    GATEWAY = "spiffe://cluster.local/ns/default/sa/none"

    def prepare(self):
        w = self.world
        here = Mesh(w.folder / "here.yaml")
        here.pod(w.pods.client)
        here.pod(w.pods.plain)
        here.pod(w.pods.server, network="remote", workloadIps=[], networkGateway={"destination": f"/{w.pods.plain.v4}", "hboneMtlsPort": 15008})
        here.service("web", 1, [w.pods.server], {"80": 7000}, subjectAltNames=self.names())
        here.write()
        w.overrides["n1"] = {"LOCAL_XDS_PATH": here.path}
        for pod in w.enrolled:
            w.mesh.pod(pod, network="remote")
        w.mesh.service("web", 1, [w.pods.server], {"80": 7000}, vips=[f"remote/{VIP}"])
        w.overrides["n2"] = {"NETWORK": "remote"}

    def names(self):
        return [self.world.pods.server.identity]

    def gateway(self):
        return Envoy(self.world, self.world.pods.plain, "gateway", self.GATEWAY, target=self.world.pods.server.v4)


class DoubleHbone(OtherNetwork):
    def test_a_service_of_another_network_is_reached_through_its_gateway(self):
        """double_hbone1"""
        w = self.world
        w.server(w.pods.server, 7000)
        gateway = self.gateway()
        for _ in range(5):
            self.assertEqual(apps.call(w.pods.client, VIP, 80, b"x" * 100_000), "answered")
        into = w.n2.wait_access(5, direction="inbound", src_identity=w.pods.client.identity)
        self.assertEqual((into[0]["dst.hbone_addr"], into[0]["dst.workload"]), (f"{HOSTNAME}:80", "server"))
        self.assertEqual((into[0]["bytes_sent"], into[0]["bytes_recv"]), (100_000, 100_000))
        out = w.n1.wait_access(5, direction="outbound", dst_service=HOSTNAME)
        self.assertFalse([line for line in out if "error" in line], out)
        self.assertEqual((out[0]["dst.addr"], out[0]["dst.identity"]), (f"{w.pods.plain.v4}:15008", w.pods.server.identity))
        lines = eventually(lambda: len(gateway.access()) >= 5 and gateway.access(), "the gateway's log")
        self.assertIn(f"CONNECT {HOSTNAME}:80 200 peer={w.pods.client.identity} ", lines[0])

    def test_bulk_half_close_and_reset_pass_the_gateway(self):
        w = self.world
        w.server(w.pods.server, 7000, apps.count_then_answer)
        self.gateway()
        with apps.connect(w.pods.client, VIP, 80) as connection:
            total, digest = apps.send_pattern(connection, 5, 16 << 20)
            self.assertEqual(apps.read_line(connection), f"{total} {digest}")


class Impostor(OtherNetwork):
    def names(self):
        return ["spiffe://cluster.local/ns/default/sa/somebody-else"]

    def test_behind_the_gateway_only_the_services_own_identity_is_trusted(self):
        w = self.world
        app = w.server(w.pods.server, 7000)
        self.gateway()
        self.assertEqual(apps.call(w.pods.client, VIP, 80), "reset")
        self.assertEqual(app.peers, [])
        self.assertIn("error", w.n1.wait_access(direction="outbound")[0])


class NoGateway(OtherNetwork):
    def test_a_gateway_that_does_not_answer_ends_with_a_reset(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.client, VIP, 80), "reset")
        self.assertIn("error", w.n1.wait_access(direction="outbound")[0])


class ApplicationTunnel(MeshCase):
    def test_an_application_that_asks_for_it_gets_the_proxy_protocol(self):
        """sandwich_waypoint_proxy_protocol"""
        w, heads = self.world, []

        def proxied(connection):
            head = apps.read_exactly(connection, 16)
            heads.append((head, apps.read_exactly(connection, struct.unpack(">H", head[14:])[0])))
            apps.echo(connection)

        app = w.server(w.pods.server, 15088, proxied)
        w.mesh.workloads["server"]["applicationTunnel"] = {"protocol": "PROXY", "port": 15088}
        w.change()
        for source, target, loopback in ((w.pods.client.v4, w.pods.server.v4, "127.0.0.1"), (w.pods.client.v6, w.pods.server.v6, "::1")):
            heads.clear()
            self.assertEqual(apps.call(w.pods.client, target, 7000), "answered")
            head, body = heads[0]
            packed = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
            self.assertEqual(head[:14], SIGNATURE + bytes([0x21, 0x11 if "." in source else 0x21]))
            self.assertEqual(body[:len(packed)], packed)
            self.assertEqual(struct.unpack(">H", body[len(packed) + 2:len(packed) + 4])[0], 7000)
            kind, length = struct.unpack(">BH", body[len(packed) + 4:len(packed) + 7])
            self.assertEqual((kind, body[len(packed) + 7:len(packed) + 7 + length].decode()), (0xD0, w.pods.client.identity))
            self.assertEqual(app.peers[-1][0], loopback)
