# SPDX-License-Identifier: Apache-2.0
"""Connections to service addresses: spread over endpoints, retried where an endpoint fails, refused where none is left."""
import apps
import dns
from waiting import eventually
from world import MeshCase

PODS = (("client", 1, "client"), ("one", 1, "server"), ("two", 2, "server"), ("plain", 1, None))
VIP4, VIP6 = "10.77.99.1", "fd77:99::1"


class Services(MeshCase):
    settings = {"pods": PODS}

    def prepare(self):
        w = self.world
        w.mesh.service("web", 1, [w.pods.one, w.pods.two], {"80": 7000, "81": 7001})

    def greeting(self, ip, port=80):
        with apps.connect(self.world.pods.client, ip, port) as connection:
            return apps.read_line(connection)

    def test_fifty_connections_reach_both_endpoints(self):
        """service_loadbalancing"""
        w = self.world
        servers = {name: w.server(getattr(w.pods, name), 7000, apps.named(name)) for name in ("one", "two")}
        for vip, source in ((VIP4, w.pods.client.v4), (VIP6, w.pods.client.v6)):
            with self.subTest(vip=vip):
                self.assertEqual({self.greeting(vip) for _ in range(50)}, {"one", "two"})
                for server in servers.values():
                    self.assertEqual(server.peers[-1][0], source)
                    self.assertEqual(server.locals[-1], (server.pod.address(6 if ":" in vip else 4), 7000))
        lines = w.n1.wait_access(100, direction="outbound", dst_service="web.default.svc.cluster.local")
        self.assertEqual({line["dst.workload"] for line in lines}, {"one", "two"})
        self.assertEqual(w.n1.metric("istio_tcp_connections_opened_total", reporter="source", destination_service_name="web"), 100)

    def test_the_client_sees_the_service_address_as_its_peer(self):
        """test_vip_request"""
        w = self.world
        w.server(w.pods.one, 7000)
        w.server(w.pods.two, 7000)
        for vip in (VIP4, VIP6):
            with apps.connect(w.pods.client, vip, 80) as connection:
                apps.ask(connection)
                self.assertEqual(connection.getpeername()[:2], (vip, 80))

    def test_a_waypoint_named_by_its_hostname_gets_the_services_connections(self):
        """service_waypoint_hostname: The record names the waypoint's service; TCP goes to its endpoint, and the CONNECT says what was asked for."""
        w, waypoint = self.world, self.world.pods.two
        w.mesh.service("gate", 2, [waypoint], {"15008": 15008})
        w.mesh.services["web"]["waypoint"] = {"destination": "default/gate.default.svc.cluster.local", "hboneMtlsPort": 15008}
        w.change()
        # The waypoint's tunnel hands on to what listens in its pod at the port that was asked for.
        app = w.server(waypoint, 80, apps.named("waypoint"))
        w.server(w.pods.one, 7000, apps.named("one"))
        for vip in (VIP4, VIP6):
            eventually(lambda v=vip: self.greeting(v) == "waypoint", "an answer by the waypoint")
        self.assertEqual({ip for ip, _ in app.peers}, {w.pods.client.v4, w.pods.client.v6})
        lines = w.n1.wait_access(2, direction="outbound", dst_workload="two")
        self.assertEqual({(line["dst.addr"].rpartition(":")[2], line["dst.hbone_addr"], line["dst.service"]) for line in lines},
                         {("15008", f"{VIP4}:80", "web.default.svc.cluster.local"), ("15008", f"[{VIP6}]:80", "web.default.svc.cluster.local")})
        # Gone, nothing else gets what was meant for it.
        w.mesh.services.pop("gate")
        w.mesh.workloads["two"]["services"].pop("default/gate.default.svc.cluster.local")
        w.change()
        eventually(lambda: apps.call(w.pods.client, VIP4, 80) == "reset", "refused without its waypoint")
        eventually(lambda: w.n1.access("connection failed", direction="outbound", error="unknown_waypoint"), "the reason")

    def test_an_endpoint_that_refuses_is_replaced_by_another(self):
        """Only one listens; whoever is led to the other one first must not notice."""
        w = self.world
        w.server(w.pods.two, 7000, apps.named("two"))
        self.assertEqual([self.greeting(VIP4) for _ in range(20)], ["two"] * 20)
        eventually(lambda: len([line for line in w.n1.access(direction="outbound") if "error" not in line]) == 20, "20 good ends")
        failed = [line for line in w.n1.access(direction="outbound") if "error" in line]
        self.assertGreater(len(failed), 0)
        self.assertEqual({line["dst.workload"] for line in failed}, {"one"})

    def test_an_endpoint_without_a_tunnel_is_replaced_by_another(self):
        """Its port 15008 refuses: the pod is in the mesh's records and its node does not serve it."""
        w = self.world
        w.server(w.pods.one, 7000, apps.named("one"))
        w.server(w.pods.two, 7000, apps.named("two"))
        self.assertEqual(w.agents["n2"].delete(w.pods.two), "")
        self.assertEqual([self.greeting(VIP4) for _ in range(20)], ["one"] * 20)

    def test_a_service_of_which_no_endpoint_answers_resets(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.client, VIP4, 80), "reset")
        lines = w.n1.wait_access(2, direction="outbound")
        self.assertEqual({line["dst.workload"] for line in lines}, {"one", "two"})

    def test_an_endpoint_that_failed_is_not_asked_again_for_the_same_connection(self):
        """Its peer would see calls that nobody made, and a client wait for each."""
        w = self.world
        w.mesh.service("alone", 3, [w.pods.two], {"80": 7000})
        w.change()
        eventually(lambda: apps.call(w.pods.client, "10.77.99.3", 80) == "reset", "reset")
        before = len(w.n1.wait_access(1, direction="outbound"))
        for _ in range(3):
            self.assertEqual(apps.call(w.pods.client, "10.77.99.3", 80), "reset")
        self.assertEqual([line["dst.workload"] for line in w.n1.wait_access(before + 3, direction="outbound")], ["two"] * (before + 3))
        self.assertEqual(len(w.n2.wait_access(before + 3, direction="inbound")), before + 3)

    def test_a_service_without_healthy_endpoints_resets_with_a_reason(self):
        w = self.world
        w.server(w.pods.one, 7000)
        for name in ("one", "two"):
            w.mesh.workloads[name]["status"] = "Unhealthy"
        w.change()
        eventually(lambda: apps.call(w.pods.client, VIP4, 80) == "reset", "reset")
        line = eventually(lambda: w.n1.access("connection failed", direction="outbound"), "the refusal in the log")[0]
        self.assertEqual((line["dst.addr"], line["error"]), (f"{VIP4}:80", "no_healthy_upstream"))
        self.assertGreaterEqual(w.n1.metric("warren_early_denies_total", reason="no_healthy_upstream"), 1)

    def test_a_port_the_service_does_not_list_resets(self):
        w = self.world
        w.server(w.pods.one, 9999)
        self.assertEqual(apps.call(w.pods.client, VIP4, 9999), "reset")
        eventually(lambda: w.n1.access("connection failed", direction="outbound", dst_addr=f"{VIP4}:9999"), "the refusal in the log")

    def test_endpoints_outside_the_mesh_are_reached_as_they_are(self):
        w = self.world
        plain = w.mesh.pod(w.pods.plain, protocol="TCP")
        w.mesh.service("outside", 2, [w.pods.plain], {"80": 7000})
        self.assertEqual(plain["protocol"], "TCP")
        server = w.server(w.pods.plain, 7000, apps.named("plain"))
        w.change()
        eventually(lambda: self.greeting("10.77.99.2") == "plain", "the greeting")
        self.assertEqual(server.peers[-1][0], w.pods.client.v4)
        line = w.n1.wait_access(direction="outbound", dst_workload="plain")[-1]
        self.assertEqual(line["dst.addr"], f"{w.pods.plain.v4}:7000")
        self.assertNotIn("src.identity", line)


class Hostnames(MeshCase):
    """An endpoint without an address of its own, as a ServiceEntry's with a hostname is."""

    settings = {"pods": PODS}

    def prepare(self):
        w, node = self.world, self.world.lab.nodes["n1"]
        w.keep(dns.Upstream(node, node.v4, "far.example", w.pods.plain.v4))
        w.launchers["n1"] = dns.resolver(w.folder, f"nameserver {node.v4}\n")
        ports = {"80": 7000}
        w.mesh.service("far", 3, [], ports)
        w.mesh.workloads["far"] = {"uid": "far", "name": "far", "namespace": "default", "workloadIps": [], "hostname": "far.example",
                                   "services": {"default/far.default.svc.cluster.local": ports}}
        w.mesh.workloads["unheard-of"] = {**w.mesh.workloads["far"], "uid": "unheard-of", "name": "unheard-of", "hostname": "unheard-of.example",
                                          "services": {"default/gone.default.svc.cluster.local": ports}}
        w.mesh.service("gone", 4, [], ports)

    def test_an_endpoint_that_is_a_hostname_is_asked_for_and_reached(self):
        """test_on_demand_dns_request"""
        w = self.world
        w.server(w.pods.plain, 7000)
        for _ in range(2):
            self.assertEqual(apps.call(w.pods.client, "10.77.99.3", 80), "answered")
        lines = w.n1.wait_access(2, direction="outbound")
        self.assertEqual({line["dst.addr"] for line in lines}, {f"{w.pods.plain.v4}:7000"})
        self.assertEqual(w.n1.metric("istio_on_demand_dns_total", hostname="far.example", source_workload="client", source_principal="unknown"), 2)

    def test_a_hostname_that_does_not_resolve_ends_the_connection_with_a_reason(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.client, "10.77.99.4", 80), "reset")
        [line] = eventually(lambda: w.n1.access("connection failed", direction="outbound"), "the refusal in the log")
        self.assertIn("unheard-of.example", line["error"])
        self.assertEqual(w.n1.metric("istio_on_demand_dns_total", hostname="unheard-of.example"), 1)
