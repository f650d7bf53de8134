# SPDX-License-Identifier: Apache-2.0
"""What the tunnel tells the node agent of each connection: the flow feed over a local socket."""
import apps
from flows import FlowReader
from mesh import principal
from waiting import eventually
from world import MeshCase


class FlowFeed(MeshCase):
    def prepare(self):
        w = self.world
        self.feeds = {}
        for node in ("n1", "n2"):
            path = str(w.folder / f"{node}.flows")
            self.feeds[node] = w.keep(FlowReader(path))
            w.overrides[node] = {"WARREN_FLOW_SOCKET": path}
        w.server(w.pods.server, 7000)
        w.server(w.pods.server, 7001)
        w.server(w.pods.plain, 7000)
        w.mesh.service("web", 1, [w.pods.server], {"80": 7000})
        w.mesh.policy("7001-for-other", "Deny", [[[{"notPrincipals": [principal(w.pods.other)]}], [{"destinationPorts": [7001]}]]],
                      pods=[w.pods.server])

    def test_both_ends_tell_who_talked_to_whom_and_how_much(self):
        w = self.world
        connection = w.connect(w.pods.client, "10.77.99.1", 80)
        apps.ask(connection, b"x" * 1000)
        client = (w.pods.client.v4, connection.getsockname()[1])
        opened = self.feeds["n1"].wait(direction="outbound", ended=False)[0]
        connection.close()
        ended = self.feeds["n1"].wait(direction="outbound", ended=True)[0]
        want = {"node": "n1", "path": "tunnel", "source": client, "requested": ("10.77.99.1", 80), "destination": (w.pods.server.v4, 7000),
                "src_identity": w.pods.client.identity, "src_proof": "kernel", "src_name": "client", "dst_identity": w.pods.server.identity,
                "dst_name": "server", "service": "default/web.default.svc.cluster.local", "verdict": "not judged"}
        for flow in (opened, ended):
            self.assertEqual({key: flow[key] for key in want}, want)
        self.assertEqual((opened["cookie"], opened["start"]), (ended["cookie"], ended["start"]))
        self.assertGreater(opened["cookie"], 0)
        self.assertEqual((ended["to_destination"], ended["to_source"], ended["close"], ended["dst_proof"]), (1000, 1000, "finished", "certificate"))

        inbound = self.feeds["n2"].wait(direction="inbound", ended=True)[0]
        want = {"node": "n2", "path": "tunnel", "src_identity": w.pods.client.identity, "src_proof": "certificate", "dst_proof": "kernel",
                "destination": (w.pods.server.v4, 7000), "verdict": "allowed", "to_destination": 1000, "to_source": 1000, "close": "finished"}
        self.assertEqual({key: inbound[key] for key in want}, want)
        self.assertEqual(inbound["source"][0], w.pods.client.v4)

    def test_a_denial_names_the_policy_and_the_rule(self):
        w = self.world
        apps.call(w.pods.client, w.pods.server.v4, 7001)
        denied = self.feeds["n2"].wait(direction="inbound", verdict="denied")
        self.assertEqual(len(denied), 1)
        want = {"policy": "default/7001-for-other", "rule": 0, "reason": "denied_by_policy", "close": "policy denied", "ended": True, "to_destination": 0}
        self.assertEqual({key: denied[0][key] for key in want}, want)

    def test_plaintext_and_passthrough_are_told_as_such(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.plain, w.pods.server.v6, 7000), "answered")
        self.assertEqual(apps.call(w.pods.client, w.pods.plain.v4, 7000), "answered")
        inbound = self.feeds["n2"].wait(path="plaintext", ended=True)[0]
        self.assertEqual((inbound["src_proof"], inbound["source"][0], inbound["verdict"]), (None, w.pods.plain.v6, "allowed"))
        self.assertEqual(self.feeds["n1"].wait(path="passthrough", ended=True)[0]["reason"], "passthrough_unknown")

    def test_a_policy_that_cuts_a_live_connection_is_the_flows_reason(self):
        w = self.world
        connection = w.connect(w.pods.client, w.pods.server.v4, 7000)
        apps.ask(connection)
        self.feeds["n2"].wait(direction="inbound", ended=False)
        w.mesh.policy("nobody", "Deny", [[[{"principals": [principal(w.pods.client)]}]]], pods=[w.pods.server])
        w.change()
        self.assertEqual(apps.end_of(connection), "reset")
        flow = self.feeds["n2"].wait(close="policy changed")[0]
        self.assertEqual((flow["policy"], flow["verdict"]), ("default/nobody", "denied"))
        self.feeds["n1"].wait(close="reset by destination")

    def test_an_agent_that_comes_back_is_told_of_open_connections(self):
        w = self.world
        feed = self.feeds["n1"]
        connection = w.connect(w.pods.client, w.pods.server.v4, 7000)
        apps.ask(connection)
        cookie = feed.wait(direction="outbound")[0]["cookie"]
        feed.close()
        eventually(lambda: w.n1.metric("warren_flow_feed_connected") == 0, "the tunnel sees it")
        apps.ask(connection)
        feed.flows.clear()
        feed.open()
        again = feed.wait(direction="outbound", cookie=cookie)[0]
        self.assertEqual((again["ended"], again["to_destination"]), (False, 8))
        self.assertEqual(w.n1.metric("warren_flow_feed_sessions_total"), 2)
        self.assertEqual(w.n1.metric("warren_flow_feed_flows_total", outcome="lost"), 0)

    def test_flows_agree_with_the_access_log(self):
        w = self.world
        for i in range(50):
            apps.call(w.pods.client, w.pods.server.v4, 7000, b"x" * (i + 1))
        w.n1.wait_access(50, direction="outbound")
        flows = self.feeds["n1"].wait(50, direction="outbound", ended=True)
        lines = w.n1.access(direction="outbound")
        self.assertEqual(sorted((f"{ip}:{port}", f["to_destination"], f["to_source"]) for f in flows for ip, port in [f["source"]]),
                         sorted((line["src.addr"], line["bytes_sent"], line["bytes_recv"]) for line in lines))
        self.assertEqual(self.feeds["n1"].lost, 0)
