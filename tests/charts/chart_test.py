#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""charts/warren: lint, goldens of a few value sets (rewritten with UPDATE_GOLDEN=1), errors of wrong values, and every object of every set
accepted by a real API server, in a dry run on the server with all its admission."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(sys.argv[1])
chart = root / "charts" / "warren"
here = root / "tests" / "charts"
cache = pathlib.Path(os.environ.get("KL_CACHE") or
                     pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "warren-cluster")
programs = cache / "bin"
for need in ("helm", "kubectl", "etcd", "kube-apiserver"):
    if not os.access(programs / need, os.X_OK):
        print(f"skipped: no {programs / need}; tests/cluster/prepare.sh builds the cluster's programs")
        sys.exit(77)

SETS = {
    "default": {"values": {"controller": {"ca": {"existingSecret": "cacerts"}}}},
    "istiod": {"values": {"controlPlane": "istiod", "compat": {"istioNames": True}, "crds": {"enabled": False}}, "namespace": "istio-system"},
    "everything": {"values": {
        "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": ["registry"]},
        "mesh": {"network": "north", "rootNamespace": "mesh-policies"},
        "compat": {"istioNames": True},
        "agent": {"sameNode": "encrypted", "ranges": ["10.244.0.0/16", "fd00::/8"], "settings": {"flows": {"all_pods": True}},
                  "seLinuxOptions": {"type": "spc_t"}, "podLabels": {"team": "net"}, "podAnnotations": {"a": "b"}},
        "ztunnel": {"workers": "50%", "env": {"WARREN_TLS_RECORDS": "openssl"}, "resources": {"limits": {"cpu": "2"}}},
        "controller": {"ca": {"existingSecret": "cacerts"}, "trustedAccounts": ["kube-system/ztunnel"], "nodeSelector": {"a": "b"}},
        "networkPolicy": {"enabled": True}, "resourceQuota": {"enabled": True},
        "monitoring": {"serviceMonitor": {"enabled": True, "labels": {"release": "p"}}, "prometheusRule": {"enabled": True},
                       "dashboards": {"enabled": True}}}},
    "least": {"values": {"agent": {"cni": {"enabled": False}}, "controller": {"ca": {"existingSecret": "cacerts"},
                                                                           "podDisruptionBudget": {"enabled": False}},
                         "crds": {"keep": False}, "rbac": {"restrictAgentToNode": False}, "uninstall": {"hook": False},
                         "monitoring": {"annotations": False}}},
}

# What is wrong, and what the answer must name.
WRONG = [
    ({"controlPlane": "istio"}, ["/controlPlane", "'warren', 'istiod'"]),
    ({"agent": {"sameNod": "direct"}}, ["/agent", "sameNod"]),
    ({"agent": {"ranges": ["10.0.0.0"]}}, ["/agent/ranges/0", "10.0.0.0"]),
    ({"agent": {"runDir": "run"}}, ["/agent/runDir"]),
    ({"istiod": {"address": "https://istiod:15012"}}, ["/istiod/address"]),
    ({"image": {"digest": "latest"}}, ["/image/digest"]),
    ({"controller": {"replicas": 0}}, ["/controller/replicas"]),
    ({"controller": {"trustedAccounts": ["ztunnel"]}}, ["/controller/trustedAccounts/0"]),
    ({"monitoring": {"dashboards": True}}, ["/monitoring/dashboards"]),
    ({"nonsense": 1}, ["nonsense"]),
]

# What has a definition in the cluster only where its operator is installed.
FOREIGN = {"PodMonitor": "podmonitors", "ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"}


def helm(*args, values=None, check=True):
    command = [programs / "helm", *args]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        if values is not None:
            json.dump(values, file)
            file.flush()
            command += ["-f", file.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if check and done.returncode != 0:
        sys.exit(f"helm {' '.join(args)}: {done.stderr or done.stdout}")
    return done


def render(name):
    of = SETS[name]
    return helm("template", "warren", str(chart), "--namespace", of.get("namespace", "warren-system"), "--kube-version", "1.36.1",
                values=of["values"]).stdout


def lint():
    for name, of in SETS.items():
        helm("lint", "--strict", str(chart), values=of["values"])


def goldens():
    bad = []
    for name in SETS:
        text = render(name)
        golden = here / "golden" / f"{name}.yaml"
        if os.environ.get("UPDATE_GOLDEN") == "1":
            golden.write_text(text)
        elif not golden.exists() or golden.read_text() != text:
            bad.append(str(golden.relative_to(root)))
    if bad:
        sys.exit(f"rendered otherwise than {', '.join(bad)}; look at it, then UPDATE_GOLDEN=1")


def promises():
    """What the documents say of every set, whatever the goldens have."""
    for name in SETS:
        text = render(name)
        assert "privileged: true" not in text, name
        assert len(re.findall("drop: \\[ALL\\]", text)) == len(re.findall("readOnlyRootFilesystem: true", text)), name
        for part in text.split("\n---\n"):
            if "kind: DaemonSet" in part and "hostNetwork: true" in part:
                assert "containerPort" not in part, "a port of the node's network would keep a second agent from being scheduled"
    assert "kind: Secret" not in render("default")
    made = helm("template", "warren", str(chart)).stdout
    assert "ca-key.pem" in made and "resource-policy: keep" in made


def refusals():
    for values, names in WRONG:
        done = helm("template", "warren", str(chart), values=values, check=False)
        assert done.returncode != 0, f"{values} was taken"
        for name in names:
            assert name in done.stderr, f"{values}: {done.stderr} does not name {name}"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class ApiServer:
    """kube-apiserver with its etcd, in a folder of its own."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="warren-charts-")
        self.processes = []
        etcd, peer, self.port = free_port(), free_port(), free_port()
        keys = """set -e; cd "$0"; exec > openssl.log 2>&1
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -subj /CN=ca -days 2 -out ca.crt -addext keyUsage=critical,keyCertSign
for n in server:/CN=kube-apiserver:IP:127.0.0.1 admin:/O=system:masters/CN=admin:DNS:admin; do
  f=${n%%:/*}; r=${n#*:/}; subject=/${r%:*:*}; san=${r#"${subject#/}":}
  openssl ecparam -name prime256v1 -genkey -noout -out $f.key; printf 'subjectAltName=%s\\n' "$san" > $f.ext
  openssl req -new -key $f.key -subj "$subject" | openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $f.ext -out $f.crt
done
openssl genrsa -out sa.key 2048; openssl rsa -in sa.key -pubout -out sa.pub"""
        keys = keys.replace("system:masters", "system%masters")  # no colon but the ones that divide
        keys = keys.replace('-subj "$subject"', '-subj "${subject//%/:}"')
        subprocess.run(["bash", "-c", keys, self.folder], check=True)
        client, other = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peer}"
        self.start("etcd", "--data-dir", f"{self.folder}/etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
                   "--listen-peer-urls", other, "--initial-advertise-peer-urls", other, "--initial-cluster", f"default={other}",
                   "--unsafe-no-fsync")
        f = self.folder
        self.start("kube-apiserver", f"--etcd-servers={client}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
                   f"--secure-port={self.port}", f"--client-ca-file={f}/ca.crt", f"--tls-cert-file={f}/server.crt",
                   f"--tls-private-key-file={f}/server.key", "--authorization-mode=RBAC",
                   "--service-account-issuer=https://kubernetes.default.svc.cluster.local", f"--service-account-key-file={f}/sa.pub",
                   f"--service-account-signing-key-file={f}/sa.key", "--service-cluster-ip-range=10.96.0.0/16",
                   "--endpoint-reconciler-type=none", "--allow-privileged=true")
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "c",
                  "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": f"{f}/ca.crt"}}],
                  "users": [{"name": "c", "user": {"client-certificate": f"{f}/admin.crt", "client-key": f"{f}/admin.key"}}],
                  "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]}
        pathlib.Path(f, "kubeconfig").write_text(json.dumps(config))
        deadline = time.monotonic() + 60
        while self.kubectl("get", "--raw", "/readyz", check=False).stdout != "ok":
            if time.monotonic() > deadline:
                sys.exit("the API server is not ready: " + pathlib.Path(f, "kube-apiserver.log").read_text()[-2000:])
            time.sleep(0.1)
        return self

    def start(self, name, *args):
        with open(f"{self.folder}/{name}.log", "w") as log:
            # The multi-call binary goes by the name that it was called by.
            self.processes.append(subprocess.Popen([programs / name, *args], stdout=log, stderr=log))

    def kubectl(self, *args, check=True, text=None):
        done = subprocess.run([programs / "kubectl", "--kubeconfig", f"{self.folder}/kubeconfig", *args], input=text,
                              capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            sys.exit(f"kubectl {' '.join(args)}: {done.stderr}")
        return done

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def definition(kind, plural):
    return json.dumps({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                 "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                     "type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}]}})


def accepted():
    policies = {"AuthorizationPolicy": "security.istio.io/v1", "PeerAuthentication": "security.istio.io/v1",
                "ServiceEntry": "networking.istio.io/v1", "WorkloadEntry": "networking.istio.io/v1beta1"}
    with ApiServer() as api:
        for kind, plural in FOREIGN.items():
            api.kubectl("apply", "-f", "-", text=definition(kind, plural))
        for name, of in SETS.items():
            ns = of.get("namespace", "warren-system")
            if api.kubectl("get", "ns", ns, check=False).returncode != 0:
                api.kubectl("create", "ns", ns)
            done = api.kubectl("apply", "--dry-run=server", "--server-side", "--validate=strict", "-n", ns, "-f", "-", text=render(name))
            kinds = len(re.findall("^kind:", render(name), re.M))
            answers = [line for line in done.stdout.splitlines() if line.strip()]
            assert len(answers) == kinds, f"{name}: {kinds} objects, {len(answers)} answers"
            assert "Warning" not in done.stderr, f"{name}: {done.stderr}"
            print(f"{name}: {kinds} objects accepted")
        # The definitions for real: each takes an object with a status, in both versions.
        api.kubectl("apply", "--server-side", "-f", "-", text=helm(
            "template", "warren", str(chart), "--namespace", "warren-system", "-s", "templates/crds.yaml").stdout)
        api.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        for kind, version in policies.items():
            api.kubectl("apply", "-n", "warren-system", "-f", "-", text=json.dumps(
                {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": {"anything": {"goes": [1]}}}))
        controller_rights(api)


def controller_rights(api):
    """What the leading controller writes, and that it writes no more of those objects, as the API server judges it."""
    api.kubectl("apply", "-n", "warren-system", "-f", "-", text=helm(
        "template", "warren", str(chart), "--namespace", "warren-system", "-s", "templates/rbac.yaml").stdout)

    def may(verb, what, subresource):
        resource, _, group = what.partition(".")
        asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": "anywhere"}
        review = api.kubectl("create", "-o", "json", "-f", "-", text=json.dumps({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": "system:serviceaccount:warren-system:warren-controller", "resourceAttributes": asked}}))
        return json.loads(review.stdout)["status"]["allowed"]

    for what in ("authorizationpolicies.security.istio.io", "services", "serviceentries.networking.istio.io",
                 "workloadentries.networking.istio.io", "gateways.gateway.networking.k8s.io"):
        assert may("get", what, "") and may("patch", what, "status"), what
        assert not may("patch", what, "") and not may("delete", what, "") and not may("update", what, "status"), what
    assert not may("patch", "gatewayclasses.gateway.networking.k8s.io", "status")


lint()
goldens()
promises()
refusals()
accepted()
print("the chart holds")
