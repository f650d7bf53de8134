# SPDX-License-Identifier: Apache-2.0
"""What one pod may take of its node: beyond a limit it is refused, with a reason and a count, and its neighbours notice nothing."""
import apps
from waiting import eventually
from world import MeshCase


class Limit(MeshCase):
    settings = {"env": {"ZTUNNEL_WORKER_THREADS": "1"}}
    LIMIT, NAME, REASON = "WARREN_CONNECTIONS_PER_POD", "connections_per_pod", "connection_limit"
    NODE = "n1"

    def prepare(self):
        w = self.world
        w.overrides[self.NODE] = {self.LIMIT: "20"}
        w.server(w.pods.server, 7000)
        w.server(w.pods.near, 7000)

    def fill(self, pod, ip, most=40):
        """Connections until one is refused."""
        open_ = []
        for _ in range(most):
            try:
                connection = self.world.connect(pod, ip, 7000)
                apps.ask(connection)
            except (OSError, AssertionError):
                return open_
            open_.append(connection)
        raise AssertionError(f"{most} connections and no limit")

    def check(self, tunnel, pod, ip, beside):
        w = self.world
        open_ = self.fill(pod, ip)
        self.assertGreater(len(open_), 5)
        self.assertLessEqual(len(open_), 20)
        self.assertGreater(eventually(lambda: tunnel.metric("warren_limit_refusals_total", limit=self.NAME), "a count"), 0)
        found = eventually(lambda: [line for line in tunnel.lines() if self.LIMIT in line.get("error", "")], lambda: tunnel.log_tail())
        self.assertIn("of this pod" if "STREAMS" not in self.LIMIT else "to this pod", found[0]["error"])
        self.assertEqual(apps.call(*beside), "answered")
        for connection in open_:
            apps.ask(connection)
        for connection in open_:
            connection.close()
        eventually(lambda: apps.call(pod, ip, 7000) == "answered", "room again")


class Connections(Limit):
    def test_connections_of_a_pod(self):
        w = self.world
        self.check(w.n1, w.pods.client, w.pods.server.v4, (w.pods.near, w.pods.server.v4, 7000))


class Descriptors(Limit):
    LIMIT, NAME = "WARREN_DESCRIPTORS_PER_POD", "descriptors_per_pod"

    def test_descriptors_of_a_pod(self):
        """Passthrough and plain connections hold two, tunnels hold one as well."""
        w = self.world
        w.server(w.pods.plain, 7000)
        self.check(w.n1, w.pods.client, w.pods.plain.v4, (w.pods.near, w.pods.server.v4, 7000))
        self.assertEqual(eventually(lambda: w.n1.metric("warren_worker_descriptors") <= 2, "given back"), True)


class Streams(Limit):
    LIMIT, NAME = "WARREN_STREAMS_PER_POD", "streams_per_pod"
    NODE = "n2"

    def test_streams_to_a_pod(self):
        """Streams of strangers leave the pod room for its own connections."""
        w = self.world
        w.server(w.pods.other, 7000)
        w.mesh.write()
        self.check(w.n2, w.pods.client, w.pods.server.v4, (w.pods.server, w.pods.near.v4, 7000))
        eventually(lambda: w.n2.metric("warren_worker_streams") == 0, "given back")


class Counted(MeshCase):
    def test_everything_that_is_counted_is_on_the_page(self):
        w = self.world
        w.server(w.pods.server, 7000)
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        eventually(lambda: w.n1.metric("warren_pool_dials_total") == 1, "a dial")
        names = {name for name, _, _ in w.n1.metrics()}
        for name in ("warren_accept_pauses_total", "warren_credit_held_total", "warren_buffered_bytes", "warren_worker_busy_seconds_total",
                     "warren_worker_descriptors", "warren_certificate_events_total", "warren_host_resolver_events_total",
                     "warren_mesh_file_reads_total", "warren_pool_tunnels", "warren_buffer_chunks"):
            self.assertIn(name, names)
        self.assertGreater(w.n1.metric("warren_certificate_events_total", event="issued"), 0)
        with open(w.mesh.path, "a", encoding="ascii") as file:
            file.write("\nnot: [a mesh\n")
        eventually(lambda: w.n1.metric("warren_mesh_file_reads_total", outcome="failed") >= 1, "a failure")
