# SPDX-License-Identifier: Apache-2.0
"""The tunnels of two nodes under warren-controller, which reads one folder: mesh and certificates come from it, over TLS.

As a demo (anybody may have a certificate): tunnels show a token and no client certificate. Who may have which is tests/controller."""
import json
import os
import pathlib
import time

import apps
from waiting import eventually
from world import MeshCase, World

BINARY = os.environ.get("WARREN_CONTROLLER") or str(pathlib.Path(__file__).resolve().parents[2] / "build/dev/bin/warren-controller")
XDS = 15012


class Folder:
    """The mesh as files of the controller: World writes pods and policies to it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.pods, self.path = {}, str(self.folder)

    def pod(self, pod, **_):
        self.pods[pod.name] = {"name": pod.name, "namespace": pod.namespace, "serviceAccount": pod.account, "node": pod.node.name,
                               "addresses": [pod.v4, pod.v6], "labels": {"app": pod.name}}

    def put(self, name, text):
        beside = self.folder / f".{name}"
        beside.write_text(text)
        beside.rename(self.folder / name)

    def write(self):
        self.put("pods.yaml", json.dumps({"workloads": list(self.pods.values())}))


class ControllerWorld(World):
    """The controller runs in the first node's namespace."""

    def __init__(self):
        super().__init__(by_agent=False)
        self.mesh = Folder(self.folder / "mesh")
        for pod in self.enrolled:
            self.mesh.pod(pod)
        self.state = self.folder / "controller"

    def start(self):
        self.mesh.write()
        self.home = self.lab.nodes["n1"]
        self.controller = self.home.start(BINARY, f"--state={self.state}", f"--source-folder={self.mesh.path}", "--insecure-demo",
                                          "--log-format=json", "--dumpable=true", log=self.folder / "controller.log",
                                          env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"})
        eventually(lambda: (self.state / "public/root-cert.pem").exists(), self.log, 10)
        return super().start()

    def log(self):
        return (self.folder / "controller.log").read_text()

    def tunnel_env(self, node):
        root = str(self.state / "public/root-cert.pem")
        where = f"https://{self.home.v4}:{XDS}"
        return {"NODE_NAME": node, "POD_NAME": f"ztunnel-{node}", "POD_NAMESPACE": "istio-system", "INSTANCE_IP": self.lab.nodes[node].v4,
                "XDS_ADDRESS": where, "CA_ADDRESS": where, "XDS_ROOT_CA": root, "CA_ROOT_CA": root,
                "ALT_XDS_HOSTNAME": "istiod.istio-system.svc", "ALT_CA_HOSTNAME": "istiod.istio-system.svc", "AUTH_TOKEN": "",
                "INPOD_UDS": str(self.folder / f"{node}.zds")}


class UnderController(MeshCase):
    def setUp(self):
        self.world = ControllerWorld()
        self.addCleanup(self.world.close)
        self.addCleanup(self._logs_on_failure)
        self.server = self.world.pods.server
        self.world.server(self.server, 7000)
        self.world.start()

    def call(self, pod):
        return apps.call(pod, self.server.v4, 7000)

    def test_pods_talk_and_an_edit_of_the_folder_denies_within_a_second(self):
        w = self.world
        self.assertEqual(self.call(w.pods.client), "answered")
        line = w.n2.wait_access(direction="inbound")[0]
        self.assertEqual(line["src.identity"], w.pods.client.identity)
        deny = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "no-client", "namespace": "default"},
                "spec": {"action": "DENY", "selector": {"matchLabels": {"app": "server"}},
                         "rules": [{"from": [{"source": {"principals": [w.pods.client.identity.removeprefix("spiffe://")]}}]}]}}
        begin = time.monotonic()
        w.mesh.put("deny.yaml", json.dumps(deny))
        eventually(lambda: self.call(w.pods.client) != "answered", "the denial", 5)
        self.assertLess(time.monotonic() - begin, 1)
        self.assertEqual(self.call(w.pods.near), "answered")
        # The control plane dies: what is denied stays denied, what talks goes on.
        w.controller.kill()
        w.controller.wait()
        self.assertNotEqual(self.call(w.pods.client), "answered")
        self.assertEqual(self.call(w.pods.near), "answered")
