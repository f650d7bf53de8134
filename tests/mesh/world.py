# SPDX-License-Identifier: Apache-2.0
"""What a test of the mesh stands on: lab, authority, mesh file, and a node agent and a tunnel on each node; and the test case around it.

By packet rules and a stand-in for the node agent, which is how a stock one works; with WARREN_MESH_AGENT=1 by warren-agent and its kernel
programs, the same tests (same-node paths off, so that the tunnel is what is tested)."""
import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import types
import unittest

import apps
from agent import Agent
from ca import Authority
from lab import Lab
from mesh import Mesh
from rules import redirect
from tunnel import Tunnel
from waiting import eventually
from xds import XdsMesh, XdsServer
from zds import ZdsServer

# client and near share node 1; server and other are on node 2; plain, on node 1, is in no mesh.
PODS = (("client", 1, "client"), ("near", 1, "server"), ("server", 2, "server"), ("other", 2, "other"), ("plain", 1, None))


BY_AGENT = os.environ.get("WARREN_MESH_AGENT") == "1"


class World:
    def __init__(self, pods=PODS, authority="ec", env=None, dns=False, by_agent=BY_AGENT, agent=None, control_plane=False):
        """by_agent: warren-agent on each node; agent: its settings. control_plane: the mesh comes over xDS, not from a file, and an agent of
        the test's own drives the tunnels."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wrt-"))
        self.closers, self.applications = contextlib.ExitStack(), contextlib.ExitStack()
        self.env, self.overrides = env or {}, {}  # settings of all tunnels; of one node's
        self.launchers = {}  # a command before a node's tunnel
        self.lab = Lab(pods)
        self.closers.callback(self.lab.close)
        self.ca = Authority(self.folder / "ca", authority)
        self.xds = None
        if control_plane:
            self.xds = XdsServer(self.folder)
            self.closers.callback(self.xds.close)
        self.mesh = XdsMesh(self.xds) if control_plane else Mesh(self.folder / "mesh.yaml")
        self.wait_ready = True
        self.pods = types.SimpleNamespace(**self.lab.pods)
        self.enrolled = [pod for pod in self.lab.pods.values() if not pod.plain]
        self.tunnels = {}
        self.agents = {}
        self.by_agent = by_agent and not control_plane
        self.agent_settings = agent or {"same-node-mode": "off", "dns-capture": "true" if dns else "false"}
        for pod in self.enrolled:
            self.mesh.pod(pod)
            if not self.by_agent:
                redirect(pod, dns)

    def start(self):
        """Writes the mesh as it stands and starts everything."""
        self.mesh.write()
        for name, node in self.lab.nodes.items():
            pods = [pod for pod in self.enrolled if pod.node is node]
            self.agents[name] = self.start_agent(node, pods)
            self.tunnels[name] = Tunnel(node, self.folder / name, self.tunnel_env(name), self.launcher(name)).start()
        if self.wait_ready:
            for tunnel in self.tunnels.values():
                tunnel.wait_ready()
        if self.by_agent:
            for agent in self.agents.values():
                agent.wait_ready()
        return self

    def start_agent(self, node, pods):
        if not self.by_agent:
            return ZdsServer(str(self.folder / f"{node.name}.zds"), pods)
        agent = Agent(node, self.lab.prefix, self.folder / f"agent-{node.name}", self.mesh.path, self.agent_settings)
        agent.enrol(*pods)
        return agent.start().wait_answers()

    def launcher(self, node):
        """The command before a node's tunnel; the agent knows tunnels by the cgroup they run in."""
        return (*self.launchers.get(node, ()), *(self.agents[node].tunnel_launcher() if self.by_agent else ()))

    def tunnel_env(self, node):
        source = self.agents[node].tunnel_env() if self.by_agent else {"INPOD_UDS": str(self.folder / f"{node}.zds")}
        mesh = {"LOCAL_XDS_PATH": self.mesh.path}
        if self.xds:
            mesh = {"XDS_ADDRESS": "unix:" + self.xds.socket}
        elif self.by_agent:
            mesh = {}  # the agent's, which has the file
        return {"NODE_NAME": node, **mesh, "WARREN_LOCAL_CA": str(self.ca.folder), **source, **self.env, **self.overrides.get(node, {})}

    @property
    def n1(self):
        return self.tunnels["n1"]

    @property
    def n2(self):
        return self.tunnels["n2"]

    def mesh_reader(self, node):
        """Who reads the mesh file there, and complains of it."""
        return self.agents[node] if self.by_agent else self.tunnels[node]

    def change(self):
        """Writes the mesh as it stands now; back when every tunnel has it."""
        marker = self.mesh.write()
        for tunnel in self.tunnels.values():
            eventually(lambda t=tunnel: any(w["name"] == marker for w in t.config_dump()["workloads"]),
                       lambda t=tunnel: f"{marker} in the dump\n{t.log_tail()}")

    def server(self, pod, port, handler=None):
        server = apps.Server(pod, port, handler)
        self.applications.callback(server.close)
        return server

    def keep(self, closeable):
        """Closed with the world, before the tunnels are told to end."""
        self.applications.callback(closeable.close)
        return closeable

    def connect(self, pod, ip, port, deadline=apps.IO_S):
        return self.keep(apps.connect(pod, ip, port, deadline))

    def close(self):
        """Every tunnel still running must end with exit code 0."""
        problems = []
        self.applications.close()
        running = [t for t in self.tunnels.values() if t.running()]
        for tunnel in running:
            tunnel.terminate()
        for tunnel in self.tunnels.values():
            try:
                if tunnel in running:
                    tunnel.wait_exit()
                elif tunnel.process.returncode not in (0, -9):
                    problems.append(f"ended with {tunnel.process.returncode}\n{tunnel.log_tail()}")
            except AssertionError as error:
                problems.append(str(error))
        for agent in self.agents.values():
            agent.close()
        self.closers.close()
        if not os.environ.get("WARREN_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
        if problems:
            raise AssertionError("\n".join(problems))

    def print_logs(self):
        for name, tunnel in self.tunnels.items():
            print(f"-- {name}, {tunnel.log_path}\n{tunnel.log_tail()}", file=sys.stderr)


class MeshCase(unittest.TestCase):
    """Each test gets a world of its own; prepare() may change it before it starts. settings: World's arguments."""

    settings = {}
    maxDiff = None

    def setUp(self):
        self.world = World(**self.settings)
        self.addCleanup(self.world.close)
        self.addCleanup(self._logs_on_failure)
        self.prepare()
        self.world.start()

    def prepare(self):
        pass

    def _logs_on_failure(self):
        result = self._outcome.result
        # A failed sub-test stands there as an object of its own.
        if any(getattr(test, "test_case", test) is self for test, _ in result.failures + result.errors):
            self.world.print_logs()
