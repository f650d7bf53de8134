# SPDX-License-Identifier: Apache-2.0
"""What other node agents fell into, with warren-agent as a process: foreign state, strict namespaces, pods that start without it, a state that
churns while it is read, a state that is lost."""
import json
import pathlib
import re
import shutil
import threading

import apps
from agent import METRICS
from agent_test import ByAgent
from mesh import STRICT_RULES
from netns import Netns, ip_batch
from waiting import Stopwatch, eventually


class Foreign(ByAgent):
    """Rules, routes and transforms of others, in nodes and pods; there before the agent is."""

    def prepare(self):
        w = self.world
        w.server(w.pods.near, 7000)
        self.places = [*w.lab.nodes.values(), w.pods.client, w.pods.near, w.pods.plain]
        for place in self.places:
            for command in ("iptables", "ip6tables"):
                place.run(command, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "4321", "-m", "mark", "--mark", "0x1", "-j", "ACCEPT")
                place.run(command, "-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "--dport", "4322", "-j", "MARK", "--set-mark", "0x2")
            ip_batch(["rule add fwmark 0x77 lookup 177 pref 7700", "route add blackhole 192.0.2.0/24 table 177",
                      "-6 rule add fwmark 0x77 lookup 177 pref 7700"], place.netns)
        self.has_xfrm = self.places[0].run("sh", "-c", "ip xfrm policy list && echo yes || true").endswith("yes\n")
        if self.has_xfrm:
            for place in self.places:
                place.run("ip", "xfrm", "policy", "add", "src", "192.0.2.1/32", "dst", "192.0.2.2/32", "dir", "out", "tmpl", "src", "192.0.2.1",
                          "dst", "192.0.2.2", "proto", "esp", "mode", "tunnel")
        self.before = self.state()

    def state(self):
        commands = [("iptables-save",), ("ip6tables-save",), ("ip", "rule"), ("ip", "-6", "rule"), ("ip", "route", "show", "table", "all"),
                    ("ip", "-o", "link"), ("ip", "-o", "addr", "show", "scope", "global")]
        if self.has_xfrm:
            commands += [("ip", "xfrm", "policy", "list"), ("ip", "xfrm", "state", "list")]
        text = {(place.netns, command): place.run(*command) for place in self.places for command in commands}
        # Not what counts packets or tells the time, nor the kernel's own link-local routes, which come when an address is no longer tentative.
        return {key: re.sub(r".*(?:fe80:|ff00:).*\n|#.*\n|\[\d+:\d+\]|lft \S+|state \S+|<[^>]*>|lastused \S+", "", value) for key, value in text.items()}

    def test_rules_routes_and_transforms_of_others_are_the_same_before_during_and_after(self):
        """Trap 20."""
        w = self.world
        self.wait_rows()
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")
        self.assertEqual(self.state(), self.before)
        self.agent.delete(w.pods.client)
        self.agent.enrol(w.pods.client)
        self.agent.wait_captured(w.pods.client)
        self.agent.kill()
        self.agent.back()
        self.assertEqual(self.state(), self.before)
        for agent in w.agents.values():
            agent.stop()
            agent.uninstall()
        self.assertEqual(self.state(), self.before)


class Strict(ByAgent):
    def test_a_strict_pod_refuses_a_pod_that_is_not_enrolled_and_says_why(self):
        """Trap 31: no clear text because a side is not captured."""
        w = self.world
        server = w.server(w.pods.near, 7000)
        w.mesh.policy("strict", "Deny", STRICT_RULES, pods=[w.pods.near])
        w.change()
        self.wait_rows()
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")
        self.agent.delete(w.pods.client)
        for pod in (w.pods.client, w.pods.plain):
            self.assertEqual(apps.call(pod, w.pods.near.v4, 7000), "reset", pod.name)
        self.assertEqual(len(server.peers), 1)
        for line in w.n1.wait_access(2, direction="inbound"):
            self.assertIn("default/strict", json.dumps(line))


class Away(ByAgent):
    def test_pods_outside_the_mesh_start_and_talk_while_the_agent_is_down(self):
        """Trap 34."""
        w = self.world
        node = w.lab.nodes["n1"]
        self.agent.kill()
        took = Stopwatch()
        name = w.lab.prefix + "late"
        ip_batch([f"netns add {name}"])
        w.lab.names.append("late")
        late = Netns(name)
        self.addCleanup(late.close)
        late.v4, late.netns = "10.77.1.99", name
        ip_batch([f"link add eth0 mtu 9001 netns {name} type veth peer name v-late mtu 9001 netns {node.netns}"])
        ip_batch(["link set lo up", "addr add 10.77.1.99/32 dev eth0", "link set eth0 up", "route add 10.77.1.1 dev eth0 scope link",
                  "route add default via 10.77.1.1"], name)
        ip_batch(["link set v-late up", "addr add 10.77.1.1/32 dev v-late", "route add 10.77.1.99 dev v-late"], node.netns)
        w.server(late, 7000)
        w.server(w.pods.plain, 7000)
        self.assertEqual(apps.call(w.pods.plain, late.v4, 7000), "answered")
        self.assertEqual(apps.call(late, w.pods.plain.v4, 7000), "answered")
        self.assertEqual(apps.call(w.pods.client, late.v4, 7000), "answered")  # the tunnel's to judge, and it is there
        self.assertLess(took.seconds(), 5)
        self.agent.back()


class Churn(ByAgent):
    def test_status_flows_and_metrics_can_be_read_while_everything_changes(self):
        """Trap 37; with WARREN_AGENT a build under the thread sanitizer it says whether anything is read while it is written."""
        w = self.world
        w.server(w.pods.near, 7000)
        self.wait_rows()
        over = threading.Event()

        def read():
            pages = 0
            while not over.is_set():
                for path in ("/status", "/flows?limit=10000"):
                    json.loads(self.agent.http(path)[1])
                self.assertIn("warren_", self.agent.http("/metrics", METRICS)[1])
                pages += 3
            return pages

        def talk():
            while not over.is_set():
                try:
                    apps.call(w.pods.client, w.pods.near.v4, 7000)
                except ConnectionAbortedError:
                    pass  # open while its pod left

        threads = [apps.Thread(read), apps.Thread(read), apps.Thread(talk)]
        pid = self.agent.process.pid
        for i in range(40):
            w.mesh.policy(f"p{i}", "Deny", [[[{"destinationPorts": [20000 + i]}]]], pods=[w.pods.near])
            w.mesh.write()
            if i % 4 == 0:
                self.agent.dismiss(w.pods.client)
                eventually(lambda: all(p["name"] != "client" for p in self.agent.status()["pods"]), "gone")
                self.agent.enrol(w.pods.client)
                self.agent.wait_captured(w.pods.client)
        over.set()
        self.assertGreater(sum(thread.take() or 0 for thread in threads), 50)
        self.assertTrue(self.agent.running())
        self.assertEqual(self.agent.process.pid, pid)
        eventually(lambda: apps.call(w.pods.client, w.pods.near.v4, 7000) == "answered", "answered after it")


class Lost(ByAgent):
    """Trap 38. Which pod has which id is in the kernel, beside the rows that name ids; the agent's folders hold none of it."""

    def prepare(self):
        w = self.world
        for pod in (w.pods.near, w.pods.server):
            w.server(pod, 7000)
        w.server(w.pods.near, 7001)
        w.mesh.policy("not-7001", "Deny", [[[{"destinationPorts": [7001]}]]], pods=[w.pods.near])

    def ids(self):
        return {pod["name"]: pod["id"] for pod in self.agent.status()["pods"]}

    def load(self, port):
        """Connects until the returned function is called, which says what became of them."""
        w, over, results = self.world, threading.Event(), set()

        def talk():
            while not over.is_set():
                results.add(apps.call(w.pods.client, w.pods.near.v4, port))

        thread = apps.Thread(talk)

        def end():
            over.set()
            thread.take()
            return results
        return end

    def restart_without(self, lose):
        w = self.world
        self.agent.kill()
        lose()
        self.agent.back()
        self.agent.wait_captured(w.pods.client, w.pods.near)
        self.wait_rows()

    def test_an_agent_that_lost_its_folders_renumbers_nobody_and_ends_no_connection(self):
        w = self.world
        self.wait_rows()
        open_ones = [w.connect(w.pods.client, pod.v4, 7000) for pod in (w.pods.near, w.pods.near, w.pods.server)]
        for connection in open_ones:
            apps.ask(connection)
        before, end = self.ids(), self.load(7000)
        for _ in range(3):
            self.restart_without(lambda: shutil.rmtree(self.agent.run_dir))
            self.assertEqual(self.ids(), before)
        self.assertEqual(end(), {"answered"})
        for connection in open_ones:
            apps.ask(connection)
        self.assertEqual(self.agent.status()["judge"]["ended"], 0)

    def test_an_agent_that_lost_its_tables_of_ids_too_gives_no_id_a_second_time(self):
        """Whose an id was cannot be known any more: everybody gets a new one, none an old one, and no denial has a gap."""
        w = self.world
        self.wait_rows()
        pins = pathlib.Path("/sys/fs/bpf/warren") / self.agent.instance

        def lose():
            own = [pin for pin in pins.rglob("*") if "wr_agent" in pin.name]
            self.assertEqual(len(own), 2, list(pins.rglob("*")))
            for pin in own:
                pin.unlink()
            shutil.rmtree(self.agent.run_dir)

        seen, end = set(self.ids().values()), self.load(7001)
        for _ in range(3):
            self.restart_without(lose)
            now = set(self.ids().values())
            self.assertFalse(now & seen)
            seen |= now
        self.assertLessEqual(end(), {"refused", "reset"})  # by the kernel, or by the tunnel before a row of the new ids is there
        eventually(lambda: apps.call(w.pods.client, w.pods.near.v4, 7000) == "answered", "answered")
