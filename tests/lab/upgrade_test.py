# SPDX-License-Identifier: Apache-2.0
"""Daemons that are upgraded, killed, or away while a client counts: every page of it is five new connections over both paths."""
import json
import os

from labcase import LabCase, kernel, shop, story

LONG = os.environ.get("WARREN_LONG") == "1"
KILLS = 100 if LONG else 20
AWAY = 5000 if LONG else 60  # pages, at some 30 a second


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
