# SPDX-License-Identifier: Apache-2.0
"""Ten thousand of a kind, and changes of policy in the midst of it: half-closed, short and idle connections."""
import hashlib
import pathlib
import resource
import socket
import sys
import threading
import unittest

import apps
from mesh import principal
from tunnel import tunnel_sockets
from waiting import Stopwatch, eventually
from world import MeshCase

MANY = str(pathlib.Path(__file__).resolve().parent / "many.py")
COUNT = 10_000
MIB = 1 << 20


class Scale(MeshCase):
    def setUp(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard < 2 * COUNT:
            raise unittest.SkipTest(f"needs {2 * COUNT} descriptors, the hard limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        super().setUp()

    def many(self, pod, *arguments):
        """A process of many.py, once it has said its first word."""
        log = self.world.folder / f"many-{arguments[0]}"
        process = pod.start(sys.executable, MANY, *map(str, arguments), env={}, log=log)
        eventually(lambda: process.poll() is not None or log.read_text(), "its first word", 60)
        self.assertIsNone(process.poll(), log.read_text())
        return process


class HalfClosed(Scale):
    settings = {"env": {"WARREN_HALF_CLOSED_TIMEOUT": "1s"}}

    def test_ten_thousand_half_closed_connections_are_back_to_the_base_after_the_timeout(self):
        """Their other half never ends (trap 35)."""
        w = self.world
        self.many(w.pods.server, "hold", 7000)
        w.connect(w.pods.client, w.pods.server.v4, 7000).close()
        base = [tunnel.descriptors() for tunnel in (w.n1, w.n2)]
        for _ in range(COUNT):
            w.connect(w.pods.client, w.pods.server.v4, 7000).shutdown(socket.SHUT_WR)
        for tunnel, reporter, before in ((w.n1, "source", base[0]), (w.n2, "destination", base[1])):
            eventually(lambda t=tunnel, r=reporter: t.metric("istio_tcp_connections_closed_total", reporter=r) == COUNT + 1,
                       lambda t=tunnel, r=reporter: str(t.metric("istio_tcp_connections_closed_total", reporter=r)), 20)
            # Tunnels of a hundred streams each stay for later connections.
            eventually(lambda t=tunnel, b=before: t.descriptors() <= b + COUNT // 100 + 20,
                       lambda t=tunnel, b=before: f"{b} descriptors, now {t.descriptors()}")


class Short(Scale):
    def test_ten_thousand_short_streams_need_a_handful_of_tunnels(self):
        """Over tunnels that are used again; the pool does not grow (trap 44)."""
        w = self.world
        self.many(w.pods.server, "serve", 7000)

        def run():
            return [apps.call(w.pods.client, w.pods.server.v4, 7000) for _ in range(COUNT // 4)].count("answered")

        self.assertEqual(sum(worker.take() for worker in [apps.Thread(run) for _ in range(4)]), COUNT)
        self.assertLessEqual(tunnel_sockets(w.pods.client), 4)
        eventually(lambda: 0 < w.n1.metric("warren_pool_dials_total") <= 4, lambda: str(w.n1.metric("warren_pool_dials_total")))


class Idle(Scale):
    def test_ten_thousand_idle_connections_close_without_a_stall(self):
        """All at once, while another pod's connection goes on asking."""
        w = self.world
        self.many(w.pods.server, "serve", 7000)
        w.server(w.pods.server, 7001)
        beside = w.connect(w.pods.near, w.pods.server.v4, 7001)
        idle = self.many(w.pods.client, "idle", w.pods.server.v4, 7000, COUNT)
        eventually(lambda: w.n1.metric("istio_tcp_sockets_open", reporter="source") == COUNT + 1, "all open")
        slowest, done, asked = 0.0, threading.Event(), 0
        idle.kill()

        def wait_closed():
            eventually(lambda: w.n1.metric("istio_tcp_sockets_open", reporter="source") == 1, "all closed")
            eventually(lambda: w.n2.metric("warren_worker_streams") <= 1, "streams too")
            done.set()

        waiting = apps.Thread(wait_closed)
        while not done.is_set() and not waiting.error:
            took = Stopwatch()
            apps.ask(beside)
            slowest, asked = max(slowest, took.seconds()), asked + 1
        waiting.take()
        self.assertGreater(asked, 10)
        # Two cores carry the closing of twenty thousand sockets, two tunnels and this test; a stall is what lasts as long as all of it.
        self.assertLess(slowest, 0.5)


class Beside(MeshCase):
    def test_only_the_right_stream_dies_when_a_policy_changes(self):
        """Several share a backend, a tunnel, or a client; only what the policy names is cut (trap 28, for streams)."""
        w = self.world
        for port in (7000, 7001):
            w.server(w.pods.server, port)
        open_ = {(pod.name, port): [w.connect(pod, w.pods.server.v4, port) for _ in range(5)]
                 for pod in (w.pods.client, w.pods.near, w.pods.plain) for port in (7000, 7001)}
        for connections in open_.values():
            for connection in connections:
                apps.ask(connection)
        w.mesh.policy("no-7001", "Deny", [[[{"principals": [principal(w.pods.client)]}], [{"destinationPorts": [7001]}]]], pods=[w.pods.server])
        w.change()
        for connection in open_.pop(("client", 7001)):
            self.assertEqual(apps.end_of(connection), "reset")
        for connections in open_.values():
            for connection in connections:
                apps.ask(connection)

    def test_bytes_keep_their_order_while_the_verdict_changes_and_the_server_is_late(self):
        """The writer begins before the server accepts; policies come and go, all of which allow it (trap 12)."""
        w, size = self.world, 64 * MIB
        listener = w.keep(w.pods.server.socket())
        listener.bind((w.pods.server.v4, 7000))
        listener.listen(1)
        connection = w.connect(w.pods.client, w.pods.server.v4, 7000, 30)
        sender = apps.Thread(apps.send_pattern, connection, 12, size)
        for number, (action, who) in enumerate((("Allow", w.pods.client), ("Deny", w.pods.other), ("Allow", w.pods.client))):
            w.mesh.policy(f"verdict-{number}", action, [[[{"principals": [principal(who)]}]]], pods=[w.pods.server])
            w.change()
            if number == 0:
                accepted, _ = listener.accept()
                w.keep(accepted)
                receiver = apps.Thread(apps.receive_hashed, accepted)
        sent, wanted = sender.take()
        got, digest = receiver.take()
        self.assertEqual((got, digest), (sent, wanted))
        self.assertGreaterEqual(sent, size)
        self.assertNotEqual(digest, hashlib.sha256().hexdigest())
