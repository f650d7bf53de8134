# SPDX-License-Identifier: Apache-2.0
"""The pool of a pod's outbound tunnels: what shares one, how many there are, when they go (data-plane contract 4.6, names of its list 11.5)."""
import apps
from tunnel import tunnel_sockets
from waiting import eventually
from world import MeshCase


class Pool(MeshCase):
    settings = {"env": {"ZTUNNEL_WORKER_THREADS": "1", "POOL_MAX_STREAMS_PER_CONNECTION": "4"}}

    def prepare(self):
        w = self.world
        w.server(w.pods.server, 7000)
        w.server(w.pods.server, 7001)
        w.server(w.pods.other, 7000)

    def check_dials(self, wanted):
        """The counters are those of the worker's last round."""
        def dials():
            return self.world.n1.metric("warren_pool_dials_total")

        eventually(lambda: dials() >= wanted, lambda: f"{wanted} dials, now {dials()}")
        self.assertEqual(dials(), wanted)

    def call(self, ip, port=7000):
        self.assertEqual(apps.call(self.world.pods.client, ip, port), "answered", ip)

    def test_connections_reused(self):
        """One after the other and to several ports of one pod: one tunnel (single_pool)."""
        for _ in range(5):
            self.call(self.world.pods.server.v4)
            self.call(self.world.pods.server.v4, 7001)
        self.check_dials(1)
        self.assertEqual(tunnel_sockets(self.world.pods.client), 1)

    def test_unique_keys_have_unique_connections(self):
        """Another destination, another address of the source, another pod as the source: a tunnel of its own each."""
        w = self.world
        for dials, ip in ((1, w.pods.server.v4), (2, w.pods.other.v4), (3, w.pods.server.v6), (3, w.pods.server.v4), (3, w.pods.other.v4)):
            self.call(ip)
            self.check_dials(dials)
        w.server(w.pods.near, 7002)
        self.assertEqual(apps.call(w.pods.near, w.pods.server.v4, 7000), "answered")
        self.check_dials(4)

    def test_connection_limits(self):
        """Nine streams, four a tunnel: three tunnels; and none more when some end and others come."""
        w = self.world
        open_now = [w.connect(w.pods.client, w.pods.server.v4, 7000) for _ in range(9)]
        for connection in open_now:
            apps.ask(connection)
        self.check_dials(3)
        self.assertEqual(tunnel_sockets(w.pods.client), 3)
        for connection in open_now[:3]:
            connection.close()
        w.n1.wait_access(3, direction="outbound")
        for _ in range(3):
            apps.ask(w.connect(w.pods.client, w.pods.server.v4, 7000))
        self.check_dials(3)
        self.assertEqual(tunnel_sockets(w.pods.client), 3)

    def test_server_goaway(self):
        """A peer that drains takes nothing more on the old tunnel; the next connection makes a new one."""
        w = self.world
        self.call(w.pods.server.v4)
        w.n2.terminate()
        w.n2.wait_exit()
        w.n2.start().wait_ready()
        self.call(w.pods.server.v4)
        self.check_dials(2)


class Idle(MeshCase):
    settings = {"env": {"ZTUNNEL_WORKER_THREADS": "1", "POOL_UNUSED_RELEASE_TIMEOUT": "1s"}}

    def test_idle_eviction_with_persistent(self):
        """A tunnel that nobody uses goes, one with a stream stays as long as that, and a new one is made when it is needed."""
        w = self.world
        w.server(w.pods.server, 7000)
        w.server(w.pods.other, 7000)
        persistent = w.connect(w.pods.client, w.pods.other.v4, 7000)
        apps.ask(persistent)
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        eventually(lambda: tunnel_sockets(w.pods.client) == 1, "the idle one is gone")
        apps.ask(persistent)
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        eventually(lambda: w.n1.metric("warren_pool_dials_total") == 3, "a third tunnel")
        persistent.close()
        eventually(lambda: tunnel_sockets(w.pods.client) == 0, "both are gone")
