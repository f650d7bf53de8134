# SPDX-License-Identifier: Apache-2.0
"""What a node runs out of, and clocks that jump, while clients work: what they see is what docs/troubleshooting.md says, nothing turns into
plaintext, and all is well again without hands. Killed agents and a controller that is away: upgrade_test.py."""
import os
import pathlib
import resource
import struct
import subprocess

from labcase import LabCase, kernel, shop, story

HOUR = 3600


class Chaos(LabCase):
    def well_again(self, lab, pages=40):
        """So many pages in a row."""
        def quiet():
            before = lab.load()
            self.pages(lab, pages, 60)
            return lab.load()["failed"] == before["failed"]
        kernel.eventually(quiet, lambda: f"{pages} pages in a row: {lab.load()}", 90)

    def say(self, lab, source, destination):
        return lab.run_in(source, shop.program("bulk", "say", shop.PODS[destination].v4, shop.BULK, "word"))[1].strip()

    def hold(self, lab, source, destination):
        """An open connection that talks until it ends."""
        log = lab.pod_folder(source) / f"hold-{destination}.log"
        process = lab.start_in(source, shop.program("bulk", "hold", shop.PODS[destination].v4, shop.BULK), log=log)
        kernel.eventually(lambda: log.exists() and "open" in log.read_text(), "a connection", 20)
        return process

    def still_open(self, process):
        self.assertIsNone(process.poll())
        process.kill()
        process.wait()


class FullDisk(Chaos):
    def test_a_full_disk_costs_log_lines_which_are_counted_and_nothing_else(self):
        lab = self.lab(rate=20)
        small = lab.folder / "small"
        small.mkdir()
        kernel.run(["mount", "-t", "tmpfs", "-o", "size=2m", "warren-test", small])
        self.addCleanup(kernel.run, ["umount", "-l", small], check=False)
        ballast = small / "ballast"
        for daemon in (lab.tunnels["n1"], lab.agents["n1"], lab.controller):
            daemon.stop()
            daemon.log = small / f"{daemon.name}.log"
        lab.controller.start().wait_ready()
        lab.agents["n1"].start().wait_answers()
        lab.tunnels["n1"].start().wait_ready()
        lab.agents["n1"].wait_ready()
        self.well_again(lab, 10)
        with open(ballast, "wb", buffering=0) as file:
            try:
                while file.write(bytes(65536)):
                    pass
            except OSError:
                pass
        failed = lab.load()["failed"]
        tunnel = lab.tunnels["n1"]
        kernel.eventually(lambda: self.lines(tunnel, "failed") > 0, "lines that the disk did not take are counted", 30)
        self.pages(lab, 40)
        self.assertEqual(story.refusals(lab)[0]["saw"], "Connection refused")
        self.assertEqual(lab.load()["failed"], failed)
        self.assertTrue(all(daemon.running() for daemon in (tunnel, lab.agents["n1"], lab.controller)))
        written = self.lines(tunnel, "written")
        ballast.unlink()
        kernel.eventually(lambda: self.lines(tunnel, "written") > written, "lines are written again once there is room", 30)

    @staticmethod
    def lines(tunnel, outcome):
        return tunnel.metric(f'warren_log_lines_total{{outcome="{outcome}"}}')


class Descriptors(Chaos):
    def test_a_tunnel_without_a_free_descriptor_lets_new_connections_wait_and_keeps_the_open_ones(self):
        lab = self.lab(rate=10)
        self.pages(lab, 10)
        held = self.hold(lab, "load", "assets")
        tunnel = lab.tunnels["n1"]
        (pid,) = tunnel.pids()
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, before[1]))  # all of them are taken
        callers = [lab.start_in("load", shop.program("bulk", "say", shop.PODS["assets"].v4, shop.BULK, "word"),
                                log=lab.pod_folder("load") / f"caller-{number}.log") for number in range(20)]
        # The same node's own connections need no tunnel.
        self.assertEqual(self.say(lab, "load", "cart"), "4")
        self.assertTrue(any(caller.poll() is None for caller in callers))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        kernel.eventually(lambda: tunnel.metric("warren_accept_pauses_total") > 0, "waits for a descriptor are counted", 20)
        for caller in callers:
            caller.wait(60)
        self.well_again(lab)
        self.still_open(held)


class Memory(Chaos):
    def first_version(self):
        """A group of that hierarchy where it has the memory controller; its folder goes after the lab."""
        root = pathlib.Path("/sys/fs/cgroup/memory")
        if not root.is_dir() or (root / "cgroup.controllers").exists():
            return None
        made = root / f"warren-test-{os.getpid()}"
        made.mkdir()
        self.addCleanup(kernel.eventually, lambda: self.removed(made), f"{made} is removed", 20)
        return made

    def second_version(self, lab):
        root = kernel.cgroup2_root()
        if root is None or "memory" not in (root / "cgroup.controllers").read_text():
            self.skipTest("no memory controller on this machine")
        for folder in (root, lab.cgroup):
            (folder / "cgroup.subtree_control").write_text("+memory")
        return lab.tunnels["n1"].cgroup

    @staticmethod
    def removed(folder):
        try:
            folder.rmdir()
        except OSError:
            return not folder.exists()
        return True

    def test_a_tunnel_that_hits_its_memory_limit_is_ended_and_its_successor_serves(self):
        made = self.first_version()
        lab = self.lab(rate=10)
        tunnel = lab.tunnels["n1"]
        group = made or self.second_version(lab)
        tunnel.stop()
        tunnel.start()
        if made:
            (made / "cgroup.procs").write_text(str(tunnel.pids()[0]))
        tunnel.wait_ready()
        self.pages(lab, 10)
        limit = group / ("memory.limit_in_bytes" if made else "memory.max")
        used = group / ("memory.usage_in_bytes" if made else "memory.current")
        limit.write_text(str(int(used.read_text()) + (1 << 19)))
        for number in range(60):
            lab.start_in("load", shop.program("bulk", "send", shop.PODS["assets"].v4, shop.BULK, 20), log=lab.pod_folder("load") / f"send-{number}")
        kernel.eventually(lambda: not tunnel.running(), "the kernel ends the tunnel", 60)
        lab.reap()
        # What needs the tunnel is refused, never plain; what needs none goes on.
        self.assertIn(self.say(lab, "load", "assets"), ("Connection refused", "Connection reset by peer"))
        self.assertEqual(self.say(lab, "load", "cart"), "4")
        if not made:
            limit.write_text("max")
        tunnel.start().wait_ready()  # as whoever supervises it does
        self.well_again(lab)
        self.assertEqual(self.say(lab, "load", "assets"), "4")


class Clock(Chaos):
    def setUp(self):
        library = self.folder() / "shifted_clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, pathlib.Path(__file__).with_name("shifted_clock.c"), "-ldl"], check=True)
        self.clock = self.folder() / "shift"
        self.jump(0)
        self.preload = {"LD_PRELOAD": str(library), "WARREN_SHIFTED_CLOCK": str(self.clock)}

    def jump(self, seconds):
        with open(self.clock, "r+b" if self.clock.exists() else "wb", buffering=0) as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))

    def shifted(self, lab, *daemons):
        for daemon in daemons:
            daemon.stop()
            daemon.environment = self.preload
            daemon.start()
        lab.controller.wait_ready()
        for node in shop.NODES:
            lab.tunnels[node].wait_ready()
            lab.agents[node].wait_ready()

    def test_a_day_is_skipped_and_all_certificates_with_it(self):
        lab = self.lab(rate=10)
        self.shifted(lab, lab.controller, *lab.agents.values(), *lab.tunnels.values())
        self.well_again(lab)
        held = [self.hold(lab, "load", "cart"), self.hold(lab, "load", "assets")]
        self.jump(25 * HOUR)
        self.well_again(lab)
        self.assertEqual(self.say(lab, "load", "assets"), "4")
        self.assertEqual([one["saw"] for one in story.refusals(lab)], ["Connection refused", "Connection reset by peer", "Connection reset by peer"])
        self.jump(0)
        self.well_again(lab)
        self.still_open(held[0])

    def test_a_node_whose_clock_is_an_hour_behind_is_told_so_and_is_well_when_it_is_set(self):
        lab = self.lab(rate=10)
        self.shifted(lab, lab.agents["n2"], lab.tunnels["n2"])
        self.well_again(lab)
        self.jump(-HOUR)
        # Its next tunnels: the certificates of the others are not valid yet to it.
        lab.tunnels["n1"].stop()
        lab.tunnels["n1"].start().wait_ready()
        self.assertEqual(self.say(lab, "load", "cart"), "4")
        said = self.say(lab, "load", "assets")
        self.assertEqual(said, "Connection reset by peer")
        self.assertIn("certificate is not yet valid", lab.tunnels["n2"].log.read_text())
        self.jump(0)
        self.well_again(lab)
