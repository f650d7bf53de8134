# SPDX-License-Identifier: Apache-2.0
"""Revocation lists (data-plane contract 4.4): a certificate that is revoked ends its open tunnels and gets no new ones."""
import apps
from waiting import eventually
from world import MeshCase



class Revocation(MeshCase):
    NODE = "n1"

    def prepare(self):
        w = self.world
        self.list = w.folder / "crl.pem"
        self.list.write_text("")
        w.overrides[self.NODE] = {"CRL_PATH": str(self.list)}
        w.server(w.pods.server, 7000)
        w.server(w.pods.other, 7000)

    def serial(self, tunnel, pod):
        """Of the pod's certificate, as its node's tunnel has it."""
        certificates = [one for one in tunnel.config_dump()["certificates"] if one["identity"] == pod.identity]
        return int(certificates[0]["certChain"][0]["serialNumber"])

    def check(self, revoked_pod, node, spared_client, spared_server):
        w = self.world
        connection = w.connect(w.pods.client, w.pods.server.v4, 7000)
        beside = w.connect(spared_client, spared_server.v4, 7000)
        apps.ask(connection)
        apps.ask(beside)
        w.ca.revoke([self.serial(w.tunnels[node], revoked_pod)], self.list)
        self.assertIn(apps.end_of(connection), ("reset", "closed"))
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "reset")
        apps.ask(beside)
        own = w.tunnels[self.NODE]
        reporter = "source" if self.NODE == "n1" else "destination"
        eventually(lambda: own.metric("istio_tcp_connections_failed_total", response_flags="CERT_REVOKED", reporter=reporter) >= 1, "counted")
        eventually(lambda: own.metric("istio_crl_policy_rejections_total", reporter=reporter) >= 1, "the refused handshake counted")


class Outbound(Revocation):
    def test_crl_outbound_terminates_existing_connection_and_rejects_new_ones(self):
        self.check(self.world.pods.server, "n2", self.world.pods.client, self.world.pods.other)


class Inbound(Revocation):
    NODE = "n2"

    def test_crl_inbound_terminates_existing_connection_and_rejects_new_ones(self):
        self.check(self.world.pods.client, "n1", self.world.pods.near, self.world.pods.server)
