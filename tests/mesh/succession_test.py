# SPDX-License-Identifier: Apache-2.0
"""One tunnel follows another on the same pods: no connect fails in between."""
import collections
import itertools
import struct
import threading
import time

import apps
import dns
from netns import Netns, ip_batch
from tunnel import Tunnel
from waiting import PATIENCE_S, eventually
from world import MeshCase

SUCCESSIONS = 3
HANDSHAKE_S = 3.0  # a handshake under way for longer is not waited for any more (Proxy::drain waits 3.2 s)


class Busy:
    """Clients that do one thing without a pause, and count what came of it."""

    def __init__(self, pod, targets, threads=6):
        self.pod, self.targets = pod, targets
        self.results = collections.Counter()
        self.stop = threading.Event()
        self.threads = [apps.Thread(self._run, i) for i in range(threads)]

    def _run(self, number):
        for i in itertools.count(number):
            if self.stop.is_set():
                return
            what, result = self.once(i)
            self.results[result if result == "answered" else f"{result} {what}"] += 1

    def answered(self):
        return self.results["answered"]

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.take(2 * PATIENCE_S)
        return self.results


class Storm(Busy):
    """Connect, ask, close. Targets: addresses and ports."""

    def once(self, i):
        ip, port = self.targets[i % len(self.targets)]
        begin = time.monotonic()
        result = apps.call(self.pod, ip, port, deadline=PATIENCE_S)
        late = result == "reset" and time.monotonic() - begin > HANDSHAKE_S
        return ip, "reset late" if late else result


class Names(Busy):
    """Ask for names over UDP and TCP, of the mesh and beyond, each once: no resolver's second try hides a loss. Targets: names and the address wanted."""

    def once(self, i):
        (name, wanted), tcp = self.targets[i // 2 % len(self.targets)], bool(i % 2)
        try:
            code, addresses, _ = dns.ask(self.pod, name, dns.A, tcp)
            result = "answered" if (code, addresses) == (dns.NOERROR, {wanted}) else f"code {code} {addresses}"
        except (OSError, struct.error, IndexError) as error:
            result = type(error).__name__
        return f"{name} {'tcp' if tcp else 'udp'}", result


class Succeeding(MeshCase):
    settings = {"env": {"CONNECTION_TERMINATION_DEADLINE": "10s"}}

    def home(self, number):
        """Each tunnel of a node has a namespace of its own, as in a cluster: only pods' ports are shared."""
        w = self.world
        name = f"{w.lab.prefix}home{number}"
        ip_batch([f"netns add {name}"])
        w.lab.names.append(f"home{number}")
        ip_batch(["link set lo up"], name)
        home = Netns(name)
        w.closers.callback(home.close)
        return home

    def succeed(self, node, number, storm):
        """A new tunnel on the node; then the old one is told to end, and does."""
        w = self.world
        old = w.tunnels[node]
        new = Tunnel(self.home(number), w.folder / f"{node}-{number}", w.tunnel_env(node), w.launcher(node)).start().wait_ready()
        w.tunnels[node] = new
        before = storm.answered()
        eventually(lambda: storm.answered() > before + 100, "both serve")
        old.terminate()
        old.wait_exit(PATIENCE_S)
        self.assertTrue([line for line in old.lines() if line.get("message") == "a successor takes over"], old.log_tail())
        before = storm.answered()
        eventually(lambda: storm.answered() > before + 100, "the new one serves")


class NamesInSuccession(Succeeding):
    settings = {"dns": True, "env": {"CONNECTION_TERMINATION_DEADLINE": "10s"}}

    def prepare(self):
        w = self.world
        w.mesh.service("web", 1, [w.pods.server], {"80": 7000})
        node = w.lab.nodes["n1"]
        # Slow, so that queries are under way whenever a tunnel leaves.
        self.upstream = w.keep(dns.Upstream(node, node.v4, "elsewhere.example", "192.0.2.7", delay=0.1, life=0))
        w.launchers["n1"] = dns.resolver(w.folder, f"nameserver {node.v4}\n")

    def test_no_name_goes_unanswered_while_three_tunnels_follow_each_other(self):
        w = self.world
        names = Names(w.pods.client, [("web.default.svc.cluster.local", "10.77.99.1"), ("elsewhere.example", "192.0.2.7")])
        for number in range(SUCCESSIONS):
            self.succeed("n1", f"names{number}", names)
        results = names.end()
        self.assertEqual(set(results), {"answered"}, results)


class Succession(Succeeding):
    def check(self, node):
        w = self.world
        w.server(w.pods.server, 7000)
        targets = [(w.pods.server.v4, 7000), (w.pods.server.v6, 7000)]
        self.assertEqual({apps.call(w.pods.client, *target) for target in targets}, {"answered"})
        storms = [Storm(w.pods.client, targets), Storm(w.pods.plain, targets, threads=2)]
        for number in range(SUCCESSIONS):
            self.succeed(node, f"{node}{number}", storms[0])
        results = [storm.end() for storm in storms]
        self.assertEqual([set(result) for result in results], [{"answered"}, {"answered"}], results)

    def test_no_connect_fails_while_three_tunnels_follow_each_other_at_the_clients_node(self):
        self.check("n1")

    def test_no_connect_fails_while_three_tunnels_follow_each_other_at_the_servers_node(self):
        self.check("n2")

    def test_handshakes_under_way_are_taken_too(self):
        """Clients whose segments are lost now and then stay half-open for a while: a listener that closed too early would reset them."""
        w = self.world
        for command in ("iptables", "ip6tables"):
            w.pods.plain.run(command, "-A", "OUTPUT", "-p", "tcp", "--dport", "7000", "!", "--syn", "-m", "statistic", "--mode", "random",
                             "--probability", "0.2", "-j", "DROP")
        w.server(w.pods.server, 7000)
        storm = Storm(w.pods.plain, [(w.pods.server.v4, 7000), (w.pods.server.v6, 7000)], threads=24)
        for number in range(SUCCESSIONS):
            self.succeed("n2", f"lossy{number}", storm)
        # A call that the losses alone made longer than its deadline, or than a tunnel waits for a handshake, says nothing of the tunnels.
        results = {name: count for name, count in storm.end().items() if not name.startswith(("timeout", "reset late"))}
        self.assertEqual(set(results), {"answered"}, results)

    def test_an_open_connection_goes_on_at_the_old_tunnel(self):
        """test_ztunnel_shutdown"""
        w = self.world
        w.server(w.pods.server, 7000)
        connection = w.connect(w.pods.client, w.pods.server.v4, 7000)
        apps.ask(connection)
        old = w.n1
        w.tunnels["n1"] = Tunnel(self.home("a"), w.folder / "next", w.tunnel_env("n1"), w.launcher("n1")).start().wait_ready()
        old.terminate()
        eventually(lambda: apps.call(w.pods.client, w.pods.server.v4, 7000) == "answered" and w.n1.access(direction="outbound"), "the new one serves")
        apps.ask(connection)
        self.assertTrue(old.running())
        connection.close()
        old.wait_exit(PATIENCE_S)
