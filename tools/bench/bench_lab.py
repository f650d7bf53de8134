# SPDX-License-Identifier: Apache-2.0
"""The lab that is measured: two nodes with real agents and tunnels (tests/mesh), pods in the mesh and pods that are not, servers in all of
them, the reference relay, and the parts whose CPU is counted. States (agent away, flows off, BBR, policies) are entered and left again."""
import contextlib
import itertools
import os
import pathlib
import resource
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/mesh"))

# The tests' modules read these when they are loaded.
BUILD = pathlib.Path(os.environ.get("WARREN_BENCH_BUILD") or ROOT / "build/release")
os.environ.setdefault("WARREN_AGENT", str(BUILD / "bin/warren-agent"))
os.environ.setdefault("WARREN_ZTUNNEL", str(BUILD / "bin/warren-ztunnel"))
BENCH = os.environ.get("WARREN_BENCH") or str(BUILD / "bin/warren-bench")

from agent import cgroup2_root  # noqa: E402
from cases import Meter, Target, last_json  # noqa: E402
from mesh import principal  # noqa: E402
from waiting import eventually  # noqa: E402
from world import World  # noqa: E402

# Pods of the mesh: client asks; near is on its node and direct, inside is on its node and demands the tunnel; server is on the other node.
# The plain ones are in no mesh: asker, its neighbour on the same node, and its far peer.
PODS = (("client", 1, "client"), ("near", 1, "server"), ("inside", 1, "server"), ("server", 2, "server"),
        ("asker", 1, None), ("neighbour", 1, None), ("far", 2, None))
# Without a mesh here, for another data plane to take.
GUESTS = (("guest", 1, None), ("guest-near", 1, None), ("guest-far", 2, None))
PORT, RELAY_IN, RELAY_BETWEEN = 7000, 7100, 7443
SETTINGS = {"same-node-mode": "direct", "same-node-overrides": "default/inside=encrypted", "dns-capture": "false"}
START_S = 20.0


def processes_for(connections):
    """How many processes, each with a port of its own at the server, it takes to hold so many: neither descriptors nor the client's own
    ports towards one port of the server may run out, and near the end of its ports a client searches long for each."""
    first, last = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split())
    room = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200, (last - first) * 2 // 5)
    return -(-connections // room)


def end_cleanly():
    """A request to end unwinds as Ctrl-C does, so that nothing of a lab stays."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class BenchLab:
    """more: further pods as the lab takes them, in the mesh. settings: of the agents, over SETTINGS. serving: names of the pods with a
    server; processes of them each, on ports of their own, for more connections than one may open; relay: the reference beside it."""

    def __init__(self, more=(), settings=None, serving=("near", "inside", "server", "neighbour", "far"), processes=1, relay=True, prepare=None):
        for program in (BENCH, os.environ["WARREN_AGENT"], os.environ["WARREN_ZTUNNEL"]):
            if not os.access(program, os.X_OK):
                raise SystemExit(f"{program} is missing; build the release preset, or name a build folder by WARREN_BENCH_BUILD")
        self.settings = {**SETTINGS, **(settings or {})}
        self.world = World(pods=(*PODS, *more), by_agent=True, agent=self.settings)
        self.pods = self.world.pods
        self.cgroups = {}
        self.processes = processes
        self.others, self.numbers = [], itertools.count(1)
        try:
            if prepare:
                prepare(self.world)
            self._default_congestion(os.environ.get("LAB_CC", "cubic"))
            self.world.start()
            self._start_load(serving, relay)
            self.wait_rows()
        except BaseException:
            self.close()
            raise

    def _start_load(self, serving, relay):
        for part in ("load", "relay"):
            folder = cgroup2_root() / f"{self.world.lab.prefix}{part}"
            folder.mkdir()
            self.cgroups[part] = folder
        for name in serving:
            self.serve(self.world.lab.pods[name])
        if relay:
            p = self.pods
            self._start(p.far, "relay", "relay", "--listen", f"0.0.0.0:{RELAY_BETWEEN}", "--to", f"127.0.0.1:{PORT}", "--tls-in")
            self._start(p.asker, "relay", "relay", "--listen", f"127.0.0.1:{RELAY_IN}", "--to", f"{p.far.v4}:{RELAY_BETWEEN}", "--tls-out")

    def _start(self, pod, part, *arguments):
        log = self.world.folder / f"bench-{next(self.numbers)}-{part}-{pod.name}"
        process = pod.start(*self._within(part), BENCH, *arguments, env={}, log=log)
        eventually(lambda: process.poll() is not None or "listening" in log.read_text(), f"{arguments} listening", START_S)
        if process.poll() is not None:
            raise RuntimeError(f"warren-bench {' '.join(arguments)}: {log.read_text()}")
        return process

    def _within(self, part):
        return ("/bin/sh", "-c", f'echo $$ > {self.cgroups[part]}/cgroup.procs && exec "$0" "$@"')

    def serve(self, pod):
        for number in range(self.processes):
            self._start(pod, "load", "serve", "--listen", f"[::]:{PORT + number}")

    def load(self, pod, mode, to, *arguments):
        """The figures of one load, from within the pod."""
        seconds = float(arguments[arguments.index("--seconds") + 1]) if "--seconds" in arguments else 2.0
        return last_json(pod.run(*self._within("load"), BENCH, "load", mode, to, *arguments, deadline=seconds + 60))

    @contextlib.contextmanager
    def held(self, pod, to, connections, deadline=180.0):
        """So many open connections, held while this lasts: what the load said once they were open."""
        ip, port = to.rsplit(":", 1)
        with pod.inside():
            clients = [subprocess.Popen([*self._within("load"), BENCH, "load", "idle", f"{ip}:{int(port) + i}", "--connections", str(connections // self.processes + (i < connections % self.processes)),
                                         "--seconds", str(deadline)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                       for i in range(self.processes)]
        try:
            first = [last_json(client.stdout.readline()) for client in clients]
            yield {key: sum(one[key] for one in first) for key in ("ops", "failed", "per_second")}
        finally:
            for client in clients:
                client.stdin.close()
            last = [client.stdout.readline() for client in clients]
            for client in clients:
                client.wait(60)
        if any(last_json(one)["lost"] for one in last):
            raise AssertionError(f"idle connections: {last}")

    # -- what is compared

    def targets(self):
        p = self.pods
        return {
            "plain": Target(p.asker, f"{p.far.v4}:{PORT}"),
            "plain same node": Target(p.asker, f"{p.neighbour.v4}:{PORT}"),
            "relay": Target(p.asker, f"127.0.0.1:{RELAY_IN}"),
            "direct": Target(p.client, f"{p.near.v4}:{PORT}"),
            "tunnel same node": Target(p.client, f"{p.inside.v4}:{PORT}"),
            "hbone": Target(p.client, f"{p.server.v4}:{PORT}"),
            "passthrough": Target(p.client, f"{p.far.v4}:{PORT}"),
        }

    @property
    def meter(self):
        agents = [a.process.pid for a in self.world.agents.values() if a.running()]
        tunnels = [a.tunnel_cgroup for a in self.world.agents.values()]
        return Meter({"load": ([self.cgroups["load"]], []), "relay": ([self.cgroups["relay"]], []), "tunnels": (tunnels, []), "agents": ([], agents)})

    def wait_rows(self):
        """Every agent has captured its pods, and the kernel knows what policy says of every pair on node 1."""
        for agent in self.world.agents.values():
            agent.wait_captured(*(pod for pod in self.world.enrolled if pod.node is agent.node))
        local = sum(pod.node.name == "n1" for pod in self.world.enrolled)
        tables = self.world.agents["n1"].status
        eventually(lambda: tables()["tables"]["verdict_pairs"] >= local * (local - 1), lambda: tables()["tables"], START_S)

    def counters(self):
        return self.world.agents["n1"].counters()

    # -- states

    @contextlib.contextmanager
    def agents_gone(self):
        """As if nothing had ever been installed. The tunnels go too: a new agent is told of their listeners when they begin to listen."""
        for tunnel in self.world.tunnels.values():
            tunnel.terminate()
        for tunnel in self.world.tunnels.values():
            tunnel.wait_exit()
        for agent in self.world.agents.values():
            agent.stop()
            agent.uninstall()
        yield
        for agent in self.world.agents.values():
            agent.start().wait_answers()
        for tunnel in self.world.tunnels.values():
            tunnel.start().wait_ready()
        self._settled()

    def _settled(self):
        for agent in self.world.agents.values():
            agent.wait_ready()
        self.wait_rows()

    @contextlib.contextmanager
    def agents_with(self, **settings):
        """The agents started anew with other settings (flags, _ for -)."""
        before = self.settings.copy()
        self._restart({**before, **{key.replace("_", "-"): value for key, value in settings.items()}})
        yield
        self._restart(before)

    def _restart(self, settings):
        self.settings = settings
        for agent in self.world.agents.values():
            agent.stop()
            agent.settings = {"mesh-file": agent.settings["mesh-file"], **settings}
            agent.start().wait_answers()
        self._settled()

    @contextlib.contextmanager
    def congestion(self, name):
        """Another default for every connection opened meanwhile, in all namespaces."""
        self._default_congestion(name)
        yield
        self._default_congestion(os.environ.get("LAB_CC", "cubic"))

    def _default_congestion(self, name):
        for space in (*self.world.lab.nodes.values(), *self.world.lab.pods.values()):
            space.sysctl("net.ipv4.tcp_congestion_control", name)

    @contextlib.contextmanager
    def policies(self, count):
        """So many policies of ten rules on every server of the mesh; the last rule of the last one allows the client."""
        w, p = self.world, self.pods
        servers = [p.near, p.inside, p.server]
        for i in range(count):
            rules = [[[{"principals": [{"Exact": f"cluster.local/ns/other/sa/a{i}-{r}"}]}], [{"destinationPorts": [8000 + r]}]] for r in range(10)]
            if i == count - 1:
                rules[-1] = [[{"principals": [principal(p.client)]}]]
            w.mesh.policy(f"bench-{i}", "Allow", rules, pods=servers)
        self._published()
        yield
        for i in range(count):
            del w.mesh.policies[f"bench-{i}"]
        for pod in servers:
            w.mesh.workloads[pod.name]["authorizationPolicies"].clear()
        self._published()

    def _published(self):
        agent = self.world.agents["n1"]
        before = agent.status()["tables"]["updates"]
        self.world.change()
        eventually(lambda: agent.status()["tables"]["updates"] > before, lambda: agent.status()["tables"], START_S)
        self.wait_rows()

    @contextlib.contextmanager
    def beside(self, target, streams):
        """Bulk over so many streams while this lasts."""
        with target.client.inside():
            bulk = subprocess.Popen([*self._within("load"), BENCH, "load", "bulk", target.to, "--connections", str(streams), "--seconds", "3600"],
                                    stdout=subprocess.DEVNULL)
        own = lambda: target.client.run("ss", "-Htnp", "state", "established").count(f"pid={bulk.pid},")  # noqa: E731
        try:
            eventually(lambda: bulk.poll() is not None or own() >= streams, lambda: f"{streams} streams to {target.to}, {own()} open", START_S)
            if bulk.poll() is not None:
                raise RuntimeError(f"bulk to {target.to} ended with {bulk.returncode}")
            yield
        finally:
            bulk.kill()
            bulk.wait()

    # -- another data plane

    def other(self, command):
        """Starts command with the names of the lab's nodes and of the GUESTS in its environment; it writes "ready" when it carries them."""
        names = {**self.world.lab.nodes, **{name: self.world.lab.pods[name] for name, _, _ in GUESTS}}
        env = {"BENCH_FOLDER": str(self.world.folder)}
        for name, place in names.items():
            key = name.upper().replace("-", "_")
            env |= {f"BENCH_NETNS_{key}": place.netns, f"BENCH_IP_{key}": place.v4}
        log = self.world.folder / "other"
        with open(log, "ab") as out:
            process = subprocess.Popen(["/bin/sh", "-c", command], env={**os.environ, **env}, stdout=out, stderr=out, start_new_session=True)
        self.others.append(process)
        eventually(lambda: process.poll() is not None or "ready" in log.read_text(), lambda: f"{command} ready: {log.read_text()}", 120)
        if process.poll() is not None and "ready" not in log.read_text():
            raise RuntimeError(f"{command} ended: {log.read_text()}")
        guests = self.world.lab.pods
        return {name: Target(guests["guest"], f"{guests[far].v4}:{PORT}") for name, far in (("other", "guest-far"), ("other same node", "guest-near"))}

    def close(self):
        for process in self.others:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            process.wait(30)
        try:
            self.world.close()
        finally:
            for folder in self.cgroups.values():
                eventually(lambda f=folder: _removed(f), f"{folder} empty", START_S)


def _removed(folder):
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
