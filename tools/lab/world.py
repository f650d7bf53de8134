# SPDX-License-Identifier: Apache-2.0
"""A lab: brought up whole or not at all, looked at, changed, taken down. Several of them may be up on one machine."""
import contextlib
import json
import os
import pathlib
import shutil

import interrupt
import kernel
import network
import preflight
import shop
from daemons import Agent, Controller, Tunnel
from kernel import LabError, eventually
from place import Place

PATIENCE_S = 60.0  # takes a second, and longer on a machine that has no time


class Lab(Place):
    def __init__(self, name, binaries):
        super().__init__(name)
        self.binaries = pathlib.Path(binaries)
        self.drain_s = 5
        self.children, self.claimed = [], False
        self.controller = Controller(self)
        self.agents = {node: Agent(self, node) for node in shop.NODES}
        self.tunnels = {node: Tunnel(self, node) for node in shop.NODES}

    # -- up and down

    @contextlib.contextmanager
    def whole(self, keep):
        """Around up() and what follows it. Taken down at the end unless it is to be kept; and however the block fails, but only what it made."""
        try:
            yield
            interrupt.check()
        except BaseException:
            self._undo()
            raise
        if not keep:
            self._undo()
            interrupt.check()

    def _undo(self):
        if self.claimed:
            with interrupt.deaf():
                self.down()

    def up(self, mesh=None, rate=20.0, page_port=0, say=lambda text: None):
        """mesh: folder of YAML files instead of the shop's services and policies. page_port: where the node pages are, n1's and, one above,
        n2's; 0: wherever it is free. Only inside whole()."""
        if not 0 < rate <= 1000:
            raise LabError(f"--rate {rate:g} is out of range; use more than 0 and at most 1000 pages a second")
        preflight.check(self.binaries)
        pages = preflight.listeners(page_port, len(shop.NODES))
        try:
            self.claim()
            self.claimed = True
            self._mesh_files(pathlib.Path(mesh) if mesh else shop.HERE / "shop")
            self._up(rate, pages, say)
        finally:
            for page in pages:
                page.close()
        return self

    def _mesh_files(self, mesh):
        """Copies and checks them, before anything else is there."""
        folder = self.controller.mesh
        folder.mkdir()
        files = sorted(path for path in mesh.glob("*") if path.suffix in (".yaml", ".yml") and not path.name.startswith("."))
        if not files:
            raise LabError(f"{mesh}: there is no .yaml or .yml file in it; --mesh names a folder of services and policies, as tools/lab/shop")
        for path in files:
            shutil.copy(path, folder / path.name)
        (folder / "workloads.yaml").write_text(json.dumps({"workloads": [pod.workload() for pod in shop.PODS.values()]}), encoding="utf-8")
        checked = kernel.run([self.controller.binary, "check", folder], check=False)
        if checked.returncode != 0:
            wrong = (checked.stderr.strip() or checked.stdout.strip()).splitlines()[0].replace(str(folder), str(mesh))
            raise LabError(f"the mesh is not in order: {wrong}")

    def _up(self, rate, pages, say):
        say("two nodes, ten pods")
        network.build(self)
        for pod in shop.PODS.values():
            self.pod_folder(pod.name).mkdir(parents=True)
            (self.pod_folder(pod.name) / "resolv.conf").write_text(
                f"nameserver {shop.NAME_SERVER}\nsearch {pod.namespace}.svc.cluster.local svc.cluster.local\n")
        say("control plane")
        self.controller.start()
        shop.make_database(self.pod_folder("catalog"), self._as_postgres)
        self.controller.wait_ready()
        say("agents and tunnels")
        for node in shop.NODES:
            self.agents[node].start()
        for node in shop.NODES:
            self.agents[node].wait_answers()
            self.tunnels[node].start()
        for node in shop.NODES:
            self.tunnels[node].wait_ready()
            self.agents[node].wait_ready()
        self.agents["n1"].wait_pairs()
        say("nginx, redis, PostgreSQL, front end, load generator")
        for pod, command, user in shop.applications(self, rate):
            if pod == "load":
                self._wait_applications()
            self.start_in(pod, command, user=user)
        self._pages(pages)
        eventually(lambda: self.load()["ok"] > 0, lambda: f"a page of the shop: {self.load()}", PATIENCE_S)

    def _wait_applications(self):
        for pod, port in (("cart", 6379), ("assets", 8080), ("catalog", 5432), ("web", 8080), ("cart", shop.BULK), ("payment", shop.BULK),
                          ("assets", shop.BULK), ("old-2", shop.BULK), ("old-3", shop.BULK)):
            eventually(lambda p=pod, n=port: self.listens(p, n), lambda p=pod, n=port: f"{p} listens at {n}: {self.pod_log(p)}", PATIENCE_S)

    def _as_postgres(self, command, text):
        ids = kernel.ids_of("postgres")
        kernel.run(["setpriv", f"--reuid={ids[0]}", f"--regid={ids[1]}", "--clear-groups", *map(str, command)], text=text,
                   cgroup=self.cgroup / "setup")

    def _pages(self, listeners):
        """The node pages on the machine's loopback."""
        ports = {}
        for node, listener in zip(shop.NODES, listeners):
            number = listener.fileno()
            ports[node] = listener.getsockname()[1]
            command = shop.program("page", self.netns(node), Agent.ADMIN, number)
            self.children.append(kernel.start(command, self.cgroup / f"page-{node}", None, self.folder / f"page-{node}.log", keep=(number,)))
        (self.folder / "pages.json").write_text(json.dumps(ports))

    def down(self):
        """Takes away what there is of it, also of one that is half up or whose owner died. LabError with what could not be taken away."""
        kernel.end_cgroup(self.cgroup)
        self.reap()
        for agent in self.agents.values():
            if (agent.instance in {path.name for path in self.pins()}) and agent.binary.exists():
                agent.uninstall()
        for name in self.namespaces():
            kernel.run(["ip", "netns", "del", name], check=False)
        kernel.remove_tree(self.folder)
        left = self.leftovers()
        if left:
            raise LabError(f"of the lab {self.name} this is left: {', '.join(left)}; run `warren lab down {self.name}` again")

    def reap(self):
        self.children = [child for child in self.children if child.poll() is None]

    # -- programs in pods

    def start_in(self, pod, command, *, user=None, log=None):
        process = kernel.start(command, self.cgroup / f"pod-{pod}", self.netns(pod), log or self.pod_folder(pod) / "log",
                               pod=self.pod_folder(pod), user=user)
        self.children.append(process)
        return process

    def run_in(self, pod, command, deadline=30):
        """(exit code, output) of a command in a pod."""
        log = self.pod_folder(pod) / f"run-{os.getpid()}.log"
        log.unlink(missing_ok=True)
        process = self.start_in(pod, command, log=log)
        try:
            eventually(lambda: process.poll() is not None, lambda: f"{' '.join(map(str, command))} in {pod} ends", deadline)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process.returncode, log.read_text(errors="replace")

    def pod_log(self, pod):
        path = self.pod_folder(pod) / "log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def listens(self, pod, port):
        """Asked of the kernel: a connect would be judged as one of the node's."""
        with kernel.inside(self.netns(pod)):
            tables = [pathlib.Path(f"/proc/thread-self/net/{name}").read_text() for name in ("tcp", "tcp6")]
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for table in tables for line in table.splitlines()[1:])

    # -- what it says of itself

    def load(self):
        """What the load generator counted."""
        try:
            return json.loads((self.pod_folder("load") / "load.json").read_text())
        except FileNotFoundError:
            return {"ok": 0, "failed": 0, "reasons": {}, "worst_s": 0.0, "when": []}

    def pages(self):
        return {node: f"http://127.0.0.1:{port}/" for node, port in json.loads((self.folder / "pages.json").read_text()).items()}

    def status(self):
        daemons = [self.controller, *self.agents.values(), *self.tunnels.values()]
        return {"name": self.name, "load": self.load(), "pages": self.pages(), "logs": str(self.folder),
                "daemons": {daemon.name: daemon.running() for daemon in daemons}}

    # -- upgrades

    def upgrade_agent(self, node):
        """The old one ends, the new one takes up what the kernel holds."""
        self.agents[node].stop()
        self.agents[node].start().wait_answers().wait_ready()

    def upgrade_tunnel(self, node):
        """A successor in the spare home while the old one drains; then the same the other way."""
        old, spare = self.tunnels[node], Tunnel(self, node, successor=True)
        for new, last in ((spare, old), (Tunnel(self, node), spare)):
            new.start().wait_ready()
            self._wait_connected(node, 2)
            last.stop()
            self._wait_connected(node, 1)

    def _wait_connected(self, node, count):
        def connected():
            tunnels = self.agents[node].status()["tunnel"]["connected"]
            return len(tunnels) == count and all(tunnel["waiting"] == 0 for tunnel in tunnels)
        eventually(connected, lambda: f"{count} tunnels: {self.agents[node].status()['tunnel']}", PATIENCE_S)
