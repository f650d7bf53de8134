# SPDX-License-Identifier: Apache-2.0
"""The mesh as warren-agent hands it on to its tunnel: over TLS on loopback, as a stock tunnel has it, and record by record."""
import pathlib
import tempfile
import time
import unittest

import apps
import xds
from waiting import eventually
from world import MeshCase

ASK = str(pathlib.Path(__file__).with_name("ask_mesh.py"))
ADDRESS, TOKEN = "127.0.0.1:15013", "the-tunnel's-token"


class OverTls(MeshCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="wrt-token-")
        self.addCleanup(folder.cleanup)
        self.token = pathlib.Path(folder.name) / "token"
        self.token.write_text(TOKEN, encoding="ascii")
        self.settings = {"by_agent": True, "agent": {"same-node-mode": "off", "dns-capture": "false", "tunnel-xds-address": ADDRESS,
                                                     "tunnel-xds-token": str(self.token)}}
        super().setUp()

    def prepare(self):
        w = self.world
        for name in w.lab.nodes:
            w.overrides[name] = {"XDS_ADDRESS": f"https://{ADDRESS}", "XDS_ROOT_CA": str(self.root(name)), "AUTH_TOKEN": str(self.token)}
        w.server(w.pods.server, 7000)

    def root(self, node="n1"):
        return self.world.folder / f"agent-{node}" / "run/xds-root.pem"

    def ask(self, token, roots=None):
        return self.world.lab.nodes["n1"].run(xds.PYTHON, ASK, ADDRESS, str(roots or self.root()), token, "Pod/default/near")

    def test_a_tunnel_has_the_whole_mesh_over_https_also_after_the_agent_was_away(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        agent, root = w.agents["n1"], self.root().read_bytes()
        self.assertEqual(agent.status()["mesh"]["tunnels"], 1)
        agent.stop()
        agent.start().wait_answers()
        self.assertEqual(self.root().read_bytes(), root)  # a stock tunnel reads its root once
        eventually(lambda: agent.status()["mesh"]["tunnels"] == 1, lambda: f"{agent.status()['mesh']}\n{w.n1.log_tail()}", 30)
        w.change()

    @unittest.skipIf(xds.missing(), xds.missing())
    def test_a_stock_client_gets_the_mesh_for_the_token_and_nothing_without(self):
        self.assertTrue(self.ask(TOKEN).startswith("found"), self.ask(TOKEN))
        for wrong in ("", "another", TOKEN + "x", TOKEN[:-1]):
            self.assertTrue(self.ask(wrong).startswith("UNAUTHENTICATED"), self.ask(wrong))
        self.assertTrue(self.ask(TOKEN, self.world.ca.certificate).startswith("UNAVAILABLE"))


def records(tunnel):
    return {one["name"] for one in tunnel.config_dump()["workloads"]}


class OnDemand(MeshCase):
    """Only the agent holds the whole mesh; its tunnel all services, and the workloads that connections ask for."""
    settings = {"by_agent": True, "agent": {"same-node-mode": "off"},
                "env": {"XDS_ON_DEMAND": "true", "WARREN_XDS_SERVICES": "true", "WARREN_XDS_UNUSED": "1s", "WARREN_XDS_WAIT": "700ms"}}

    def prepare(self):
        w = self.world
        w.server(w.pods.server, 7000)
        w.mesh.service("shop", 1, [w.pods.server], {"80": 7000})

    def call(self, ip, port):
        return apps.call(self.world.pods.client, ip, port)

    def test_the_nodes_own_pods_are_known_others_when_asked_for_and_given_back_unused(self):
        w = self.world
        self.assertEqual(records(w.n1), {"client", "near"})
        self.assertEqual(self.call(w.pods.server.v4, 7000), "answered")
        self.assertEqual(records(w.n1), {"client", "near", "server"})
        self.assertEqual(w.n1.metric("warren_xds_lookups_total", outcome="miss"), 1)
        self.assertEqual(self.call(w.pods.server.v4, 7000), "answered")
        self.assertEqual(w.n1.metric("warren_xds_lookups_total", outcome="miss"), 1)
        eventually(lambda: records(w.n1) == {"client", "near"}, "the record is given back")
        self.assertEqual(self.call(w.pods.server.v6, 7000), "answered")

    def test_all_services_are_at_hand_and_bring_their_endpoints_when_called(self):
        w = self.world
        eventually(lambda: [s["name"] for s in w.n1.config_dump()["services"]] == ["shop"], "the services")
        self.assertEqual({self.call("10.77.99.1", 80), self.call("fd77:99::1", 80)}, {"answered"})
        self.assertIn("server", records(w.n1))

    def test_an_address_of_nobody_is_passed_through(self):
        w = self.world
        w.server(w.pods.plain, 7000)
        self.assertEqual(self.call(w.pods.plain.v4, 7000), "answered")
        self.assertTrue(w.n1.wait_access(direction="outbound", dst_addr=f"{w.pods.plain.v4}:7000"))

    def test_while_the_agent_is_away_what_nobody_knows_is_refused_at_its_deadline_and_never_passed_through(self):
        w = self.world
        plain = w.server(w.pods.plain, 7000)
        agent = w.agents["n1"]
        agent.stop()
        eventually(lambda: w.n1.metric("warren_xds_connected") == 0, "the outage is seen")
        begun = time.monotonic()
        self.assertEqual(self.call(w.pods.plain.v4, 7000), "reset")
        self.assertGreater(time.monotonic() - begun, 0.6)
        self.assertEqual(plain.peers, [])
        agent.start().wait_answers()
        eventually(lambda: self.call(w.pods.server.v4, 7000) == "answered", "reachable again")
