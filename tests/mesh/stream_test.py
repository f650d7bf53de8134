# SPDX-License-Identifier: Apache-2.0
"""Bytes under stress: half-close, reset, stalls, slow readers, many streams."""
import hashlib
import socket
import threading

import apps
from tunnel import tunnel_sockets
from waiting import eventually
from world import MeshCase

MIB = 1 << 20
BULK = 64 * MIB


class Ends(MeshCase):
    """How one side's end is seen at the other. Each through the tunnel and in plaintext."""

    def paths(self):
        w = self.world
        return (("tunnel", w.pods.client), ("plaintext", w.pods.plain))

    def test_after_the_clients_fin_the_server_may_go_on(self):
        w = self.world
        w.server(w.pods.server, 7000, apps.count_then_answer)
        for name, pod in self.paths():
            with self.subTest(name), apps.connect(pod, w.pods.server.v4, 7000) as connection:
                connection.sendall(b"x" * 100_000)
                connection.shutdown(socket.SHUT_WR)
                wanted = f"100000 {hashlib.sha256(b'x' * 100_000).hexdigest()}\n"
                self.assertEqual(apps.read_to_end(connection).decode(), wanted)

    def test_after_the_servers_fin_the_client_may_go_on(self):
        w, got = self.world, []

        def first_fin(connection):
            connection.sendall(b"last words\n")
            connection.shutdown(socket.SHUT_WR)
            got.append(apps.receive_hashed(connection))

        w.server(w.pods.server, 7000, first_fin)
        for name, pod in self.paths():
            with self.subTest(name):
                got.clear()
                connection = w.connect(pod, w.pods.server.v4, 7000)
                self.assertEqual(apps.read_to_end(connection), b"last words\n")
                sent = apps.send_pattern(connection, 1, MIB)
                eventually(lambda: got, "the server's count")
                self.assertEqual(got, [sent])

    def test_a_server_that_says_one_word_and_ends_is_always_heard_to_the_end(self):
        """Its word and its end may come in the same moment as the end of the dial."""
        w = self.world

        def one_word(connection):
            connection.sendall(b"word")
            connection.close()

        w.server(w.pods.server, 7000, one_word)
        w.server(w.pods.plain, 7000, one_word)
        for name, pod, to in (("tunnel", w.pods.client, w.pods.server), ("plaintext", w.pods.plain, w.pods.server), ("passthrough", w.pods.client, w.pods.plain)):
            with self.subTest(name):
                for _ in range(100):
                    with apps.connect(pod, to.v4, 7000, 3) as connection:
                        self.assertEqual(apps.read_to_end(connection), b"word")

    def test_an_answer_of_a_server_that_leaves_bytes_unread_arrives(self):
        """As a web server refuses an upload: what it does not read makes the kernel's close a reset, right behind the answer."""
        w, answer = self.world, b"413" * 1000

        def refuse(connection):
            apps.read_exactly(connection, 4)
            connection.sendall(answer)
            connection.close()

        w.server(w.pods.server, 7000, refuse)
        w.server(w.pods.plain, 7000, refuse)
        for name, pod, to in (("tunnel", w.pods.client, w.pods.server), ("plaintext", w.pods.plain, w.pods.server), ("passthrough", w.pods.client, w.pods.plain)):
            for attempt in range(30):
                with self.subTest(name, attempt=attempt), apps.connect(pod, to.v4, 7000) as connection:
                    connection.sendall(b"more than it reads")
                    self.assertEqual(apps.read_exactly(connection, len(answer)), answer)
                    self.assertEqual(apps.end_of(connection), "reset")

    def test_a_clients_reset_is_a_reset_at_the_server(self):
        w, ends = self.world, []

        def wait_for_end(connection):
            apps.read_exactly(connection, 4)
            connection.sendall(b"ping")
            ends.append(apps.end_of(connection))

        w.server(w.pods.server, 7000, wait_for_end)
        for name, pod in self.paths():
            with self.subTest(name):
                ends.clear()
                connection = apps.connect(pod, w.pods.server.v4, 7000)
                apps.ask(connection)
                apps.reset(connection)
                eventually(lambda: ends, "an end at the server")
                self.assertEqual(ends, ["reset"])

    def test_a_servers_reset_is_a_reset_at_the_client(self):
        w = self.world

        def reset_after_a_question(connection):
            apps.read_exactly(connection, 4)
            connection.sendall(b"ping")
            apps.read_exactly(connection, 4)
            apps.reset(connection)

        w.server(w.pods.server, 7000, reset_after_a_question)
        for name, pod in self.paths():
            with self.subTest(name), apps.connect(pod, w.pods.server.v4, 7000) as connection:
                apps.ask(connection)
                connection.sendall(b"kill")
                self.assertEqual(apps.end_of(connection), "reset")


class HalfClosed(MeshCase):
    settings = {"env": {"WARREN_HALF_CLOSED_TIMEOUT": "1s"}}

    def test_half_closed_connections_do_not_pile_up(self):
        """Many whose other half never ends; descriptors and records are back to the base after the timeout (trap 35)."""
        w, count = self.world, 500
        w.server(w.pods.server, 7000, apps.hold)
        self.assertEqual(w.n1.metric("istio_tcp_sockets_open"), 0)
        base = None
        for i in range(count):
            connection = w.connect(w.pods.client, w.pods.server.v4, 7000)
            connection.shutdown(socket.SHUT_WR)
            if i == 0:
                base = [tunnel.descriptors() for tunnel in (w.n1, w.n2)]
        for tunnel, reporter, before in ((w.n1, "source", base[0]), (w.n2, "destination", base[1])):
            eventually(lambda t=tunnel, r=reporter: t.metric("istio_tcp_connections_closed_total", reporter=r) == count, "all closed")
            # Some tunnels of a hundred streams each stay for later connections.
            eventually(lambda t=tunnel, b=before: t.descriptors() <= b + 20, lambda t=tunnel, b=before: f"{b} descriptors, now {t.descriptors()}")


class Bulk(MeshCase):
    def check_both_ways(self, pod):
        """64 MiB in each direction at once, both ends stop now and then."""
        w, served = self.world, []

        def serve(connection):
            sender = apps.Thread(apps.send_pattern, connection, 2, BULK, 8)
            got = apps.receive_hashed(connection, 8, BULK)
            served.append((sender.take(), got))

        w.server(w.pods.server, 7000, serve)
        connection = w.connect(pod, w.pods.server.v4, 7000, 30)
        sender = apps.Thread(apps.send_pattern, connection, 1, BULK, 8)
        got = apps.receive_hashed(connection, 8, BULK)
        sent = sender.take()
        eventually(lambda: served, "the server's end", 30)
        self.assertEqual(served[0], (got, sent))
        self.assertGreaterEqual(sent[0], BULK)
        return sent[0], got[0]

    def test_64_mib_both_ways_at_once_through_the_tunnel(self):
        w = self.world
        sent, got = self.check_both_ways(w.pods.client)
        line = w.n1.wait_access(direction="outbound")[0]
        self.assertEqual((line["bytes_sent"], line["bytes_recv"]), (sent, got))
        line = w.n2.wait_access(direction="inbound")[0]
        self.assertEqual((line["bytes_sent"], line["bytes_recv"]), (got, sent))

    def test_64_mib_both_ways_at_once_in_plaintext(self):
        self.check_both_ways(self.world.pods.plain)

    def test_an_idle_reader_in_plaintext_holds_little_memory(self):
        w = self.world
        w.server(w.pods.server, 7000, apps.hold)
        before = w.n2.resident_bytes()
        stalled = [w.connect(w.pods.plain, w.pods.server.v4, 7000) for _ in range(8)]
        for connection in stalled:
            apps.send_until_stalled(connection, 0.2)
        self.assertLess(w.n2.resident_bytes() - before, 48 * MIB)


class OneTunnel(MeshCase):
    settings = {"env": {"ZTUNNEL_WORKER_THREADS": "1"}}  # each worker has its own

    def test_a_slow_reader_stalls_only_its_own_stream_and_holds_little_memory(self):
        """read_buffering: Trap 11. The sender gets back pressure; a second stream of the same tunnel goes on; what waits is bounded."""
        w = self.world
        w.server(w.pods.server, 7000, apps.hold)
        w.server(w.pods.server, 7001, apps.count_then_answer)
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7999), "reset")  # a tunnel is there
        before = [tunnel.resident_bytes() for tunnel in (w.n1, w.n2)]
        stalled = w.connect(w.pods.client, w.pods.server.v4, 7000)
        waiting = apps.send_until_stalled(stalled)
        self.assertLess(waiting, 64 * MIB)
        with apps.connect(w.pods.client, w.pods.server.v4, 7001, 20) as connection:
            total, digest = apps.send_pattern(connection, 3, BULK)
            self.assertEqual(apps.read_line(connection), f"{total} {digest}")
        self.assertEqual(tunnel_sockets(w.pods.client), 1)
        for tunnel, was in zip((w.n1, w.n2), before):
            self.assertLess(tunnel.resident_bytes() - was, 48 * MIB, tunnel.folder.name)


class ManyStreams(MeshCase):
    def test_two_hundred_connections_at_once_share_few_tunnels(self):
        """stress_test"""
        w = self.world
        w.server(w.pods.server, 7000)
        connections = [w.connect(w.pods.client, w.pods.server.v4, 7000) for _ in range(200)]
        for i, connection in enumerate(connections):
            connection.sendall(f"{i:8}".encode())
        for i, connection in enumerate(connections):
            self.assertEqual(apps.read_exactly(connection, 8), f"{i:8}".encode())
        # 100 streams a tunnel (POOL_MAX_STREAMS_PER_CONNECTION), for each worker's own pool.
        self.assertLessEqual(tunnel_sockets(w.pods.client), 6)

    def test_a_tunnel_that_was_full_is_used_again(self):
        """Else every hundred connections cost a handshake for ever (trap 44)."""
        w = self.world
        w.server(w.pods.server, 7000)
        for _ in range(3):
            connections = [apps.connect(w.pods.client, w.pods.server.v4, 7000) for _ in range(210)]
            for connection in connections:
                apps.ask(connection)
            for connection in connections:
                connection.close()
        self.assertLessEqual(tunnel_sockets(w.pods.client), 8)

    def test_thousands_of_short_connections_leave_no_tunnel_behind(self):
        w = self.world
        w.server(w.pods.server, 7000)

        def run():
            return [apps.call(w.pods.client, w.pods.server.v4, 7000) for _ in range(500)].count("answered")

        self.assertEqual(sum(worker.take() for worker in [apps.Thread(run) for _ in range(4)]), 2000)
        self.assertLessEqual(tunnel_sockets(w.pods.client), 4)
        self.assertEqual(w.n2.metric("istio_tcp_connections_opened_total", reporter="destination"), 2000)

    def test_a_hundred_waiters_for_a_tunnel_that_cannot_be_made_are_all_answered(self):
        """The first dials, it is refused, nobody is forgotten (trap 43)."""
        w = self.world
        self.assertEqual(w.agents["n2"].delete(w.pods.server), "")
        calls = [apps.Thread(apps.call, w.pods.client, w.pods.server.v4, 7000) for _ in range(100)]
        self.assertEqual({call.take() for call in calls}, {"reset"})
        lines = w.n1.wait_access(100, direction="outbound")
        self.assertFalse([line for line in lines if "error" not in line])


class SharedDial(MeshCase):
    settings = {"env": {"ZTUNNEL_WORKER_THREADS": "1", "WARREN_CONNECT_TIMEOUT": "3s"}}

    def test_all_who_wait_for_one_dial_are_answered_by_its_end(self):
        """Nobody answers the dial: those who come meanwhile wait for the same one, none dials anew after it (trap 43)."""
        w = self.world
        w.pods.server.run("iptables", "-I", "INPUT", "-p", "tcp", "--dport", "15008", "-j", "DROP")
        calls = [apps.Thread(apps.call, w.pods.client, w.pods.server.v4, 7000, b"ping", 60) for _ in range(100)]
        self.assertEqual({call.take() for call in calls}, {"reset"})
        lines = w.n1.wait_access(100, direction="outbound")
        self.assertEqual(len([line for line in lines if "error" in line]), 100)
        # A machine that took three seconds to start all hundred is a slow one: those who came late dialled again.
        self.assertLessEqual(w.n1.metric("warren_pool_dials_total"), 10)


class BesideBulk(MeshCase):
    settings = {"env": {"ZTUNNEL_WORKER_THREADS": "1"}}

    def test_who_comes_while_bulk_fills_a_tunnel_gets_another(self):
        """Else a question waits behind somebody else's megabytes; few further ones, and none while there is room in those."""
        w = self.world
        w.server(w.pods.server, 7000, lambda connection: apps.receive_hashed(connection))
        w.server(w.pods.server, 7001)
        for _ in range(10):
            apps.ask(w.connect(w.pods.client, w.pods.server.v4, 7001))
        self.assertEqual(tunnel_sockets(w.pods.client), 1)
        done = threading.Event()

        def bulk():
            with apps.connect(w.pods.client, w.pods.server.v4, 7000) as connection:
                block = bytes(MIB)
                while not done.is_set():
                    connection.sendall(block)

        senders = [apps.Thread(bulk) for _ in range(4)]
        try:
            def another():
                self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7001), "answered")
                return tunnel_sockets(w.pods.client) > 1

            eventually(another, "a further tunnel")
            for _ in range(50):
                self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7001), "answered")
            self.assertLessEqual(tunnel_sockets(w.pods.client), 4)
        finally:
            done.set()
            for sender in senders:
                sender.take()
