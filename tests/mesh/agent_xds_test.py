# SPDX-License-Identifier: Apache-2.0
"""The mesh for a tunnel that speaks xDS over TLS only, as a stock one does: warren-agent on loopback, with a root to trust and a token to show."""
import pathlib
import tempfile
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
