#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""warren-controller with source kubernetes on a real API server (tests/kube): a stock node of it, and what replicas write. Exit 77 where
the cluster's programs or gRPC for Python are missing.

    WARREN_CONTROLLER=build/dev/bin/warren-controller WARREN_KUBE_API=build/dev/tests/kube_api_test \
        build/venv/bin/python tests/controller/kube_test.py
"""
import contextlib
import http.client
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import unittest

from controller import AUTHORIZATION, PATIENCE, ROOT, Certificates, Controller, Node, eventually, grpc, make_request, names_of

API = os.environ.get("WARREN_KUBE_API") or str(ROOT / "build/dev/tests/kube_api_test")
SLOW = 90  # a server starts, or a lease of 30 s runs out, on a loaded machine
AMBIENT = {"istio.io/dataplane-mode": "ambient"}


class Api:
    """The server of tests/kube, and requests to it as administrator."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.process = subprocess.Popen([API, "[.serve]"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "WARREN_KUBE_FOLDER": str(folder)})
        for line in self.process.stdout:
            if line.startswith("ready "):
                self.port = int(line.split()[1])
                break
        else:
            code = self.process.wait(PATIENCE)
            if code == 77:
                sys.exit(77)
            raise AssertionError(f"the API server's process ended with {code}")
        self.tls = ssl.create_default_context(cafile=self.folder / "ca.crt")
        self.tls.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")

    def call(self, method, path, body=None, kind="application/json"):
        with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=PATIENCE)) as connection:
            connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read().decode()
        return answer.status, json.loads(text)

    def do(self, method, path, body=None, kind="application/json"):
        status, answer = self.call(method, path, body, kind)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status} {answer}")
        return answer

    def namespace(self, name, labels=None):
        self.do("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels or {}}})

    def account(self, namespace, name):
        self.do("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})

    def pod(self, namespace, name, account, node, address):
        path = f"/api/v1/namespaces/{namespace}/pods"
        made = self.do("POST", path, {
            "metadata": {"name": name, "annotations": {"ambient.istio.io/redirection": "enabled"}},
            "spec": {"serviceAccountName": account, "nodeName": node, "containers": [{"name": "c", "image": "none"}]}})
        self.phase(namespace, name, "Running", address)
        return made["metadata"]["uid"]

    def phase(self, namespace, name, phase, address):
        self.do("PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}/status", {"status": {
            "phase": phase, "podIP": address, "podIPs": [{"ip": address}], "conditions": [{"type": "Ready", "status": "True"}]}},
            "application/merge-patch+json")

    def token(self, namespace, account, pod, uid):
        return self.do("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": ["istio-ca"], "expirationSeconds": 3600,
                     "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid}}})["status"]["token"]

    def root(self, namespace):
        status, answer = self.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/istio-ca-root-cert")
        return answer["data"]["root-cert.pem"] if status == 200 else None

    def revocations(self, namespace):
        status, answer = self.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/istio-ca-crl")
        return answer["data"]["ca-crl.pem"] if status == 200 else None

    def policy(self, namespace, name, path="/apis/security.istio.io/v1/namespaces/{}/authorizationpolicies"):
        self.do("POST", path.format(namespace), {
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": name},
            "spec": {"rules": [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/db"]}}]}]}})

    def conditions(self, namespace, name):
        answer = self.do("GET", f"/apis/security.istio.io/v1/namespaces/{namespace}/authorizationpolicies/{name}")
        return {c["type"]: c["status"] for c in answer.get("status", {}).get("conditions", [])}

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


class Kubernetes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="warren-controller-kube-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.api = Api(cls.folder.name)
        cls.addClassCleanup(cls.api.close)
        cls.api.namespace("istio-system")
        cls.api.namespace("shop", AMBIENT)
        cls.api.account("istio-system", "ztunnel")
        cls.ztunnel = cls.api.pod("istio-system", "ztunnel-n1", "ztunnel", "n1", "10.9.0.1")
        cls.api.pod("shop", "web-1", "web", "n1", "10.0.0.1")
        cls.api.pod("shop", "db-1", "db", "n2", "10.0.0.2")
        cls.api.policy("shop", "only-db")

    def controller(self, name):
        folder = pathlib.Path(self.folder.name) / name
        folder.mkdir()
        controller = Controller(folder, source_kind="kubernetes", source_kubeconfig=pathlib.Path(self.folder.name) / "kubeconfig",
                                ca_trusted_accounts="istio-system/ztunnel")
        self.addCleanup(controller.stop)
        return controller.start()

    def leads(self, controller):
        return controller.status()["leader"]["leading"]

    def test_a_stock_node_of_the_cluster_and_what_the_leader_writes(self):
        c, api = self.controller("one"), self.api
        token = api.token("istio-system", "ztunnel", "ztunnel-n1", self.ztunnel)
        node = Node(c, "n1", token=token)
        self.addCleanup(node.close)
        node.synced()
        node.wait(lambda n: {"Kubernetes//Pod/shop/web-1", "Kubernetes//Pod/shop/db-1"} <= n.addresses(), "the pods")
        self.assertIn("shop/only-db", node.held[AUTHORIZATION])
        web = node.workload("shop/web-1")
        self.assertEqual((web.service_account, web.node, web.addresses[0], web.tunnel_protocol), ("web", "n1", bytes([10, 0, 0, 1]), 1))
        api.pod("shop", "web-2", "web", "n1", "10.0.0.3")
        node.wait(lambda n: "Kubernetes//Pod/shop/web-2" in n.addresses(), "a new pod")
        api.do("DELETE", "/api/v1/namespaces/shop/pods/web-2?gracePeriodSeconds=0")
        node.wait(lambda n: "Kubernetes//Pod/shop/web-2" not in n.addresses(), "its end")

        certificates = Certificates(c, token=token)
        self.addCleanup(certificates.close)
        _, csr = make_request(self.folder.name, "web")
        chain = certificates.ask(csr, "spiffe://cluster.local/ns/shop/sa/web")
        self.assertEqual(names_of(chain[0]), ["URI:spiffe://cluster.local/ns/shop/sa/web"])
        with self.assertRaises(grpc.RpcError) as raised:
            certificates.ask(csr, "spiffe://cluster.local/ns/shop/sa/db")
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAUTHENTICATED)

        eventually(lambda: self.leads(c), "the lease", SLOW)
        eventually(lambda: api.root("shop") == c.root().decode(), "the root in a namespace", SLOW)
        # Nothing is revoked: no such object. Then what an operator writes is in every namespace, for the tunnels of all nodes.
        self.assertIsNone(api.revocations("shop"))
        (c.state / "authority/revoked").write_text("serial 0A1B\n")
        eventually(lambda: (api.revocations("shop") or "").count("BEGIN X509 CRL") == 1, "the revocation list in a namespace", SLOW)
        eventually(lambda: api.revocations("shop") == (c.state / "public/ca-crl.pem").read_text(), "the same list in the public folder", SLOW)
        api.namespace("later")
        eventually(lambda: api.root("later") == c.root().decode(), "the root in a new namespace", SLOW)
        eventually(lambda: api.conditions("shop", "only-db").get("ZtunnelAccepted") == "True", "the policy's condition", SLOW)

    def test_one_of_two_replicas_leads_and_the_other_takes_over(self):
        first, second = self.controller("first"), self.controller("second")
        replicas = [first, second]
        eventually(lambda: any(map(self.leads, replicas)), "a leader", SLOW)
        follower = eventually(lambda: [r for r in replicas if r.status()["leader"]["holder"] and not self.leads(r)],
                              "one that knows it does not lead")[0]
        leader = first if follower is second else second
        self.assertTrue(self.leads(leader))
        leader.stop()
        eventually(lambda: self.leads(follower), "the other to lead", SLOW)
        self.api.namespace("after")
        eventually(lambda: self.api.root("after") == follower.root().decode(), "the new leader to write", SLOW)


if __name__ == "__main__":
    unittest.main(verbosity=2)
