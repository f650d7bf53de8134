# SPDX-License-Identifier: Apache-2.0
"""The demo's story end to end, and each of its figures against what the kernel counts."""
import json
import os
import signal
import subprocess
import sys
import time

from labcase import LabCase, kernel, sent_bytes, shop, story

IDLE_S = 65 if os.environ.get("WARREN_LONG") == "1" else 12
SAYS_ONE_WORD = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); s.sendall(b'word'); s.recv(1)"


class Demo(LabCase):
    def test_the_demo_tells_its_story_within_a_minute_and_leaves_nothing_behind(self):
        name, report = self.fresh(), self.folder() / "report.json"
        began = time.monotonic()
        out, _ = self.command("demo", "--name", name, "--report", report)
        self.assertLess(time.monotonic() - began, 60)
        self.nothing_left(name)
        shown = json.loads(report.read_text())
        self.assertEqual(shown["page"]["products"], {"chair": 120, "lamp": 40, "table": 310})
        across = shown["across"]
        self.assertEqual((across["seen"], across["flow"]["path"], across["flow"]["destination"]["proof"]), (0, "tunnel", "certificate"))
        self.assertGreaterEqual(across["frames"], 4)
        self.assertGreaterEqual(across["plain_seen"], 1)
        self.assertEqual({one["label"]: one["path"] for one in shown["speeds"]},
                         {"same node, direct": "direct", "no mesh, same node": "none", "same node, encryption demanded": "tunnel",
                          "across nodes, mutual TLS": "tunnel", "no mesh, across nodes": "none"})
        self.assertEqual([(one["saw"], one["flow"]["decision"]["reason"], one["flow"]["path"]) for one in shown["refusals"]],
                         [("Connection refused", "denied_no_allow_matched", "direct"), ("Connection reset by peer", "denied_no_allow_matched", "tunnel"),
                          ("Connection reset by peer", "denied_by_policy", "plaintext")])
        self.assertIn("denied: ALLOW policies select the workload and none matched", shown["explain"][1])
        self.assertEqual([one["path"] for one in shown["revocation"]], ["direct", "tunnel"])
        for one in shown["revocation"]:
            self.assertLess(one["after_s"], 1)
        self.assertEqual(shown["load"]["failed"], 0)
        for text in (f"{one['after_s'] * 1000:.0f} ms after the policy" for one in shown["revocation"]):
            self.assertIn(text, out)

    def test_two_demos_run_side_by_side(self):
        names = [self.fresh(), self.fresh()]
        for name, demo in [(name, self.start("demo", "--name", name)) for name in names]:
            out, err = demo.communicate(timeout=200)
            self.assertEqual(demo.returncode, 0, out + err)
            self.nothing_left(name)

    def test_a_demo_that_is_kept_is_there_until_it_is_taken_down(self):
        name = self.fresh()
        self.command("demo", "--name", name, "--keep")
        self.assertTrue(all(json.loads(self.command("status", name, "-o", "json")[0])[0]["daemons"].values()))
        self.assertRegex(self.command("status", name, "-o", "yaml")[0], rf'(?m)^- "name": "{name}"$')
        page = json.loads(self.command("exec", "--name", name, "load", "--", "curl", "-s", "http://web/")[0])
        self.assertEqual(page["banner"], "everything must go")
        self.command("exec", "--name", name, "batch", "--", "curl", "-s", "http://web.shop/", code=7)
        self.assertIn("10.77.0.2", self.command("exec", "--name", name, "n2", "--", "ip", "-4", "addr")[0])
        pages = json.loads(self.command("status", name, "-o", "json")[0])[0]["pages"]
        for node, url in pages.items():
            status = subprocess.run(["curl", "-s", f"{url}status"], capture_output=True, text=True, check=True).stdout
            self.assertEqual(json.loads(status)["node"], node)
        self.command("down", name)
        self.nothing_left(name)


class Interrupted(LabCase):
    def interrupt(self, line, number, code):
        name = self.fresh()
        demo = self.start("demo", "--name", name)
        for text in demo.stdout:
            if line in text:
                break
        demo.send_signal(number)
        out, err = demo.communicate(timeout=100)
        self.assertEqual(demo.returncode, code, out + err)
        return name

    def test_control_c_at_any_moment_leaves_nothing_behind(self):
        for line in ("bringing up", "two nodes", "control plane", "agents and tunnels", "front end", "From node to node", "Revoked while open"):
            with self.subTest(line):
                self.nothing_left(self.interrupt(line, signal.SIGINT, 130))

    def test_a_termination_signal_takes_it_down_too(self):
        self.nothing_left(self.interrupt("Refused by policy", signal.SIGTERM, 130))

    def test_what_a_killed_demo_leaves_is_taken_down_by_its_name(self):
        name = self.interrupt("Refused by policy", signal.SIGKILL, -9)
        self.command("down", name)
        self.nothing_left(name)


class Figures(LabCase):
    def test_what_is_shown_is_what_the_kernel_counted(self):
        lab = self.lab(rate=2)
        for one in story.speeds(lab):
            with self.subTest(one["label"]):
                # A link counts headers too, of 40 to 110 bytes for each 1.4 to 64 kB of payload.
                self.assertLessEqual(one["bytes"], one["link_bytes"])
                self.assertGreater(one["bytes"], one["link_bytes"] * 0.9)
        for one in story.revocation(lab):
            with self.subTest(one["destination"]):
                self.assertAlmostEqual(one["after_s"], one["saw_after_s"], delta=0.1)

    def test_an_open_direct_connection_is_counted_as_the_socket_counts_it(self):
        lab = self.lab(rate=2)
        cart = shop.PODS["cart"].v4
        held = lab.start_in("load", shop.program("bulk", "hold", cart, shop.BULK))
        for _ in range(3):
            first = kernel.eventually(lambda: lab.listens("cart", shop.BULK) and self.sent(lab, cart), "bytes", 10)
            flow = story.find_flow(lab, "n1", "load", "cart", lambda f, n=first: f["bytes_to_destination"] >= n, path="direct")
            self.assertLessEqual(flow["bytes_to_destination"], sent_bytes(lab, "load", cart, shop.BULK))
        held.kill()
        held.wait()

    def test_idle_connections_stay_in_the_snapshot(self):
        """Trap 23: over both paths, with all their bytes, for as long as they say nothing."""
        lab = self.lab(rate=2)
        paths = {"cart": "direct", "assets": "tunnel"}
        silent = {name: lab.start_in("load", [sys.executable, "-c", SAYS_ONE_WORD, shop.PODS[name].v4, str(shop.BULK)], log=lab.pod_folder("load") / f"silent-{name}.log")
                  for name in paths}
        first = {name: story.find_flow(lab, "n1", "load", name, lambda f: f["bytes_to_destination"] == 4, path=path) for name, path in paths.items()}
        began = time.monotonic()
        kernel.eventually(lambda: time.monotonic() - began > IDLE_S, "a long silence", IDLE_S + 10)
        for name, path in paths.items():
            with self.subTest(path):
                self.assertIsNone(silent[name].poll())
                found = [flow for flow in lab.agents["n1"].flows() if flow["cookie"] == first[name]["cookie"] and flow["path"] == path]
                self.assertEqual([(flow["bytes_to_destination"], flow.get("end_time")) for flow in found], [(4, None)])
                silent[name].kill()
                silent[name].wait()
                eventual = lambda f, n=name: f["cookie"] == first[n]["cookie"] and f.get("end_time")  # noqa: E731
                self.assertEqual(story.find_flow(lab, "n1", "load", name, eventual, path=path)["bytes_to_destination"], 4)

    @staticmethod
    def sent(lab, address):
        try:
            return sent_bytes(lab, "load", address, shop.BULK)
        except TypeError:  # not open yet
            return 0

    def test_the_connections_of_a_quiet_table_are_those_that_redis_served(self):
        lab = self.lab()
        self.pages(lab, 50)
        kernel.end_cgroup(lab.cgroup / "pod-load")
        lab.reap()

        def visits():
            code, text = lab.run_in("web", ["redis-cli", "-h", "cart", "get", "visits"])
            self.assertEqual(code, 0, text)
            return int(text)
        served, asked = visits(), 1
        kernel.eventually(lambda: sum(count for key, count, _ in story.table(lab) if key[:3] == ("web", "cart", 6379)) == served + asked,
                          lambda: f"{served} visits and {asked} question: {story.table(lab)}", 5)
