# SPDX-License-Identifier: Apache-2.0
"""A pod that connects before the mesh has its record: who it is by the node agent's word (ztunnel/stand_in.h), and when that does not count."""
import apps
from mesh import principal
from waiting import eventually
from world import MeshCase

COUNTER = "warren_sources_without_record_total"


class NoRecordYet(MeshCase):
    settings = {"by_agent": False, "env": {"WARREN_RECORD_WAIT": "250ms"}}

    def prepare(self):
        self.client, self.server = self.world.pods.client, self.world.pods.server
        del self.world.mesh.workloads["client"]
        self.world.server(self.server, 7000)

    def call(self, pod=None):
        return apps.call(pod or self.client, self.server.v4, 7000)

    def gone_on_without(self, records):
        eventually(lambda: self.world.n1.metric(COUNTER) == records, f"{records} counted")

    def other_pod_with_its_address(self):
        self.world.mesh.pod(self.client, uid="Kubernetes//Pod/default/stranger", name="stranger")

    def connect(self):
        connection = self.world.connect(self.client, self.server.v4, 7000)
        apps.ask(connection)
        return connection

    def test_its_connection_goes_on_with_the_identity_that_the_node_agent_told(self):
        w = self.world
        w.mesh.policy("only-client", "Allow", [[[{"principals": [principal(self.client)]}]]], pods=[self.server])
        w.change()
        self.assertEqual(self.call(), "answered")
        w.n2.wait_access(direction="inbound", src_identity=self.client.identity)
        self.gone_on_without(1)
        self.assertEqual(self.call(w.pods.near), "reset")
        self.gone_on_without(1)

    def test_an_address_that_is_somebody_elses_is_not_gone_on_with(self):
        w = self.world
        self.other_pod_with_its_address()
        w.change()
        self.assertEqual(self.call(), "reset")
        eventually(lambda: w.n1.access("connection failed", direction="outbound", error="unknown source"), "the refusal in the log")
        self.assertEqual(w.n1.metric(COUNTER), 0)

    def test_a_record_of_the_same_identity_disturbs_nothing_and_neither_does_its_end(self):
        w = self.world
        connection = self.connect()
        w.mesh.pod(self.client)
        w.change()
        apps.ask(connection)
        del w.mesh.workloads["client"]
        w.change()
        apps.ask(connection)
        # Gone is not "not there yet".
        self.assertEqual(self.call(), "reset")
        self.gone_on_without(1)

    def test_a_record_of_another_identity_cuts_what_had_begun(self):
        connection = self.connect()
        self.world.mesh.pod(self.client, trustDomain="elsewhere.example")
        self.world.change()
        self.assertEqual(apps.end_of(connection), "reset")

    def test_another_pods_record_with_its_address_cuts_what_had_begun(self):
        connection = self.connect()
        self.other_pod_with_its_address()
        self.world.change()
        self.assertEqual(apps.end_of(connection), "reset")

    def test_what_passes_through_is_cut_for_the_same_reason(self):
        w = self.world
        w.server(w.pods.plain, 7000)
        connection = w.connect(self.client, w.pods.plain.v4, 7000)
        apps.ask(connection)
        self.other_pod_with_its_address()
        w.change()
        self.assertEqual(apps.end_of(connection), "reset")

    def test_nobody_is_admitted_to_a_pod_without_a_record(self):
        w = self.world
        w.server(self.client, 7000)
        self.assertEqual(self.call(), "answered")
        for source in (w.pods.plain, self.server):
            self.assertNotEqual(apps.call(source, self.client.v4, 7000), "answered", source.name)
        self.gone_on_without(1)


class OnlyTheMeshsWord(MeshCase):
    settings = {"by_agent": False}

    def prepare(self):
        del self.world.mesh.workloads["client"]
        self.world.server(self.world.pods.server, 7000)

    def test_unless_it_is_told_so_a_pod_without_a_record_is_refused(self):
        w = self.world
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "reset")
        eventually(lambda: w.n1.access("connection failed", direction="outbound", error="unknown source"), "the refusal in the log")
