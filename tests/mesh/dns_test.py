# SPDX-License-Identifier: Apache-2.0
"""Names asked in a pod whose packet rules capture DNS (data-plane contract 8.7)."""
import apps
import dns
from world import MeshCase

WEB = "web.default.svc.cluster.local"
VIP4, VIP6 = "10.77.99.1", "fd77:99::1"


class Names(MeshCase):
    settings = {"dns": True}

    def prepare(self):
        w = self.world
        w.mesh.service("web", 1, [w.pods.server], {"80": 7000})
        node = w.lab.nodes["n1"]
        self.upstream = w.keep(dns.Upstream(node, node.v4, "elsewhere.example", "192.0.2.7"))
        w.launchers["n1"] = dns.resolver(w.folder, f"nameserver {node.v4}\n")

    def test_a_services_name_gives_its_addresses_over_udp_and_tcp(self):
        client = self.world.pods.client
        for tcp in (False, True):
            for name in (WEB, WEB.upper(), "web", "web.default", "web.default.svc"):
                self.assertEqual(dns.ask(client, name, dns.A, tcp), (dns.NOERROR, {VIP4}, 30), name)
                self.assertEqual(dns.ask(client, name, dns.AAAA, tcp), (dns.NOERROR, {VIP6}, 30), name)
        self.assertEqual(self.upstream.asked, [])
        self.assertEqual(self.world.n1.metric("istio_dns_requests_total", request_protocol="udp", request_query_type="a"), 5)
        self.assertEqual(self.world.n1.metric("istio_dns_requests_total", request_protocol="tcp", request_query_type="aaaa"), 5)

    def test_the_address_that_a_name_gives_is_reached(self):
        w = self.world
        w.server(w.pods.server, 7000)
        _, addresses, _ = dns.ask(w.pods.client, WEB)
        self.assertEqual(apps.call(w.pods.client, addresses.pop(), 80), "answered")

    def test_other_names_are_asked_upstream_from_the_pod(self):
        w = self.world
        for tcp in (False, True):
            self.assertEqual(dns.ask(w.pods.client, "elsewhere.example", dns.A, tcp)[:2], (dns.NOERROR, {"192.0.2.7"}))
        self.assertEqual(dns.ask(w.pods.client, "nobody.example")[:2], (dns.NXDOMAIN, set()))
        self.assertEqual(set(self.upstream.asked), {w.pods.client.v4})

    def test_an_upstream_that_is_gone_gives_servfail(self):
        self.upstream.close()
        self.assertEqual(dns.ask(self.world.pods.client, "elsewhere.example")[0], dns.SERVFAIL)

    def test_a_service_that_comes_later_is_known_at_once(self):
        w = self.world
        self.assertEqual(dns.ask(w.pods.client, "late.default.svc.cluster.local")[0], dns.NXDOMAIN)
        w.mesh.service("late", 2, [w.pods.server], {"80": 7000})
        w.change()
        self.assertEqual(dns.ask(w.pods.client, "late.default.svc.cluster.local")[:2], (dns.NOERROR, {"10.77.99.2"}))
