# SPDX-License-Identifier: Apache-2.0
"""Daemons that are upgraded, killed, or away while a client counts: every page of it is five new connections over both paths."""
import json
import os
import subprocess
import sys
import time

from labcase import LabCase, kernel, shop, story

LONG = os.environ.get("WARREN_LONG") == "1"
KILLS = 100 if LONG else 20
AWAY = 5000 if LONG else 60  # pages, at some 30 a second


# Two connections that last: to redis on the same node, and to nginx on the other.
HOLD = """
import json, socket, sys, threading, time
done, open_, out = threading.Event(), threading.Barrier(3), {}
def hold(name, host, port, ask, end):
    answers, why, peer = 0, "", socket.create_connection((host, port), 20)
    peer.settimeout(20)
    try:
        while not done.is_set():
            peer.sendall(ask)
            heard = b""
            while not heard.endswith(end):
                heard += peer.recv(4096) or sys.exit("closed")
            answers += 1
            if answers == 1:
                open_.wait(20)
            done.wait(0.05)
    except (OSError, SystemExit) as error:
        why = str(error)
    out[name] = {"answers": answers, "ended": time.monotonic(), "why": why}
threads = [threading.Thread(target=hold, args=args) for args in (
    ("near", CART, 6379, b"PING\\r\\n", b"+PONG\\r\\n"), ("far", ASSETS, 8080, b"HEAD / HTTP/1.1\\r\\nHost: assets\\r\\n\\r\\n", b"\\r\\n\\r\\n"))]
for thread in threads:
    thread.start()
open_.wait(20)
print("open", flush=True)
sys.stdin.read()
done.set()
for thread in threads:
    thread.join()
print(json.dumps(out), flush=True)
"""


class UnderLoad(LabCase):
    def setUp(self):
        self.lab_ = self.lab(rate=30)

    def test_upgraded_tunnels_and_agents_fail_no_new_connection(self):
        lab = self.lab_
        for node in shop.NODES:
            self.pages(lab, 30)
            lab.upgrade_tunnel(node)
            self.pages(lab, 30)
            lab.upgrade_agent(node)
        self.pages(lab, 60)
        self.none_failed(lab)

    def test_upgrades_end_no_connection_of_one_node_and_let_others_drain(self):
        lab = self.lab_
        script = HOLD.replace("CART", repr(shop.PODS["cart"].v4)).replace("ASSETS", repr(shop.PODS["assets"].v4))
        held = self.start("exec", "--name", lab.name, "web", "--", sys.executable, "-c", script, stdin=subprocess.PIPE)
        self.assertEqual(held.stdout.readline(), "open\n")
        old, told = lab.tunnels["n1"], []
        stop = old.stop

        def told_to_end():
            told.append(time.monotonic())
            stop()
        old.stop = told_to_end
        lab.upgrade_tunnel("n1")
        for node in shop.NODES:
            lab.upgrade_agent(node)
        lab.upgrade_tunnel("n2")
        self.pages(lab, 30)
        out, err = held.communicate(timeout=60)
        self.assertEqual(held.returncode, 0, out + err)
        end = json.loads(out)
        self.assertEqual(end["near"]["why"], "", end)
        self.assertGreater(end["near"]["ended"], end["far"]["ended"] + 1, end)
        # It is cut when the old tunnel's deadline is over, and not before.
        self.assertNotEqual(end["far"]["why"], "", end)
        self.assertGreater(end["far"]["ended"], told[0] + lab.drain_s - 0.5, end)
        self.assertGreater(end["far"]["answers"], 10, end)
        self.none_failed(lab)

    def test_an_agent_that_is_killed_again_and_again_fails_no_connection(self):
        lab = self.lab_
        for kill in range(KILLS):
            agent = lab.agents[shop.NODES[kill % 2]]
            agent.kill()
            self.pages(lab, 5)
            agent.start().wait_answers()
        for agent in lab.agents.values():
            agent.wait_ready()
        self.pages(lab, 60)
        self.none_failed(lab)
        self.assertEqual(story.refusals(lab)[0]["saw"], "Connection refused")

    def test_a_controller_that_is_away_changes_nothing_and_is_heard_when_it_is_back(self):
        lab = self.lab_
        lab.controller.kill()
        self.pages(lab, AWAY, 30 + AWAY // 5)
        self.assertEqual([one["saw"] for one in story.refusals(lab)], ["Connection refused", "Connection reset by peer", "Connection reset by peer"])
        lab.controller.put("closed.yaml", json.dumps({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "closed", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "action": "DENY", "rules": [{}]}}))
        self.pages(lab, 30)
        self.none_failed(lab)
        lab.controller.start().wait_ready()
        kernel.eventually(lambda: lab.load()["failed"] > 0, lambda: f"the policy of meanwhile: {lab.load()}", 30)
        lab.controller.remove("closed.yaml")
        self.pages(lab, 10)
