# SPDX-License-Identifier: Apache-2.0
"""Who is let in: by identity, in plaintext, while connections are open and while policies come and go."""

import apps
from mesh import STRICT_RULES, principal
from waiting import Stopwatch, eventually
from world import MeshCase


class Policies(MeshCase):
    def prepare(self):
        self.server = self.world.pods.server
        self.world.server(self.server, 7000)

    def call(self, pod, ip=None):
        return apps.call(pod, ip or self.server.v4, 7000)

    def expect(self, pod, outcome):
        """From now on; a change may take a moment to reach a worker."""
        eventually(lambda: self.call(pod) == outcome, f"{pod.name}: {outcome}")


class Identities(Policies):
    def prepare(self):
        super().prepare()
        w = self.world
        w.mesh.policy("only-client", "Allow", [[[{"principals": [principal(w.pods.client)]}]]], pods=[self.server])

    def test_an_allow_policy_lets_the_named_identity_in_and_resets_the_others(self):
        w = self.world
        for ip in (self.server.v4, self.server.v6):
            self.assertEqual(self.call(w.pods.client, ip), "answered")
            self.assertEqual(self.call(w.pods.near, ip), "reset")
            self.assertEqual(self.call(w.pods.plain, ip), "reset")
        denied = [line for line in w.n2.wait_access(6, direction="inbound") if "error" in line]
        self.assertEqual(len(denied), 4)
        self.assertEqual({(line["error"], line["reason"]) for line in denied},
                         {("connection closed due to policy rejection: allow policies exist, but none allowed", "denied_no_allow_matched")})
        self.assertEqual({line["error"] for line in w.n1.wait_access(direction="outbound") if "error" in line}, {"http status: 401 Unauthorized"})
        self.assertEqual(w.n2.metric("istio_tcp_connections_failed_total", response_flags="DENY", reporter="destination"), 4)
        self.assertEqual(w.n2.metric("istio_tcp_connections_failed_total", response_flags="DENY", source_principal=w.pods.near.identity), 2)

    def test_a_denied_connection_never_reaches_the_application(self):
        w = self.world
        server = w.server(self.server, 7001)
        for pod in (w.pods.near, w.pods.plain):
            self.assertEqual(apps.call(pod, self.server.v4, 7001), "reset")
        self.assertEqual(server.peers, [])

    def test_a_deny_policy_wins_and_is_named_in_the_log(self):
        w = self.world
        w.mesh.policy("not-7000", "Deny", [[[{"destinationPorts": [7000]}]]], pods=[self.server])
        w.change()
        self.expect(w.pods.client, "reset")
        lines = w.n2.wait_access(direction="inbound", error="connection closed due to policy rejection: explicitly denied by: default/not-7000")
        self.assertEqual({line["policy"] for line in lines}, {"default/not-7000"})


class Plaintext(Policies):
    def test_a_plaintext_client_is_let_in_where_nothing_forbids_it(self):
        """client_uncaptured_inpod"""
        w = self.world
        self.assertEqual(self.call(w.pods.plain), "answered")
        self.assertEqual(self.call(w.pods.plain, self.server.v6), "answered")
        lines = w.n2.wait_access(2, direction="inbound")
        self.assertEqual({line["dst.addr"] for line in lines}, {f"{self.server.v4}:7000", f"[{self.server.v6}]:7000"})
        for line in lines:
            self.assertFalse({"src.identity", "dst.identity", "dst.hbone_addr"} & line.keys(), line)
        # What is not mutual TLS must not be called so (trap 22).
        self.assertEqual(w.n2.metric("istio_tcp_connections_opened_total", connection_security_policy="unknown", source_principal="unknown"), 2)
        self.assertEqual(w.n2.metric("istio_tcp_connections_opened_total", connection_security_policy="mutual_tls"), 0)

    def test_a_plaintext_client_keeps_its_address(self):
        w = self.world
        server = w.server(self.server, 7001)
        with apps.connect(w.pods.plain, self.server.v4, 7001) as connection:
            apps.ask(connection)
            self.assertEqual(server.peers[0][0], connection.getsockname()[0])
        with apps.connect(w.pods.plain, self.server.v6, 7001) as connection:
            apps.ask(connection)
            self.assertEqual(server.peers[1][0], w.pods.plain.v6)

    def test_strict_mutual_tls_refuses_plaintext_and_says_why(self):
        w = self.world
        w.mesh.policy("strict", "Deny", STRICT_RULES, pods=[self.server])
        w.change()
        self.expect(w.pods.plain, "reset")
        self.assertEqual(self.call(w.pods.client), "answered")
        line = w.n2.wait_access(direction="inbound", error="connection closed due to policy rejection: explicitly denied by: default/strict")[0]
        self.assertEqual((line["policy"], line["reason"], line["src.addr"].split(":")[0]), ("default/strict", "denied_by_policy", w.pods.plain.v4))


class Decisions(Policies):
    def prepare(self):
        super().prepare()
        self.world.overrides["n2"] = {"AUTHZ_POLICY_INFO_LOGGING": "true"}
        self.world.mesh.policy("only-client", "Allow", [[[{"principals": [principal(self.world.pods.client)]}]]], pods=[self.server])
        self.world.mesh.policy("trial", "Deny", [[[{"destinationPorts": [7000]}]]], pods=[self.server])["dryRun"] = True

    def test_decisions_are_logged_at_info_where_that_is_asked_for(self):
        """Also what a policy on dry run would have done (contract 7.2)."""
        w = self.world
        self.assertEqual(self.call(w.pods.client), "answered")
        self.assertEqual(self.call(w.pods.plain), "reset")

        def said():
            keys = ("level", "message", "policy", "decision", "reason", "src.identity")
            return {tuple(line.get(key) for key in keys) for line in w.n2.lines() if line.get("scope") == "policy"}
        identity, dry = w.pods.client.identity, ("info", "dry-run policy decision", "default/trial", "denied", "denied_by_policy")
        want = {("info", "policy decision", "default/only-client", "allowed", "allowed_by_policy", identity), (*dry, identity), (*dry, None),
                ("info", "policy decision", None, "denied", "denied_no_allow_matched", None)}
        eventually(lambda: said() == want, lambda: str(said()))


class Changes(Policies):
    def open_connections(self):
        """One through the tunnel, one in plaintext, both in use."""
        found = []
        for pod in (self.world.pods.client, self.world.pods.plain):
            found.append(self.world.connect(pod, self.server.v4, 7000))
            apps.ask(found[-1])
        return found

    def check_cut(self, connections, policy):
        """Reset within a second after the file was written."""
        took = Stopwatch()
        self.world.mesh.write()
        for connection in connections:
            self.assertEqual(apps.end_of(connection), "reset")
        self.assertLess(took.seconds(), 1)
        lines = self.world.n2.wait_access(len(connections), direction="inbound", policy=policy)
        for line in lines:
            self.assertEqual((line["error"], line["reason"]), ("connection closed due to policy change", "denied_by_policy"))
        failed = self.world.n2.metric("istio_tcp_connections_failed_total", response_flags="DENY", reporter="destination")
        self.assertEqual(failed, len(connections))

    def test_a_policy_that_arrives_resets_open_connections_within_a_second(self):
        """test_policy_watcher_lifecycle, test_connection_manager_close"""
        self.world.mesh.policy("late", "Deny", [[[{"destinationPorts": [7000]}]]], scope="Namespace")
        late = self.world.mesh.policies.pop("late")
        connections = self.open_connections()
        self.world.mesh.policies["late"] = late
        self.check_cut(connections, "default/late")

    def test_a_policy_that_changes_resets_open_connections_within_a_second(self):
        w = self.world
        w.mesh.policy("ports", "Deny", [[[{"destinationPorts": [7999]}]]], pods=[self.server])
        w.change()
        connections = self.open_connections()
        w.mesh.policies["ports"]["rules"] = [[[{"destinationPorts": [7000]}]]]
        self.check_cut(connections, "default/ports")

    def test_a_policy_name_added_to_a_workload_resets_its_open_connections(self):
        """The policy was there, the workload did not name it (trap 47)."""
        w = self.world
        w.mesh.policy("ports", "Deny", [[[{"destinationPorts": [7000]}]]])
        w.change()
        connections = self.open_connections()
        w.mesh.workloads["server"]["authorizationPolicies"].append("default/ports")
        self.check_cut(connections, "default/ports")

    def test_a_change_leaves_connections_that_stay_allowed(self):
        """test_connection_manager_release"""
        w = self.world
        connections = self.open_connections()
        w.mesh.policy("elsewhere", "Deny", [[[{"destinationPorts": [7999]}]]], scope="Namespace")
        w.change()
        for connection in connections:
            apps.ask(connection)

    def test_an_unknown_policy_name_denies_until_the_policy_arrives(self):
        """Never the other way round (trap 46)."""
        w = self.world
        w.mesh.workloads["server"]["authorizationPolicies"].append("default/late")
        w.change()
        self.expect(w.pods.client, "reset")
        self.assertEqual(self.call(w.pods.plain), "reset")
        w.n2.wait_access(direction="inbound", reason="denied_policy_missing")
        w.mesh.policy("late", "Deny", [[[{"destinationPorts": [7999]}]]])
        w.change()
        self.expect(w.pods.client, "answered")

    def test_a_policy_with_one_bad_address_range_leaves_the_last_good_state(self):
        """A dropped range would widen the policy (trap 45); a file is taken whole or not at all."""
        w = self.world
        w.mesh.policy("ranges", "Allow", [[[{"sourceIps": [w.pods.client.v4 + "/32"]}]]], pods=[self.server])
        w.change()
        self.expect(w.pods.near, "reset")
        w.mesh.policies["ranges"]["rules"] = [[[{"sourceIps": ["10.77.0.0/16", "10.77.0.0/99"]}]]]
        w.mesh.write()
        eventually(lambda: "10.77.0.0/99" in w.mesh_reader("n2").log_path.read_text(), "the refusal in the log")
        self.assertEqual((self.call(w.pods.client), self.call(w.pods.near)), ("answered", "reset"))
