# SPDX-License-Identifier: Apache-2.0
"""Agents and tunnels of two releases side by side, and upgraded from one to the other and back, under load (tools/test-long.sh skew).

    WARREN_BIN=NEW WARREN_OTHER_BIN=OLD WARREN_TESTS_FOLDER=tests/lab python3 -B tests/mesh/run.py skew.py
"""
import os
import pathlib

from labcase import BINARIES, Lab, LabCase, kernel, story

OTHER = pathlib.Path(os.environ["WARREN_OTHER_BIN"]).resolve()
PROGRAMS = ("warren", "warren-agent", "warren-controller", "warren-ztunnel")
REFUSED = ["Connection refused", "Connection reset by peer", "Connection reset by peer"]


class Skew(LabCase):
    def setUp(self):
        self.programs = self.folder()
        for program in PROGRAMS:
            self.take(program, BINARIES)
        self.lab_ = Lab(self.fresh(), self.programs)
        self.lab_.up(rate=30)
        self.addCleanup(self._logs_on_failure, self.lab_)

    def take(self, program, release):
        """What is started from here on."""
        place = self.programs / program
        place.unlink(missing_ok=True)
        place.symlink_to(pathlib.Path(release).resolve() / program)

    def holds(self, what):
        """Pages of five connections over both paths are answered, and what policy refuses is refused."""
        with self.subTest(what):
            self.pages(self.lab_, 60)
            self.assertEqual([one["saw"] for one in story.refusals(self.lab_)], REFUSED)
            self.none_failed(self.lab_)

    def test_each_of_a_node_is_the_older_one_for_a_while(self):
        lab = self.lab_
        self.holds("all of this release")
        self.take("warren-agent", OTHER)
        lab.upgrade_agent("n1")
        self.holds("an older agent")
        self.take("warren-ztunnel", OTHER)
        lab.upgrade_tunnel("n1")
        self.holds("an older agent and tunnel beside a node of this release")
        self.take("warren-agent", BINARIES)
        lab.upgrade_agent("n1")
        self.holds("an older tunnel")
        lab.upgrade_tunnel("n2")
        self.holds("older tunnels")
        self.take("warren-controller", OTHER)
        lab.controller.kill()
        lab.controller.start().wait_ready()
        self.holds("an older controller too")
        self.take("warren-ztunnel", BINARIES)
        self.take("warren-controller", BINARIES)
        for node in ("n1", "n2"):
            lab.upgrade_tunnel(node)
        lab.controller.kill()
        lab.controller.start().wait_ready()
        kernel.eventually(lambda: all(agent.status()["tunnel"]["connected"] for agent in lab.agents.values()), lambda: "tunnels are connected", 30)
        self.holds("all of this release again")
