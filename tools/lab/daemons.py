# SPDX-License-Identifier: Apache-2.0
"""The real daemons of a lab: one controller, and on each node an agent and a tunnel, each in a cgroup of its own. An object knows how its
daemon is started, asked and ended, whichever process started it."""
import http.client
import json
import os
import signal

import kernel
import network
import shop
from kernel import LabError, eventually

XDS, READY_S = 15012, 60.0
HOST = "istiod.istio-system.svc"  # a name in the controller's certificate


class Daemon:
    """program: file name in the folder of programs. where: the namespace, by its name in the lab."""

    def __init__(self, lab, name, program, where):
        self.lab, self.name, self.where = lab, name, where
        self.binary = lab.binaries / program
        self.cgroup = lab.cgroup / name
        self.log = lab.folder / f"{name}.log"
        self.environment = {}  # beside its own

    def launch(self, *arguments, env=None):
        everything = {"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0", **(env or {}), **self.environment}
        process = kernel.start([self.binary, *arguments], self.cgroup, self.lab.netns(self.where), self.log, env=everything)
        self.lab.children.append(process)
        return self

    def pids(self):
        try:
            return [int(pid) for pid in (self.cgroup / "cgroup.procs").read_text().split()]
        except FileNotFoundError:
            return []

    def running(self):
        return kernel.populated(self.cgroup)

    def get(self, port, path, method="GET"):
        """Text, or None when nobody answers or not with 200."""
        try:
            status, text = kernel.http_get(self.lab.netns(self.where), port, path, method)
        except (OSError, http.client.HTTPException):
            return None
        return text if status == 200 else None

    def wait(self, condition, what):
        def ready():
            self.lab.reap()
            if not self.running():
                raise LabError(f"{self.name} ended; the end of {self.log}:\n{self.tail()}")
            return condition()
        return eventually(ready, lambda: f"{what}; the end of {self.log}:\n{self.tail()}", READY_S)

    def kill(self):
        """Without a goodbye."""
        self._signal(signal.SIGKILL)

    def stop(self):
        self._signal(signal.SIGTERM)

    def _signal(self, number):
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        def ended():
            self.lab.reap()
            return not self.running()
        eventually(ended, lambda: f"{self.name} ends; the end of {self.log}:\n{self.tail()}", READY_S)

    def tail(self, count=12):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:]) if self.log.exists() else ""


class Controller(Daemon):
    def __init__(self, lab):
        super().__init__(lab, "controller", "warren-controller", "n1")
        self.state, self.mesh = lab.folder / "controller", lab.folder / "mesh"
        self.roots = self.state / "public" / "root-cert.pem"
        self.address = f"https://10.77.0.1:{XDS}"

    def start(self):
        # In a lab every node may have every certificate, so nobody has to join.
        return self.launch(f"--state={self.state}", f"--source-folder={self.mesh}", "--insecure-demo", "--log-format=json")

    def wait_ready(self):
        self.wait(lambda: self.roots.exists() and self.get(8080, "/ready") is not None, "the controller is ready")
        return self

    def put(self, name, text):
        """A file of the mesh, in one step."""
        beside = self.mesh / f".{name}"
        beside.write_text(text, encoding="utf-8")
        beside.rename(self.mesh / name)

    def remove(self, name):
        (self.mesh / name).unlink(missing_ok=True)


class Agent(Daemon):
    ADMIN, METRICS, READINESS = 15030, 15031, 15032

    def __init__(self, lab, node):
        super().__init__(lab, f"agent-{node}", "warren-agent", node)
        self.node = node
        self.run_dir = lab.folder / node
        self.instance = lab.netns(node)
        self.pods = self.run_dir / "pods.yaml"
        self.revocations = self.run_dir / "crl.pem"

    def flags(self):
        controller = self.lab.controller
        own = {"instance": self.instance, "node-name": self.node, "run-dir": self.run_dir, "pods-file": self.pods, "log-format": "json",
               "node-netns": f"/run/netns/{self.lab.netns(self.node)}", "xds-address": controller.address, "xds-roots": controller.roots,
               "xds-alternative-host": HOST, "xds-revocations": self.revocations, "flows-sample-period": "1s", "same-node-overrides": shop.ENCRYPTED}
        return [f"--{key}={value}" for key, value in own.items()]

    def start(self):
        self.run_dir.mkdir(exist_ok=True)
        pods = [pod.enrolment(self.lab.netns(pod.name)) for pod in shop.PODS.values() if pod.mesh and pod.node == self.node]
        self.pods.write_text(json.dumps({"pods": pods}), encoding="utf-8")
        return self.launch(*self.flags())

    def wait_answers(self):
        self.wait(lambda: self.get(self.ADMIN, "/status") is not None, f"the agent of {self.node} answers")
        return self

    def wait_ready(self):
        self.wait(lambda: self.get(self.READINESS, "/healthz/ready") is not None, f"the agent of {self.node} is ready")
        return self

    def wait_pairs(self):
        """The kernel has a verdict for each ordered pair of the node's pods that may be direct."""
        direct = sum(pod.mesh and pod.node == self.node and f"{pod.namespace}/{pod.name}=encrypted" != shop.ENCRYPTED for pod in shop.PODS.values())
        self.wait(lambda: self.status()["tables"]["verdict_pairs"] >= direct * (direct - 1), f"verdicts of {self.node}")
        return self

    def status(self):
        text = self.get(self.ADMIN, "/status")
        if text is None:
            raise LabError(f"the agent of {self.node} does not answer; the end of {self.log}:\n{self.tail()}")
        return json.loads(text)

    def flows(self, limit=10000):
        text = self.get(self.ADMIN, f"/flows?limit={limit}")
        return json.loads(text) if text else []

    def uninstall(self):
        kernel.run([self.binary, "uninstall", *self.flags()])


class Tunnel(Daemon):
    ADMIN, METRICS, READINESS = 15000, 15020, 15021

    def __init__(self, lab, node, successor=False):
        """successor: the home beside the node's own, where a new one starts while the old one serves."""
        home = network.spare(node) if successor else node
        super().__init__(lab, f"tunnel-{home}", "warren-ztunnel", home)
        self.node = node

    def start(self):
        lab, controller, run_dir = self.lab, self.lab.controller, self.lab.agents[self.node].run_dir
        return self.launch(env={
            "NODE_NAME": self.node, "POD_NAME": f"ztunnel-{self.node}", "POD_NAMESPACE": "istio-system", "INSTANCE_IP": f"10.77.0.{self.node[1:]}",
            "XDS_ADDRESS": f"unix:{run_dir / 'xds.sock'}", "XDS_ON_DEMAND": "true", "WARREN_XDS_SERVICES": "true", "INPOD_UDS": str(run_dir / "zds.sock"), "WARREN_FLOW_SOCKET": str(run_dir / "feed.sock"),
            "CA_ADDRESS": controller.address, "CA_ROOT_CA": str(controller.roots), "ALT_CA_HOSTNAME": HOST, "AUTH_TOKEN": "", "CRL_PATH": str(lab.agents[self.node].revocations),
            "LOG_FORMAT": "json", "PROXY_MODE": "shared", "CONNECTION_TERMINATION_DEADLINE": f"{lab.drain_s}s"})

    def wait_ready(self):
        self.wait(lambda: self.get(self.READINESS, "/healthz/ready") is not None, f"the tunnel of {self.node} is ready")
        return self

    def metric(self, name):
        """The sum of all samples of that name."""
        return sum(float(line.rpartition(" ")[2]) for line in (self.get(self.METRICS, "/metrics") or "").splitlines()
                   if line.startswith((name + "{", name + " ")))
