# SPDX-License-Identifier: Apache-2.0
"""One warren-agent as a process in its node's namespace, in a world of its own: instance, pins, sockets, cgroups. Beside it the cgroup in
which the node's tunnel runs, because the agent exempts tunnels by their cgroup."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

from daemon import EXIT_S, READY_S, Daemon
from waiting import PATIENCE_S, eventually

BINARY = os.environ.get("WARREN_AGENT") or str(pathlib.Path(__file__).resolve().parents[2] / "build/dev/bin/warren-agent")
ADMIN, METRICS, READINESS = 15030, 15031, 15032


def cgroup2_root():
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            if " - cgroup2 " in line:
                return pathlib.Path(line.split()[4])
    raise RuntimeError("no cgroup2 is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup/unified")


class Agent(Daemon):
    NAME, METRICS = "warren-agent", METRICS

    def __init__(self, node, prefix, folder, mesh_path, settings=None):
        """prefix: names this lab's instances apart from others'. settings: flags without their dashes, over the lab's own."""
        super().__init__(node, folder)
        self.node = node
        self.instance = f"{prefix}{node.name}".replace("_", "-")
        self.run_dir = self.folder / "run"
        self.pods_path = self.folder / "pods.yaml"
        self.tunnel_cgroup = cgroup2_root() / f"{self.instance}-tunnel"
        self.tunnel_cgroup.mkdir(exist_ok=True)
        self.pods = {}
        self.settings = {"mesh-file": str(mesh_path), **(settings or {})}

    # -- what it is told

    def enrol(self, *pods, **more):
        for pod in pods:
            self.pods[pod.name] = {"name": pod.name, "namespace": pod.namespace, "serviceAccount": pod.account, "uid": pod.uid,
                                   "netns": f"/run/netns/{pod.netns}", "addresses": [pod.v4, pod.v6], **more}
        self.write_pods()

    def dismiss(self, *pods):
        for pod in pods:
            del self.pods[pod.name]
        self.write_pods()

    def write_pods(self):
        fresh = self.pods_path.with_suffix(".new")
        fresh.write_text(json.dumps({"pods": list(self.pods.values())}, indent=1), encoding="utf-8")
        fresh.rename(self.pods_path)

    # -- its life

    def flags(self):
        own = {"instance": self.instance, "node-name": self.node.name, "run-dir": self.run_dir, "pods-file": self.pods_path,
               "node-netns": f"/run/netns/{self.node.netns}", "log-format": "json"}
        return [part for key, value in {**own, **self.settings}.items() for part in (f"--{key}", str(value))]

    def start(self):
        if not os.access(BINARY, os.X_OK):
            raise AssertionError(f"{BINARY} is missing; build target warren-agent or name it by WARREN_AGENT")
        env = {"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"}
        self.process = self.node.start(BINARY, *self.flags(), env=env, log=self.log_path)
        return self

    def stop(self):
        """Ends it by SIGTERM; it must end with exit code 0, and leaves the kernel as it is."""
        if not self.running():
            return
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(EXIT_S)
        if code != 0:
            raise AssertionError(f"warren-agent ended with {code}\n{self.log_tail()}")

    def away(self):
        """Ended, and the kernel goes on with what it has."""
        self.stop()

    def back(self):
        self.start().wait_answers()

    def delete(self, pod):
        """The pod leaves the mesh; "" when the tunnel has let go of it, as the stand-in's answer."""
        self.dismiss(pod)
        eventually(lambda: all(p["name"] != pod.name for p in self.status()["pods"]), lambda: f"{pod.name} gone: {self.status()['pods']}")
        eventually(lambda: all(t["waiting"] == 0 for t in self.status()["tunnel"]["connected"]), "the tunnel's answer")
        return ""

    def uninstall(self):
        done = subprocess.run([BINARY, "uninstall", *self.flags()], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"warren-agent uninstall: {done.stderr}")

    def close(self):
        try:
            self.stop()
        finally:
            self.uninstall()
            eventually(self._cgroup_gone, lambda: f"{self.tunnel_cgroup} empty", EXIT_S)
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _cgroup_gone(self):
        try:
            self.tunnel_cgroup.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True

    # -- for the tunnel

    def tunnel_env(self):
        return {"INPOD_UDS": str(self.run_dir / "zds.sock"), "WARREN_FLOW_SOCKET": str(self.run_dir / "feed.sock"),
                "XDS_ADDRESS": f"unix:{self.run_dir / 'xds.sock'}"}

    def tunnel_launcher(self):
        return ("/bin/sh", "-c", f'echo $$ > {self.tunnel_cgroup}/cgroup.procs && exec "$0" "$@"')

    # -- its ports

    def http(self, path, port=ADMIN, method="GET"):
        return super().http(path, port, method)

    def status(self):
        return json.loads(self.http("/status")[1])

    def counters(self):
        return self.status()["kernel"]["counters"]

    def flows(self, **match):
        """Flow records with these values; a dot in a key goes into an object: destination__name is destination.name."""
        def value(flow, key):
            for part in key.split("__"):
                flow = flow.get(part, {}) if isinstance(flow, dict) else {}
            return flow
        found = json.loads(self.http("/flows?limit=10000")[1])
        return [flow for flow in found if all(value(flow, key) == wanted for key, wanted in match.items())]

    def wait_flows(self, count=1, deadline=PATIENCE_S, **match):
        def enough():
            found = self.flows(**match)
            return found if len(found) >= count else None
        return eventually(enough, lambda: f"{count} flow(s) {match} in\n{self.http('/flows')[1]}\n{self.log_tail()}", deadline)

    def answers(self):
        return self.found("/status", ADMIN)

    def ready(self):
        return self.found("/healthz/ready", READINESS)

    def wait_answers(self):
        eventually(self.answers, lambda: "the agent's status\n" + self.log_tail(), READY_S)
        return self

    def wait_ready(self):
        eventually(self.ready, lambda: f"readiness: {self.http('/healthz/ready', READINESS)[1]}\n{self.log_tail()}", READY_S)
        return self

    def wait_captured(self, *pods):
        def captured():
            states = {pod["name"]: pod["state"] for pod in self.status()["pods"]}
            return all(states.get(pod.name) == "captured" for pod in pods)
        eventually(captured, lambda: f"{[p.name for p in pods]} captured: {self.status()['pods']}\n{self.log_tail()}", READY_S)
        return self
