# SPDX-License-Identifier: Apache-2.0
"""warren-agent and its kernel programs with real tunnels and real connections: the same-node path, live verdicts, flows, crash and return,
what leaves with it. Policies name pods of the same node, because that is where the kernel decides."""
import pathlib

import apps
from mesh import principal
from waiting import Stopwatch, eventually
from world import MeshCase

DIRECT = {"same-node-mode": "direct", "flows-sample-period": "1s"}


class ByAgent(MeshCase):
    settings = {"by_agent": True, "agent": DIRECT}

    @property
    def agent(self):
        return self.world.agents["n1"]

    def wait_rows(self):
        """The kernel knows what policy says of every pair of the node's pods."""
        eventually(lambda: self.agent.status()["tables"]["verdict_pairs"] >= 4, lambda: self.agent.status()["tables"])

    def open_tunnelled(self):
        """Connections that this node's tunnel ever opened."""
        return self.world.n1.metric("istio_tcp_connections_opened_total")


class Direct(ByAgent):
    def prepare(self):
        w = self.world
        w.server(w.pods.near, 7000)

    def test_an_allowed_connection_of_one_node_never_meets_the_tunnel(self):
        w = self.world
        self.wait_rows()
        for family in (4, 6):
            with apps.connect(w.pods.client, w.pods.near.address(family), 7000) as connection:
                apps.ask(connection, b"native")
                self.assertEqual(connection.getpeername()[0], w.pods.near.address(family))
        self.assertEqual(self.open_tunnelled(), 0)
        counters = self.agent.counters()
        self.assertEqual((counters["connect_direct"], counters["announced_taken"], counters["inbound_plaintext"]), (2, 2, 0))
        flow = self.agent.wait_flows(2, path="direct", close_reason="finished")[0]
        self.assertEqual((flow["source"]["identity"], flow["destination"]["identity"]), (w.pods.client.identity, w.pods.near.identity))
        self.assertEqual((flow["source"]["proof"], flow["destination"]["proof"]), ("kernel", "kernel"))
        self.assertEqual((flow["bytes_to_destination"], flow["bytes_to_source"]), (6, 6))
        self.assertEqual(flow["decision"]["verdict"], "allowed")

    def test_a_denied_connection_is_refused_at_connect_and_its_record_names_the_policy(self):
        w = self.world
        w.mesh.policy("no-client", "Deny", [[[{"principals": [principal(w.pods.client)]}]]], pods=[w.pods.near])
        w.change()
        eventually(lambda: apps.call(w.pods.client, w.pods.near.v4, 7000) == "refused", "refused")
        flow = self.agent.wait_flows(1, close_reason="policy_denied")[0]
        self.assertEqual(flow["decision"], {"verdict": "denied", "policy": "default/no-client", "rule_index": 0, "reason": "denied_by_policy"})
        self.assertEqual(flow["path"], "direct")
        self.assertGreaterEqual(self.agent.metric("warren_flows_denied_total", policy="default/no-client"), 1)

    def test_a_service_address_is_drawn_here_and_the_application_keeps_seeing_it(self):
        w = self.world
        w.mesh.service("web", 1, [w.pods.near], {"80": "7000"})
        w.change()
        eventually(lambda: self.agent.status()["tables"]["service_addresses_drawn"] == 2, lambda: self.agent.status()["tables"])
        self.wait_rows()
        with apps.connect(w.pods.client, "10.77.99.1", 80) as connection:
            apps.ask(connection)
            self.assertEqual(connection.getpeername()[:2], ("10.77.99.1", 80))
        self.assertEqual(self.open_tunnelled(), 0)
        flow = self.agent.wait_flows(1, path="direct")
        self.assertEqual((flow[0]["requested_address"], flow[0]["destination_address"]), ("10.77.99.1:80", f"{w.pods.near.v4}:7000"))
        self.assertEqual(flow[0]["destination_service"], "default/web.default.svc.cluster.local")

    def test_a_service_that_gets_a_waypoint_is_drawn_no_more(self):
        """No pod changes with it. The waypoint does not answer: refused, and not straight to the pod."""
        w = self.world
        w.mesh.service("web", 1, [w.pods.near], {"80": "7000"})
        w.change()
        eventually(lambda: self.agent.status()["tables"]["service_addresses_drawn"] == 2, lambda: self.agent.status()["tables"])
        w.mesh.service("web", 1, [w.pods.near], {"80": "7000"}, waypoint={"destination": f"/{w.pods.plain.v4}", "hboneMtlsPort": 15008})
        w.change()
        eventually(lambda: self.agent.status()["tables"]["service_addresses_drawn"] == 0, lambda: self.agent.status()["tables"])
        self.assertEqual(apps.call(w.pods.client, "10.77.99.1", 80), "reset")

    def test_the_tunnel_honours_the_endpoint_that_the_kernel_drew(self):
        """Two endpoints, one here and one away: each connection ends where it was drawn to, and both are drawn."""
        w = self.world
        seen = {"near": w.server(w.pods.near, 7001, apps.named("near")), "server": w.server(w.pods.server, 7001, apps.named("server"))}
        w.mesh.service("both", 2, [w.pods.near, w.pods.server], {"80": "7001"})
        w.change()
        self.wait_rows()
        eventually(lambda: self.agent.status()["tables"]["service_addresses_drawn"] >= 2, lambda: self.agent.status()["tables"])
        for _ in range(60):
            with apps.connect(w.pods.client, "10.77.99.2", 80) as connection:
                apps.read_line(connection)
        here, away = len(seen["near"].peers), len(seen["server"].peers)
        self.assertEqual(here + away, 60)
        self.assertGreater(min(here, away), 10, "an even draw of 60")
        self.assertEqual(self.agent.counters()["connect_direct"], here)

    def test_strict_mutual_tls_accepts_the_attested_path_and_no_other_plaintext(self):
        w = self.world
        w.mesh.policy("strict", "Deny", [[[{"notPrincipals": [{"Presence": []}]}]]], pods=[w.pods.near])
        w.change()
        self.wait_rows()
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")
        self.assertEqual(apps.call(w.pods.plain, w.pods.near.v4, 7000), "reset")
        self.assertGreaterEqual(self.agent.counters()["connect_direct"], 1)

    def test_trap_22_no_label_says_mutual_tls_of_a_direct_connection(self):
        w = self.world
        self.wait_rows()
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")
        self.agent.wait_flows(1, path="direct")
        page = self.agent.http("/metrics", 15031)[1]
        self.assertNotIn('connection_security_policy="mutual_tls"', page)


class Encrypted(ByAgent):
    settings = {"by_agent": True, "agent": {**DIRECT, "same-node-mode": "encrypted"}}

    def test_where_encryption_is_demanded_the_same_node_takes_the_tunnel(self):
        w = self.world
        w.server(w.pods.near, 7000)
        self.wait_rows()
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")
        self.assertGreater(self.open_tunnelled(), 0)
        self.assertEqual(self.agent.counters()["connect_direct"], 0)


class LiveVerdicts(ByAgent):
    def prepare(self):
        self.world.server(self.world.pods.near, 7000)
        self.world.server(self.world.pods.near, 7001)

    def test_a_new_denial_ends_the_open_connections_it_names_within_a_second_and_no_other(self):
        w = self.world
        self.wait_rows()
        denied = [w.connect(w.pods.client, w.pods.near.v4, 7000) for _ in range(5)]
        kept = w.connect(w.pods.client, w.pods.near.v4, 7001)
        for connection in (*denied, kept):
            apps.ask(connection)
        w.mesh.policy("not-7000", "Deny", [[[{"destinationPorts": [7000]}]]], pods=[w.pods.near])
        took = Stopwatch()
        w.mesh.write()
        for connection in denied:
            with self.assertRaises((ConnectionAbortedError, ConnectionResetError)):
                connection.recv(1)
        self.assertLess(took.seconds(), 1.0)
        apps.ask(kept)
        eventually(lambda: self.agent.status()["judge"]["ended"] >= 5, lambda: self.agent.status()["judge"])
        self.assertGreaterEqual(len(self.agent.wait_flows(5, close_reason="policy_changed")), 5)

    def test_a_connection_is_refused_while_the_rows_of_a_missing_policy_deny(self):
        """Trap 46, on the direct path: a name in the list that nobody knows denies until the policy is there."""
        w = self.world
        self.wait_rows()
        w.mesh.workloads["near"]["authorizationPolicies"].append("default/late")
        w.change()
        eventually(lambda: apps.call(w.pods.client, w.pods.near.v4, 7000) == "refused", "refused")
        self.assertEqual(self.agent.wait_flows(1, close_reason="policy_denied")[0]["decision"]["reason"], "denied_policy_missing")


class AwayAndBack(ByAgent):
    def prepare(self):
        w = self.world
        w.server(w.pods.near, 7000)
        w.server(w.pods.server, 7000)

    def works(self):
        w = self.world
        return {apps.call(w.pods.client, pod.v4, 7000) for pod in (w.pods.near, w.pods.server)} == {"answered"}

    def test_traffic_and_policy_go_on_while_the_agent_is_dead_and_it_takes_up_what_it_finds(self):
        w = self.world
        w.mesh.policy("not-near", "Deny", [[[{"principals": [principal(w.pods.near)]}]]], pods=[w.pods.client])
        w.server(w.pods.client, 7002)
        w.change()
        self.wait_rows()
        eventually(lambda: apps.call(w.pods.near, w.pods.client.v4, 7002) == "refused", "the denial is in the kernel")
        open_one = w.connect(w.pods.client, w.pods.near.v4, 7000)
        apps.ask(open_one)
        before = {hook["hook"]: hook["program_id"] for hook in self.agent.status()["kernel"]["hooks"]}
        for _ in range(3):
            self.agent.kill()
            self.assertTrue(self.works())
            self.assertEqual(apps.call(w.pods.near, w.pods.client.v4, 7002), "refused")
            apps.ask(open_one)
            self.agent.back()
            self.agent.wait_ready()
            self.wait_rows()
            apps.ask(open_one)
            self.assertTrue(self.works())
            self.assertEqual(apps.call(w.pods.near, w.pods.client.v4, 7002), "refused")
        after = {hook["hook"]: hook["program_id"] for hook in self.agent.status()["kernel"]["hooks"]}
        self.assertEqual(before.keys(), after.keys())
        for hook, program in after.items():
            self.assertNotEqual(program, before[hook], f"{hook} runs the old program (trap 17)")
        self.assertEqual(self.agent.status()["enrolment"]["adopted"], 2)

    def test_a_pod_that_leaves_the_mesh_takes_no_direct_connection_with_it(self):
        """Nobody's policy would hold it any more."""
        w = self.world
        self.wait_rows()
        connection = w.connect(w.pods.client, w.pods.near.v4, 7000)
        apps.ask(connection)
        self.assertEqual(self.agent.counters()["connect_direct"], 1)
        self.agent.dismiss(w.pods.client)
        connection.settimeout(3)
        with self.assertRaises((ConnectionAbortedError, ConnectionResetError)):
            connection.recv(1)

    def test_the_tunnel_keeps_its_pods_while_the_agent_dies_and_returns(self):
        w = self.world
        self.wait_rows()
        open_one = w.connect(w.pods.client, w.pods.server.v4, 7000)
        apps.ask(open_one)
        started = w.n1.metric("workload_manager_proxies_started_total")
        for _ in range(5):
            self.agent.kill()
            self.agent.back()
            self.agent.wait_ready()
            apps.ask(open_one)
        self.assertEqual(w.n1.metric("workload_manager_proxies_started_total"), started)

    def test_trap_33_without_a_tunnel_enrolled_traffic_is_never_plain_and_the_agent_is_not_ready(self):
        w = self.world
        self.wait_rows()
        w.n1.process.kill()
        w.n1.process.wait()
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "refused")
        self.assertEqual(apps.call(w.pods.plain, w.pods.near.v4, 7000), "refused")  # plaintext into the mesh: nobody judges it
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")  # the same-node path needs no tunnel
        eventually(lambda: not self.agent.ready(), "not ready without a tunnel")

    def test_a_pod_that_leaves_is_an_ordinary_pod_and_one_that_comes_back_is_captured(self):
        w = self.world
        self.wait_rows()
        self.agent.dismiss(w.pods.client)
        eventually(lambda: all(p["name"] != "client" for p in self.agent.status()["pods"]), lambda: self.agent.status()["pods"])
        before = self.agent.counters()
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")  # permissive, plaintext, judged by the tunnel
        after = self.agent.counters()
        self.assertEqual(after["connect_direct"], before["connect_direct"])
        self.assertEqual(after["inbound_plaintext"], before["inbound_plaintext"] + 1)
        self.agent.enrol(w.pods.client)
        self.agent.wait_captured(w.pods.client)
        eventually(lambda: apps.call(w.pods.client, w.pods.near.v4, 7000) == "answered" and self.agent.counters()["connect_direct"] > after["connect_direct"],
                   "direct again")

    def test_uninstall_leaves_nothing_behind(self):
        w = self.world
        agent = w.agents["n2"]
        pins = pathlib.Path("/sys/fs/bpf/warren") / agent.instance
        self.assertTrue(pins.is_dir())
        agent.stop()
        agent.uninstall()
        self.assertFalse(pins.exists())
        self.assertEqual(w.pods.server.run("ip", "rule").count("\n"), 3)
        with w.pods.other.socket() as bare:  # nothing is captured any more: the other node's plain answer
            bare.settimeout(5)
            bare.connect((w.pods.server.v4, 7000))
            bare.sendall(b"ping")
            self.assertEqual(bare.recv(4), b"ping")


    def test_an_agent_installed_beside_running_tunnels_learns_where_they_listen(self):
        w = self.world
        self.wait_rows()
        for agent in w.agents.values():
            agent.stop()
            agent.uninstall()
        for agent in w.agents.values():
            agent.back()
        for agent in w.agents.values():
            agent.wait_ready()
        w.agents["n1"].wait_captured(w.pods.client, w.pods.near)
        w.agents["n2"].wait_captured(w.pods.server, w.pods.other)
        eventually(self.works, lambda: f"{w.agents['n2'].counters()}\n{w.agents['n2'].log_tail()}")


class Membership(ByAgent):
    def test_nothing_a_pod_connects_to_changes_its_membership(self):
        """Trap 1: every port of the tunnel and the agent, and the addresses that other meshes use as magic words."""
        w = self.world
        w.server(w.pods.near, 7000)
        self.wait_rows()
        before = self.agent.status()["pods"]
        targets = [w.pods.client.v4, "127.0.0.1", w.lab.nodes["n1"].v4, "0.0.0.1", "0.0.0.2", "169.254.7.127", "255.255.255.254", w.pods.near.v4]
        for ip in targets:
            for port in (15000, 15001, 15006, 15008, 15020, 15021, 15030, 15031, 15032, 15053, 929, 930):
                with w.pods.client.socket() as probe:
                    probe.settimeout(0.05)
                    probe.connect_ex((ip, port))
        self.assertEqual(self.agent.status()["pods"], before)
        self.assertGreater(self.agent.counters()["connect_agent_port"], 0)
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")

    def test_pods_outside_the_mesh_and_the_node_itself_are_not_touched(self):
        w = self.world
        server = w.server(w.pods.plain, 7000)
        with w.lab.nodes["n1"].socket() as node:
            node.settimeout(5)
            node.connect((w.pods.plain.v4, 7000))
            node.sendall(b"ping")
            self.assertEqual(node.recv(4), b"ping")
        self.assertEqual(len(server.peers), 1)
        counters = self.agent.counters()
        self.assertEqual((counters["connect_tunnel"], counters["inbound_plaintext"]), (0, 0))


class Flows(ByAgent):
    def prepare(self):
        w = self.world
        w.server(w.pods.near, 7000)
        w.server(w.pods.server, 7000)

    def test_each_connection_is_told_once_over_whichever_path(self):
        w = self.world
        self.wait_rows()
        for _ in range(20):
            self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")
            self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        eventually(lambda: len(self.agent.flows(path="direct", close_reason="finished")) == 20, lambda: self.agent.http("/flows")[1])
        tunnelled = self.agent.wait_flows(20, path="tunnel", direction="outbound", close_reason="finished")
        self.assertEqual(len(tunnelled), 20)
        self.assertEqual(tunnelled[0]["destination"]["identity"], w.pods.server.identity)
        self.assertEqual(tunnelled[0]["destination"]["proof"], "certificate")
        self.assertEqual(self.agent.metric("warren_flows_closed_total", path="direct"), 20)
        self.assertEqual(self.agent.metric("warren_flows_closed_total", path="tunnel", direction="outbound"), 20)
        self.assertEqual(self.agent.metric("warren_flow_bytes_total", path="direct", way="sent"), 80)

    def test_trap_23_an_idle_connection_stays_in_the_snapshot(self):
        """With a second for a minute: the period of the samples is what counts."""
        w = self.world
        self.wait_rows()
        connection = w.connect(w.pods.client, w.pods.near.v4, 7000)
        apps.ask(connection)
        flow = self.agent.wait_flows(1, path="direct")[0]
        self.assertNotIn("end_time", flow)
        eventually(lambda: self.agent.flows(path="direct")[0]["bytes_to_destination"] == 4, "a sample of an idle connection")
        connection.close()
        self.agent.wait_flows(1, path="direct", close_reason="finished")


class Repair(ByAgent):
    def test_a_program_that_another_product_detaches_is_back_within_five_seconds(self):
        """Trap 26."""
        w = self.world
        pins = pathlib.Path("/sys/fs/bpf/warren") / self.agent.instance / "links"
        for pin in pins.iterdir():
            if "connect4" in pin.name:
                w.lab.nodes["n1"].run("bpftool", "link", "detach", "pinned", str(pin))
        took = Stopwatch()
        eventually(lambda: self.agent.status()["kernel"]["repaired"] >= 1, lambda: self.agent.log_tail())
        self.assertLess(took.seconds(), 5.5)
        w.server(w.pods.near, 7000)
        self.wait_rows()
        eventually(lambda: apps.call(w.pods.client, w.pods.near.v4, 7000) == "answered" and self.agent.counters()["connect_direct"] > 0, "captured again")
