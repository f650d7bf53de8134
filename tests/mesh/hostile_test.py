# SPDX-License-Identifier: Apache-2.0
"""Peers that mean harm cost little and are counted, and the pods beside the one they attack go on (issue: hostile peers). What it costs in
time is measured by tools/bench/hostile.py; here it is memory, counts, and that neighbours are answered."""
import apps
import hostile
from waiting import eventually
from world import MeshCase

MOST_BYTES = 64 << 20


class Hostile(MeshCase):
    settings = {"env": {"ZTUNNEL_WORKER_THREADS": "1", "WARREN_HANDSHAKES_PER_POD": "300"}}
    COUNT = 1000

    def attack(self, name, count, enough):
        """Runs it until enough(attack) holds and a neighbour has been answered a hundred times meanwhile; what memory it cost."""
        w = self.world
        w.server(w.pods.server, 7000)
        w.server(w.pods.server, 7003, hostile.endless)
        w.server(w.pods.other, 7000)
        neighbour = w.connect(w.pods.client, w.pods.other.v4, 7000)
        apps.ask(neighbour)
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        before = most = w.n2.resident_bytes()
        attack = hostile.Attack(hostile.credentials(w), w.pods.plain, w.pods.server, (w.pods.server.v4, 7003), count)
        thread = hostile.start(attack, name)

        def done():
            nonlocal most
            for _ in range(10):
                apps.ask(neighbour)
            most = max(most, w.n2.resident_bytes())
            return enough(attack)
        try:
            eventually(done, lambda: f"{name}: thrown {attack.thrown}, ended {attack.ended}, {w.n2.metrics()}", 60)
            self.assertEqual(apps.call(w.pods.client, w.pods.other.v6, 7000), "answered")
        finally:
            attack.stop()
            thread.take(30)
        self.assertLess(most - before, MOST_BYTES)
        eventually(lambda: apps.call(w.pods.client, w.pods.server.v4, 7000) == "answered", "the pod serves again", 30)
        self.assertEqual(w.n2.metric("warren_buffered_bytes"), 0)

    def flood(self, name):
        reason = {"direction": "inbound", "reason": "http2_flood"}
        self.attack(name, 1, lambda attack: attack.ended >= 3 and self.world.n2.metric("warren_early_denies_total", **reason) >= 3)

    def test_rapid_reset(self):
        self.flood("rapid_reset")

    def test_continuation_flood(self):
        self.flood("continuation")

    def test_settings_flood(self):
        self.flood("settings")

    def test_ping_flood(self):
        self.flood("ping")

    def test_window_update_flood(self):
        self.flood("window_update")

    def test_oversized_headers(self):
        self.flood("oversized_headers")

    def test_streams_that_never_read(self):
        self.attack("never_read", 10, lambda attack: attack.thrown >= 100)

    def half_open(self, name):
        refused = lambda: self.world.n2.metric("warren_limit_refusals_total", limit="handshakes_per_pod")  # noqa: E731
        self.attack(name, self.COUNT, lambda attack: attack.thrown >= self.COUNT and refused() >= self.COUNT - 300)

    def test_slow_handshakes(self):
        self.half_open("slow_handshakes")

    def test_connections_that_say_nothing(self):
        self.half_open("half_open")


class ManyPods(MeshCase):
    settings = {"env": {"ZTUNNEL_WORKER_THREADS": "1"}}

    def test_handshakes_at_many_pods_are_bounded_together(self):
        """A bound of each pod alone would be thirty times as much on a node of thirty."""
        w = self.world
        w.server(w.pods.server, 7000)
        attacks = [hostile.Attack(hostile.credentials(w), w.pods.plain, pod, None, 1500) for pod in (w.pods.server, w.pods.other)]
        before = w.n2.resident_bytes()
        threads = [hostile.start(attack, "slow_handshakes") for attack in attacks]
        refused = lambda: w.n2.metric("warren_limit_refusals_total", limit="handshakes_per_worker")  # noqa: E731
        try:
            eventually(lambda: all(attack.thrown >= 1000 for attack in attacks) and refused() > 100,
                       lambda: f"{[attack.thrown for attack in attacks]} {refused()}", 60)
            self.assertLess(w.n2.resident_bytes() - before, MOST_BYTES)
            self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        finally:
            for attack, thread in zip(attacks, threads):
                attack.stop()
                thread.take(30)


class Honest(MeshCase):
    settings = {"env": {"ZTUNNEL_WORKER_THREADS": "1", "WARREN_HANDSHAKES_PER_POD": "200"}}

    def test_a_pod_whose_handshakes_are_all_taken_by_strangers_still_serves_its_own_peers(self):
        w = self.world
        w.server(w.pods.server, 7000)
        attack = hostile.Attack(hostile.credentials(w), w.pods.plain, w.pods.server, None, 300)
        thread = hostile.start(attack, "half_open")
        try:
            # All places are taken once some had to be made.
            eventually(lambda: w.n2.metric("warren_limit_refusals_total", limit="handshakes_per_pod") >= 1, "strangers", 30)
            self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        finally:
            attack.stop()
            thread.take(30)
