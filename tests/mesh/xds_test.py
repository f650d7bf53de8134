# SPDX-License-Identifier: Apache-2.0
"""The mesh from a control plane (data-plane contract 3): when pods are served, what changes live, what a bad resource or an outage costs."""
import json
import time
import unittest

import apps
import xds
from mesh import principal
from tunnel import READINESS
from waiting import eventually
from world import MeshCase


@unittest.skipIf(xds.missing(), xds.missing())
class ControlPlane(MeshCase):
    settings = {"control_plane": True}

    def prepare(self):
        self.server = self.world.pods.server
        self.world.server(self.server, 7000)

    def call(self, pod, ip=None, port=7000):
        return apps.call(pod, ip or self.server.v4, port)

    def expect(self, pod, outcome, ip=None):
        eventually(lambda: self.call(pod, ip) == outcome, f"{pod.name}: {outcome}")

    def requests(self, **match):
        return self.world.xds.of("request", **match)

    def allow_only_client(self):
        w = self.world
        w.mesh.policy("only-client", "Allow", [[[{"principals": [principal(w.pods.client)]}]]], pods=[self.server])


class Start(ControlPlane):
    def prepare(self):
        super().prepare()
        self.world.wait_ready = False
        self.world.xds.tell(silent=True)

    @staticmethod
    def pending(tunnel):
        try:
            return tunnel.http("/healthz/ready", READINESS)[1]
        except OSError:
            return ""

    def test_trap_33_pods_are_served_and_the_tunnel_is_ready_once_every_type_is_there(self):
        w = self.world
        for tunnel in (w.n1, w.n2):
            eventually(lambda t=tunnel: "state manager" in self.pending(t), "state manager pending")
            self.assertFalse(tunnel.ready())
        eventually(lambda: len(self.requests(nonce="")) >= 4, "first requests of both tunnels")
        self.assertNotIn("15008", w.pods.client.run("ss", "-Hltn"))
        w.xds.tell(silent=False)
        for tunnel in (w.n1, w.n2):
            tunnel.wait_ready()
        self.assertEqual(self.call(w.pods.client), "answered")
        # An outage later does not take it back.
        w.xds.kill()
        eventually(lambda: w.n1.metric("warren_xds_connected") == 0, "the tunnel sees the outage")
        self.assertTrue(w.n1.ready())


class Live(ControlPlane):
    def test_the_node_says_who_it_is_and_both_types_are_asked_for_in_order(self):
        first = [r for r in self.requests(nonce="") if r["node"]]
        for stream in {r["stream"] for r in first}:
            self.assertEqual([r["type"] for r in first if r["stream"] == stream], [xds.ADDRESS, xds.AUTHORIZATION])
        self.assertEqual({r["node"]["metadata"]["NODE_NAME"] for r in first}, {"n1", "n2"})

    def test_workloads_services_and_policies_take_effect_while_it_runs(self):
        w = self.world
        w.mesh.service("shop", 1, [self.server], {"80": 7000})
        w.change()
        self.assertEqual(apps.call(w.pods.client, "10.77.99.1", 80), "answered")
        self.assertEqual(apps.call(w.pods.client, "fd77:99::1", 80), "answered")
        self.allow_only_client()
        w.change()
        self.assertEqual(self.call(w.pods.client), "answered")
        self.expect(w.pods.near, "reset")
        del w.mesh.services["shop"]
        for one in w.mesh.workloads.values():
            one["services"] = {}
        w.change()
        self.assertNotEqual(apps.call(w.pods.client, "10.77.99.1", 80, deadline=2), "answered")
        self.assertGreater(w.n1.metric("istio_xds_message_total", url=xds.ADDRESS), 2)
        self.assertGreater(w.n1.metric("istio_xds_message_bytes_total", url=xds.AUTHORIZATION), 10)

    def test_trap_47_a_policy_name_added_to_a_workload_resets_its_open_connections(self):
        w = self.world
        connection = w.connect(w.pods.near, self.server.v4, 7000)
        apps.ask(connection)
        w.mesh.policy("only-client", "Allow", [[[{"principals": [principal(w.pods.client)]}]]])
        w.change()
        apps.ask(connection)
        w.mesh.workloads["server"]["authorizationPolicies"] = ["default/only-client"]
        w.change()
        self.assertEqual(apps.end_of(connection), "reset")

    def test_trap_46_a_listed_policy_that_has_not_arrived_denies_until_it_does(self):
        w = self.world
        w.mesh.workloads["server"]["authorizationPolicies"] = ["default/only-client"]
        w.change()
        self.expect(w.pods.client, "reset")
        w.n2.wait_access(direction="inbound", reason="denied_policy_missing")
        w.mesh.policy("only-client", "Allow", [[[{"principals": [principal(w.pods.client)]}]]])
        w.change()
        self.expect(w.pods.client, "answered")

    def test_a_bad_resource_is_named_in_a_nack_and_the_rest_of_its_response_applies(self):
        w = self.world
        w.mesh.service("shop", 1, [self.server], {"80": 7000})
        w.mesh.extra = {(xds.ADDRESS, "Kubernetes//Pod/default/broken"): b"\x0a\xff", (xds.AUTHORIZATION, "default/broken"): b"\xff\xff"}
        w.mesh.workloads["other"]["authorizationPolicies"] = ["default/broken"]
        w.server(w.pods.other, 7000)
        w.change()
        nacks = eventually(lambda: [r for r in self.requests() if "Kubernetes//Pod/default/broken: " in r["error"]], "a NACK of the workload")
        self.assertNotIn("shop", nacks[0]["error"])
        eventually(lambda: [r for r in self.requests(type=xds.AUTHORIZATION) if "default/broken: " in r["error"]], "a NACK of the policy")
        self.assertEqual(apps.call(w.pods.client, "10.77.99.1", 80), "answered")
        self.expect(w.pods.client, "reset", w.pods.other.v4)
        self.assertGreater(w.n1.metric("warren_xds_rejected_total", url=xds.ADDRESS), 0)

    def test_trap_29_an_address_given_to_a_new_workload_is_judged_as_the_new_one(self):
        w = self.world
        w.server(w.pods.other, 7000)
        w.mesh.policy("nobody", "Deny", [[[{"destinationPorts": [7000]}]]])
        for turn in range(20):
            denied = turn % 2 == 0
            w.mesh.workloads["other"] |= {"uid": f"Kubernetes//Pod/default/other-{turn}",
                                          "authorizationPolicies": ["default/nobody"] if denied else []}
            w.change()
            self.assertEqual(self.call(w.pods.client, w.pods.other.v4), "reset" if denied else "answered", turn)


class Outage(ControlPlane):
    def prepare(self):
        super().prepare()
        self.allow_only_client()

    def test_the_last_state_serves_on_and_a_new_stream_brings_the_versions_that_are_held(self):
        w = self.world
        w.xds.kill()
        eventually(lambda: w.n2.metric("warren_xds_connected") == 0, "the outage is seen")
        self.assertEqual(self.call(w.pods.client), "answered")
        self.assertEqual(self.call(w.pods.near), "reset")
        w.xds.start()
        first = eventually(lambda: [r for r in self.requests(type=xds.ADDRESS) if r["node"] and r["node"]["metadata"]["NODE_NAME"] == "n2"],
                           "a new stream", 20)
        self.assertEqual(set(first[0]["versions"]), {one["uid"] for one in w.mesh.workloads.values()} | {"lab//generation"})
        w.mesh.workloads["server"]["authorizationPolicies"] = []
        w.change()
        self.expect(w.pods.near, "answered")
        self.assertGreater(w.n2.metric("istio_xds_connection_terminations_total"), 0)

    def test_what_was_removed_meanwhile_is_gone_after_the_reconnect(self):
        w = self.world
        w.xds.kill()
        del w.mesh.policies["only-client"]
        w.xds.served = {key: text for key, text in w.xds.served.items() if key[0] != xds.AUTHORIZATION}
        w.xds.start()
        eventually(lambda: not [p for p in w.n2.config_dump()["policies"] if p["name"] == "only-client"], "the policy is gone")
        self.assertEqual(self.call(w.pods.client), "reset")  # still listed, and missing

    def test_trap_48_a_policy_that_is_deleted_and_made_again_during_a_reconnect_leaves_no_window(self):
        w = self.world
        key = (xds.AUTHORIZATION, "default/only-client")
        open_one = w.connect(w.pods.client, self.server.v4, 7000)
        apps.ask(open_one)
        outcomes = set()
        for _ in range(5):
            text = w.xds.served.pop(key)
            w.xds.tell(end=True, remove=[key])
            outcomes.add(self.call(w.pods.near))
            w.xds.tell(set=[(*key, json.loads(text), None)])
            w.xds.served[key] = text
            outcomes.add(self.call(w.pods.near))
        self.assertEqual(outcomes, {"reset"})
        self.expect(w.pods.client, "answered")


def records(tunnel):
    return {one["name"] for one in tunnel.config_dump()["workloads"]}


class OnDemand(ControlPlane):
    settings = {"control_plane": True, "env": {"XDS_ON_DEMAND": "true", "ISTIO_META_DNS_CAPTURE": "false", "WARREN_XDS_UNUSED": "1s",
                                               "WARREN_XDS_WAIT": "700ms"}}

    def prepare(self):
        super().prepare()
        self.world.mesh.service("shop", 1, [self.server], {"80": 7000})

    def given_back(self):
        return {name for r in self.requests(type=xds.ADDRESS) for name in r["unsubscribe"]}

    def test_only_what_is_asked_for_arrives_a_miss_waits_and_what_nobody_uses_is_given_back(self):
        w = self.world
        self.assertEqual(records(w.n1), {"client", "near"})
        self.assertEqual(self.call(w.pods.client), "answered")
        self.assertEqual(records(w.n1), {"client", "near", "server"})
        asked = [name for r in self.requests(type=xds.ADDRESS) for name in r["subscribe"]]
        self.assertIn(f"/{self.server.v4}", asked)
        self.assertEqual(w.n1.metric("warren_xds_lookups_total", outcome="miss"), 1)
        self.assertEqual(self.call(w.pods.client), "answered")
        self.assertEqual(w.n1.metric("warren_xds_lookups_total", outcome="miss"), 1)
        eventually(lambda: records(w.n1) == {"client", "near"}, "the record is given back")
        eventually(lambda: {f"/{self.server.v4}", self.server.uid} <= self.given_back(), "the server is told")
        self.assertEqual(self.call(w.pods.client), "answered")

    def test_a_service_comes_with_its_endpoints_and_an_address_of_nobody_is_passed_through(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.client, "10.77.99.1", 80), "answered")
        self.assertEqual(apps.call(w.pods.client, "fd77:99::1", 80), "answered")
        w.server(w.pods.plain, 7000)
        self.assertEqual(self.call(w.pods.client, w.pods.plain.v4), "answered")
        self.assertTrue(w.n1.wait_access(direction="outbound", dst_addr=f"{w.pods.plain.v4}:7000"))

    def test_a_miss_while_the_server_is_away_is_refused_at_its_deadline_and_never_passed_through(self):
        w = self.world
        plain = w.server(w.pods.plain, 7000)
        self.assertEqual(self.call(w.pods.client), "answered")
        w.xds.kill()
        eventually(lambda: w.n1.metric("warren_xds_connected") == 0, "the outage is seen")
        begun = time.monotonic()
        self.assertEqual(self.call(w.pods.client, w.pods.plain.v4), "reset")
        self.assertGreater(time.monotonic() - begun, 0.6)
        self.assertEqual(plain.peers, [])
        self.assertEqual(self.call(w.pods.client), "answered" if "server" in records(w.n1) else "reset")
        self.assertEqual(w.n1.metric("warren_xds_waiting_connections"), 0)
        self.assertGreater(w.n1.metric("warren_xds_lookups_total", outcome="timeout"), 0)
        w.xds.start()
        eventually(lambda: self.call(w.pods.client) == "answered", "reachable again")

    def test_trap_29_an_address_that_is_reused_is_the_new_workloads(self):
        w = self.world
        w.mesh.policy("nobody", "Deny", [[[{"destinationPorts": [7000]}]]])
        for turn in range(6):
            denied = turn % 2 == 1
            w.mesh.workloads["server"] |= {"uid": f"Kubernetes//Pod/default/server-{turn}",
                                           "authorizationPolicies": ["default/nobody"] if denied else []}
            w.mesh.write()
            self.expect(w.pods.client, "reset" if denied else "answered")


class Services(ControlPlane):
    settings = {"control_plane": True, "env": {"XDS_ON_DEMAND": "true", "WARREN_XDS_SERVICES": "true", "WARREN_XDS_UNUSED": "1s",
                                               "WARREN_XDS_WAIT": "700ms"}}

    def prepare(self):
        super().prepare()
        self.world.mesh.service("shop", 1, [self.server], {"80": 7000})

    def test_all_services_are_at_hand_and_their_endpoints_come_when_one_is_called(self):
        w = self.world
        eventually(lambda: [s["name"] for s in w.n1.config_dump()["services"]] == ["shop"], "the services")
        self.assertEqual(records(w.n1), {"client", "near"})
        self.assertEqual(apps.call(w.pods.client, "10.77.99.1", 80), "answered")
        self.assertEqual(records(w.n1), {"client", "near", "server"})
        eventually(lambda: records(w.n1) == {"client", "near"}, "the endpoint is given back")
        self.assertEqual([s["name"] for s in w.n1.config_dump()["services"]], ["shop"])
        self.assertEqual(apps.call(w.pods.client, "10.77.99.1", 80), "answered")

    def test_a_new_stream_brings_no_endpoints_that_nobody_asked_for_and_says_which_services_are_gone(self):
        w = self.world
        w.mesh.service("gone", 2, [w.pods.other], {"80": 7000})
        w.mesh.write()
        eventually(lambda: len(w.n1.config_dump()["services"]) == 2, "both services")
        w.xds.kill()
        w.xds.served = {key: text for key, text in w.xds.served.items() if not key[1].startswith("default/gone.")}
        w.xds.start()
        eventually(lambda: [s["name"] for s in w.n1.config_dump()["services"]] == ["shop"], "the service is gone")
        self.assertEqual(records(w.n1), {"client", "near"})
        self.assertEqual(apps.call(w.pods.client, "10.77.99.1", 80), "answered")
