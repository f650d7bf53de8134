# SPDX-License-Identifier: Apache-2.0
"""The session with the node agent (data-plane contract 8.3), seen from the agent and from the pods' ports."""
import os
import socket

import apps
from tunnel import READINESS, listens
from waiting import eventually
from world import MeshCase
from zds import HELLO_V1, SNAPSHOT_SENT, ZdsServer, add_message, del_message, keep_message

PORTS = (15001, 15006, 15008)


class Sessions(MeshCase):
    settings = {"pods": (("client", 1, "client"), ("near", 1, "server")), "by_agent": False}

    def prepare(self):
        w = self.world
        w.server(w.pods.near, 7000)

    def agent(self):
        return self.world.agents["n1"]

    def call(self):
        return apps.call(self.world.pods.client, self.world.pods.near.v4, 7000)

    def test_the_session_begins_with_a_hello_and_every_pod_listens_on_its_three_ports(self):
        self.assertEqual(self.agent().session().hello, HELLO_V1)
        self.assertEqual(self.agent().answers, ["", "", ""])
        for pod in self.world.enrolled:
            for port in PORTS:
                self.assertTrue(listens(pod, port), (pod.name, port))
                for family, loopback in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                    with pod.socket(family) as probe:
                        self.assertEqual(probe.connect_ex((loopback, port)), 0, (pod.name, port, loopback))
        self.assertFalse(listens(self.world.lab.nodes["n1"], 15008))

    def test_the_same_add_again_changes_nothing(self):
        """idemepotency"""
        w = self.world
        connection = w.connect(w.pods.client, w.pods.near.v4, 7000)
        apps.ask(connection)
        self.assertEqual(self.agent().add(w.pods.client), "")
        apps.ask(connection)
        self.assertEqual(w.n1.metric("workload_manager_proxies_started_total"), 2)
        self.assertEqual(w.n1.metric("workload_manager_active_proxy_count"), 2)

    def test_an_add_with_another_namespace_replaces_the_pod(self):
        w = self.world
        again = w.lab.new_namespace(w.pods.client)
        self.assertEqual(self.agent().add(again), "")
        eventually(lambda: listens(again, 15008), "listeners in the new namespace")
        self.assertFalse(listens(w.pods.client, 15008))
        self.assertEqual(w.n1.metric("workload_manager_active_proxy_count"), 2)
        self.assertEqual(self.agent().delete(again), "")
        self.assertFalse(listens(again, 15008))

    def test_a_pod_whose_port_is_busy_waits_and_starts_when_it_is_free(self):
        w = self.world
        self.assertEqual(self.agent().delete(w.pods.client), "")
        blocker = apps.Server(w.pods.client, 15006)
        error = self.agent().add(w.pods.client)
        self.assertIn("15006", error)
        self.assertEqual(w.n1.metric("workload_manager_pending_proxy_count"), 1)
        self.assertFalse(listens(w.pods.client, 15001), "a pod starts whole or not at all")
        self.assertEqual(w.n1.http("/healthz/ready", READINESS)[0], 500)
        blocker.close()
        eventually(w.n1.ready, "the pod started")
        self.assertEqual(w.n1.metric("workload_manager_pending_proxy_count"), 0)
        self.assertEqual(self.call(), "answered")

    def test_a_waiting_pod_starts_though_the_session_is_never_quiet(self):
        w = self.world
        self.assertEqual(self.agent().delete(w.pods.client), "")
        blocker = apps.Server(w.pods.client, 15006)
        self.assertNotEqual(self.agent().add(w.pods.client), "")
        blocker.close()

        def taken_meanwhile():
            self.assertEqual(self.agent().add(w.pods.near), "")
            return listens(w.pods.client, 15001)
        eventually(taken_meanwhile, "the pod started")

    def test_a_waiting_pod_that_is_deleted_is_forgotten(self):
        w = self.world
        self.assertEqual(self.agent().delete(w.pods.client), "")
        blocker = apps.Server(w.pods.client, 15001)
        self.addCleanup(blocker.close)
        self.assertNotEqual(self.agent().add(w.pods.client), "")
        self.assertFalse(w.n1.ready())
        self.assertEqual(self.agent().delete(w.pods.client), "")
        eventually(w.n1.ready, "ready without the pod")

    def test_deleting_an_unknown_pod_is_fine(self):
        self.assertEqual(self.agent().session().request(del_message("nobody")), "")
        self.assertEqual(self.call(), "answered")

    def test_a_deleted_pod_can_be_added_again(self):
        """add_delete_add"""
        w = self.world
        for _ in range(5):
            self.assertEqual(self.agent().delete(w.pods.client), "")
            self.assertFalse(listens(w.pods.client, 15001))
            self.assertEqual(self.agent().add(w.pods.client), "")
            self.assertEqual(self.call(), "answered")
        self.assertEqual(w.n1.metric("workload_manager_proxies_stopped_total"), 5)

    def test_descriptors_of_pods_do_not_leak(self):
        w = self.world
        before = w.n1.descriptors()
        for _ in range(20):
            self.assertEqual(self.agent().delete(w.pods.client), "")
            self.assertEqual(self.agent().add(w.pods.client), "")
        for _ in range(20):
            self.assertEqual(self.agent().add(w.pods.client), "")
        eventually(lambda: w.n1.descriptors() <= before + 2, f"{before} descriptors")

    def test_a_new_snapshot_keeps_what_it_names_and_stops_the_rest(self):
        w = self.world
        connection = w.connect(w.pods.client, w.pods.near.v4, 7000)
        apps.ask(connection)
        self.agent().close()
        again = w.agents["n1"] = ZdsServer(self.agent().path, [], [w.pods.near])
        again.session()
        self.assertFalse(listens(w.pods.client, 15001))
        self.assertTrue(listens(w.pods.near, 15008))
        self.assertEqual(w.n1.metric("workload_manager_active_proxy_count"), 1)
        self.assertEqual(apps.end_of(connection), "reset")

    def test_a_new_agent_that_names_every_pod_disturbs_nobody(self):
        w = self.world
        connection = w.connect(w.pods.client, w.pods.near.v4, 7000)
        apps.ask(connection)
        self.agent().close()
        apps.ask(connection)
        again = w.agents["n1"] = ZdsServer(self.agent().path, [w.pods.client], [w.pods.near])
        again.session()
        apps.ask(connection)
        self.assertEqual(w.n1.metric("workload_manager_proxies_started_total"), 2)

    def check_protocol_error(self, message, fd=None):
        """Refused, the session ends, pods go on, the next session is taken."""
        w = self.world
        self.assertNotEqual(self.agent().session().request(message, fd), "")
        self.assertTrue(self.agent().session().ended())
        self.agent().session(2)
        w.n1.wait_ready()
        self.assertEqual(self.call(), "answered")

    def test_an_add_without_workload_info_ends_the_session(self):
        self.check_protocol_error(add_message(self.world.pods.client, info=False), self.world.pods.client.fd)

    def test_an_add_without_a_namespace_ends_the_session(self):
        self.check_protocol_error(add_message(self.world.pods.client))

    def test_a_descriptor_with_another_message_ends_the_session(self):
        self.check_protocol_error(del_message("nobody"), self.world.pods.client.fd)

    def test_a_keep_after_the_snapshot_ends_the_session(self):
        self.check_protocol_error(keep_message(self.world.pods.client.uid))

    def test_a_second_snapshot_end_ends_the_session(self):
        self.check_protocol_error(SNAPSHOT_SENT)

    def test_a_packet_that_is_no_message_ends_the_session(self):
        self.check_protocol_error(b"\xff\xff\xff")

    def test_a_packet_longer_than_both_sides_read_ends_the_session(self):
        self.check_protocol_error(del_message("x" * 2000))

    def test_a_descriptor_that_is_no_namespace_is_refused(self):
        with open(os.devnull, "rb") as null:
            pod = self.world.pods.client
            self.assertEqual(self.agent().delete(pod), "")
            self.assertNotEqual(self.agent().sessions[-1].request(add_message(pod), null.fileno()), "")
        self.assertEqual(self.agent().sessions[-1].request(del_message(pod.uid)), "")
        self.assertEqual(self.agent().add(pod), "")
        self.assertEqual(self.call(), "answered")
