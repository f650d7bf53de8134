#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The chart in a real cluster (run.sh): a user's path from `helm install` to `helm uninstall`, step by step on one cluster. The first
step that does not hold shows what the mesh's pods logged.

    chart_test.py ROOT [STEP...]      all steps, or those in that order, as often as they are named (most need the ones before them)

Not among "all": tunnel_update; install_behind_istiod, in place of install; figures, the numbers of docs/kubernetes.md, on a quiet machine.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

from kit import apply, client, fetch, get, kubectl, on_node, policy, run, say, service, until, web
from waypoint import through_a_waypoint

root = pathlib.Path(sys.argv[1])
MESH, AGENT, TUNNEL = "warren-system", "warren-agent", "warren-ztunnel"
NODES = ("n1", "n2")


class Api:
    """The API server without kubectl's own start, for what is measured."""

    def __init__(self):
        keys = pathlib.Path(os.environ["KUBECONFIG"]).parent
        self.tls = ssl.create_default_context(cafile=keys / "ca.crt")
        self.tls.check_hostname = False
        self.tls.load_cert_chain(keys / "admin.crt", keys / "admin.key")
        self.host = "172.31.77.11"
        self.connection = self.connect()

    def connect(self):
        return http.client.HTTPSConnection(self.host, 6443, context=self.tls, timeout=60)

    def call(self, method, path, body=None, kind="application/json"):
        self.connection.request(method, path, body and json.dumps(body), {"Content-Type": kind})
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status < 300, f"{method} {path}: {answer.status} {text[:300]}"
        return json.loads(text)

    def merge(self, path, body):
        return self.call("PATCH", path, body, "application/merge-patch+json")

    def watch(self, path, since):
        """Events as they come: (time, type, object)."""
        connection = self.connect()
        connection.request("GET", f"{path}{'&' if '?' in path else '?'}watch=true&resourceVersion={since}")
        answer = connection.getresponse()
        while line := answer.readline():
            event = json.loads(line)
            yield time.monotonic(), event["type"], event["object"]


# -- what a node looks like, for "as before"

def node_state(node):
    return {
        "CNI configuration": on_node(node, "cd /etc/cni/net.d && for f in *; do echo \"== $f\"; cat \"$f\"; done"),
        "CNI plugins": on_node(node, "ls /opt/cni/bin"),
        "pins": on_node(node, "find /sys/fs/bpf -mindepth 1 | sort"),
        "programs on cgroups": on_node(node, "bpftool cgroup tree $(findmnt -n -t cgroup2 -o TARGET | head -1) 2>/dev/null | grep -v '^/' | awk '{print $2, $NF}' | sort", check=False),
        "routes": on_node(node, "ip route show table all | grep -v veth | sort; ip rule; ip -6 rule"),
    }


def pod_state(ns):
    """Routes, rules, listeners and annotations of each pod."""
    out = {}
    for pod in get("pods", "-n", ns)["items"]:
        name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
        look = f"""for n in /run/netns/cni-*; do
          nsenter --net=$n ip -4 -o addr show | grep -q 'inet {pod["status"]["podIP"]}/' || continue
          nsenter --net=$n ip route show table all; nsenter --net=$n ip rule; nsenter --net=$n ss -Hltn | awk '{{print $4}}' | sort; done"""
        mesh = {k: v for k, v in pod["metadata"].get("annotations", {}).items() if "istio.io" in k}
        out[name] = (pod["metadata"]["uid"], [c["restartCount"] for c in pod["status"]["containerStatuses"]], mesh, on_node(node, look))
    return out


def ready(ns):
    kubectl("wait", "-n", ns, "--for=condition=Ready", "pod", "--all", "--timeout=60s", timeout=90)


def captured(ns):
    pods = get("pods", "-n", ns)["items"]
    return pods and all(p["metadata"].get("annotations", {}).get("ambient.istio.io/redirection") == "enabled" for p in pods)


def mesh_pods(app):
    return {p["spec"]["nodeName"]: p for p in get("pods", "-n", MESH, "-l", f"app={app}")["items"]
            if "deletionTimestamp" not in p["metadata"]}


def tunnel_connections(node, **labels):
    """Sum of the tunnel's opened connections with these labels."""
    address = mesh_pods(TUNNEL)[node]["status"]["podIP"]
    total = 0.0
    for line in on_node(node, f"curl -s -m 5 http://{address}:15020/metrics").splitlines():
        if line.startswith("istio_tcp_connections_opened_total{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


# -- steps, in order

state = {}


def before():
    for ns in ("shop", "outside"):
        kubectl("create", "ns", ns)
    kubectl("create", "ns", MESH)
    kubectl("label", "ns", MESH, "pod-security.kubernetes.io/enforce=privileged")
    until("the default accounts", lambda: all(kubectl("get", "sa", "default", "-n", n, check=False).returncode == 0 for n in ("shop", "outside")))
    apply(web("shop", "web-1", "n1"), web("shop", "web-2", "n2"), service("shop"), client("shop", "c1", "n1"), client("shop", "c2", "n2"),
          client("outside", "stranger", "n1"))
    ready("shop")
    ready("outside")
    until("the service without a mesh", lambda: fetch("shop", "c1", "http://web.shop", 5).returncode == 0)
    # The bridge of a node's first pods gets its own address a second later.
    until("addresses settled", lambda: not any(on_node(n, "ip -o addr show tentative").strip() for n in NODES))
    state["nodes"] = {node: node_state(node) for node in NODES}
    state["pods"] = pod_state("shop")


def install(*more):
    done = run(os.environ["WARREN"], "install", "--mesh-namespace", MESH, "--set", ",".join(("image.tag=test", *more)), "--wait", "150s",
               timeout=200)
    assert "Installed." in done.stdout, done.stdout
    for app in ("warren-agent", TUNNEL):
        assert set(mesh_pods(app)) == set(NODES), app
    for pod in get("pods", "-n", MESH)["items"]:
        assert all(c["restartCount"] == 0 for c in pod["status"]["containerStatuses"]), pod["metadata"]["name"]
    until("the root in every namespace", lambda: kubectl("get", "cm", "istio-ca-root-cert", "-n", "shop", check=False).returncode == 0)
    assert fetch("shop", "c1", "http://web.shop", 5).returncode == 0, "pods outside of the mesh are disturbed"


def install_behind_istiod():
    """In place of install: the chart as it stands beside istiod, with Warren's controller as the stand-in for istiod: its Service, its port,
    its token's audience, its trusted account, its ConfigMap with the root. It is not istiod, whose program cannot be had here."""
    global MESH, AGENT, TUNNEL
    MESH, AGENT, TUNNEL = "istio-system", "istio-cni-node", "ztunnel"
    kubectl("create", "ns", MESH)
    kubectl("label", "ns", MESH, "pod-security.kubernetes.io/enforce=privileged")
    rendered = run("helm", "template", "istiod", root / "charts" / "warren", "-n", MESH, "--set",
                   "image.tag=test,compat.istioNames=true,controller.replicas=1").stdout
    documents = ["---\n" + d for d in rendered.split("\n---\n") if re.search(
        r"^  name: \"?(warren-controller|istiod|warren-ca)\"?$|^kind: CustomResourceDefinition$", d, re.M) and "helm.sh/hook" not in d]
    kubectl("apply", "-f", "-", text="\n".join(documents))
    kubectl("rollout", "status", "-n", MESH, "deploy/warren-controller", "--timeout=120s", timeout=150)
    install("controlPlane=istiod", "compat.istioNames=true", "crds.enabled=false")
    state["stand-in"] = "\n".join(documents)


def enrol_running_pods():
    kubectl("label", "ns", "shop", "istio.io/dataplane-mode=ambient")
    began_at = time.monotonic()
    until("running pods captured", lambda: captured("shop"), 30)
    say(f"  four running pods captured {time.monotonic() - began_at:.1f} s after the label")
    now = pod_state("shop")
    for name, was in state["pods"].items():
        assert now[name][:2] == was[:2], f"{name} was restarted"


def over_the_mesh():
    web2 = get("pod", "-n", "shop", "web-2")["status"]["podIP"]
    c1 = get("pod", "-n", "shop", "c1")["status"]["podIP"]
    until("c1 to web-2", lambda: fetch("shop", "c1", f"http://{web2}:8080").returncode == 0, 30)
    had = tunnel_connections("n2", reporter="destination", connection_security_policy="mutual_tls")
    done = fetch("shop", "c1", f"http://{web2}:8080", 10)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"peer={c1}:") == 10, f"the source address is not kept: {done.stdout}"
    now = tunnel_connections("n2", reporter="destination", connection_security_policy="mutual_tls")
    assert now - had >= 10, f"mutual TLS connections at n2: {had}, then {now}"
    done = fetch("shop", "c1", "http://web.shop", 20)
    assert done.returncode == 0 and "host=web-1" in done.stdout and "host=web-2" in done.stdout, done.stdout + done.stderr


def status_is_green():
    """What an admin asks from outside: all nodes at once, then one of them."""
    ask = lambda *words, **more: run(os.environ["WARREN"], *words, **more)  # noqa: E731
    done = ask("status")  # there is no agent on this machine, and KUBECONFIG names a cluster
    assert "asking the cluster of context" in done.stderr, done.stderr
    nodes = json.loads(ask("--cluster", "-o", "json", "status").stdout)["nodes"]
    assert [(n["node"], n["inOrder"]) for n in nodes] == [(n, True) for n in NODES], nodes
    done = ask("--cluster", "check")
    assert "0 errors" in done.stdout, done.stdout
    for node in NODES:
        for what, words in ((f"{node}, instance", ("status",)), (f"web-{node[1:]}", ("workloads",)), ("Available", ("certs",))):
            done = ask("--on-node", node, *words)
            assert what in done.stdout, f"{what} in {words} of {node}:\n{done.stdout}{done.stderr}"
    live = subprocess.Popen([os.environ["WARREN"], "--on-node", "n1", "-o", "json", "flows", "--follow", "--from", "shop/c1", "--limit", "1"],
                            stdout=subprocess.PIPE, text=True)
    with live:
        until("a flow in the live stream", lambda: fetch("shop", "c1", "http://web.shop", 5).returncode == 0 and live.poll() is not None)
        assert json.loads(live.stdout.read())["node"] == "n1"
    with tempfile.TemporaryDirectory() as folder:
        ask("--on-node", "n2", "bug-report", f"{folder}/report.tar.gz")
        files = run("tar", "-tf", f"{folder}/report.tar.gz").stdout
        tunnel = mesh_pods(TUNNEL)["n2"]["metadata"]["name"]
        assert all(part in files for part in (f"logs/{tunnel}.txt", "tunnel/config_dump.json", "controller/status.json")), files


def host_network_pods():
    """A pod with the node's network is left alone, in a namespace of the mesh too, and is reached from the mesh and reaches it."""
    pod = web("shop", "host-web", "n2")
    pod["metadata"]["labels"] = {"app": "host-web"}
    pod["spec"]["hostNetwork"] = True
    container = pod["spec"]["containers"][0]
    container["command"] = ["kltool", "serve", ":18080"]
    container["readinessProbe"]["httpGet"]["port"] = container["livenessProbe"]["tcpSocket"]["port"] = 18080
    apply(pod)
    kubectl("wait", "-n", "shop", "--for=condition=Ready", "pod/host-web", "--timeout=60s", timeout=90)
    at = get("pod", "-n", "shop", "host-web")["status"]["podIP"]
    done = fetch("shop", "c1", f"http://{at}:18080", 5)
    assert done.returncode == 0, f"from the mesh to a host-network pod: {done.stderr}"
    web2 = get("pod", "-n", "shop", "web-2")["status"]["podIP"]
    done = fetch("shop", "host-web", f"http://{web2}:8080", 5)
    assert done.returncode == 0, f"from a host-network pod to the mesh: {done.stderr}"
    assert "ambient.istio.io/redirection" not in get("pod", "-n", "shop", "host-web")["metadata"].get("annotations", {})
    kubectl("delete", "pod", "-n", "shop", "host-web")


def strict():
    web2 = get("pod", "-n", "shop", "web-2")["status"]["podIP"]
    assert fetch("outside", "stranger", f"http://{web2}:8080").returncode == 0, "permissive is the default"
    apply(policy("PeerAuthentication", "default", "shop", {"mtls": {"mode": "STRICT"}}))
    until("plaintext refused", lambda: fetch("outside", "stranger", f"http://{web2}:8080").returncode != 0, 20)
    assert fetch("shop", "c1", "http://web.shop", 20).returncode == 0
    # Probes go on once a second; three that fail would restart the container, one would make it unready.
    time.sleep(6)
    for pod in get("pods", "-n", "shop", "-l", "app=web")["items"]:
        status = pod["status"]["containerStatuses"][0]
        assert status["ready"] and status["restartCount"] == 0, f"probes fail under STRICT: {status}"


def both_families():
    """As over_the_mesh and strict, with the pods' IPv6 addresses and a Service that has one of each family."""
    both = service("shop", "both") | {"spec": {"ipFamilyPolicy": "RequireDualStack", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}
    apply(both)
    virtual = get("service", "-n", "shop", "both")["spec"]["clusterIPs"]
    at = {pod["metadata"]["name"]: [a["ip"] for a in pod["status"]["podIPs"]] for pod in get("pods", "-n", "shop")["items"]}
    assert all([":" in a for a in addresses] == [False, True] for addresses in [virtual, *at.values()]), f"{virtual}, {at}"
    for client in ("c1", "c2"):
        for pod in ("web-1", "web-2"):
            host = f"http://[{at[pod][1]}]:8080"
            until(f"{client} to {host}", lambda: fetch("shop", client, host).returncode == 0, 30)
            done = fetch("shop", client, host, 5)
            assert done.returncode == 0 and done.stdout.count(f"host={pod} peer=[{at[client][1]}]:") == 5, done.stdout + done.stderr
        for host in ("both.shop", *(f"[{a}]" if ":" in a else a for a in virtual)):
            until(f"{client} to {host}", lambda: fetch("shop", client, f"http://{host}").returncode == 0, 30)
            done = fetch("shop", client, f"http://{host}", 20)
            assert done.returncode == 0 and "host=web-1" in done.stdout and "host=web-2" in done.stdout, done.stdout + done.stderr
        found = kubectl("exec", "-n", "shop", client, "--", "kltool", "dns", "both.shop").stdout
        assert all(a in found for a in virtual), f"{virtual} by name: {found}"
    had = tunnel_connections("n2", reporter="destination", connection_security_policy="mutual_tls")
    assert fetch("shop", "c1", f"http://[{at['web-2'][1]}]:8080", 10).returncode == 0
    now = tunnel_connections("n2", reporter="destination", connection_security_policy="mutual_tls")
    assert now - had >= 10, f"mutual TLS connections at n2: {had}, then {now}"
    for pod in ("web-1", "web-2"):
        assert fetch("outside", "stranger", f"http://[{at[pod][1]}]:8080").returncode != 0, f"plaintext to {pod} under STRICT"
    kubectl("delete", "service", "-n", "shop", "both")


def denied():
    apply(policy("AuthorizationPolicy", "nobody", "shop", {"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["8080"]}}]}]}))
    web1, web2 = (get("pod", "-n", "shop", n)["status"]["podIP"] for n in ("web-1", "web-2"))
    until("refused on the other node", lambda: fetch("shop", "c1", f"http://{web2}:8080").returncode != 0, 20)
    until("refused on the same node", lambda: fetch("shop", "c1", f"http://{web1}:8080").returncode != 0, 20)
    kubectl("delete", "authorizationpolicy", "-n", "shop", "nobody")
    until("allowed again", lambda: all(fetch("shop", "c1", f"http://{w}:8080").returncode == 0 for w in (web1, web2)), 20)


def waypoint():
    through_a_waypoint(MESH)


def network_policies():
    """This cluster's network enforces none: what they would block on the node takes the tunnel all the same, and comes back."""
    web1 = get("pod", "-n", "shop", "web-1")["status"]["podIP"]

    def through_the_tunnel():
        had = tunnel_connections("n1", reporter="destination", connection_security_policy="mutual_tls")
        assert fetch("shop", "c1", f"http://{web1}:8080", 5).returncode == 0
        return tunnel_connections("n1", reporter="destination", connection_security_policy="mutual_tls") - had
    until("straight without any", lambda: through_the_tunnel() == 0, 20)
    apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "tunnel-only", "namespace": "shop"},
           "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"ports": [{"port": 15008}]}]}})
    until("by the tunnel with one that shuts the port", lambda: through_the_tunnel() >= 5, 20)
    kubectl("patch", "networkpolicy", "-n", "shop", "tunnel-only", "--type=merge", "-p",
            json.dumps({"spec": {"ingress": [{"ports": [{"port": 15008}]}, {"from": [{"podSelector": {"matchLabels": {"app": "c1"}}}]}]}}))
    until("straight with one that lets the pod in", lambda: through_the_tunnel() == 0, 20)
    kubectl("patch", "networkpolicy", "-n", "shop", "tunnel-only", "--type=merge", "-p", json.dumps({"spec": {"ingress": []}}))
    until("by the tunnel again", lambda: through_the_tunnel() >= 5, 20)
    kubectl("delete", "networkpolicy", "-n", "shop", "tunnel-only")
    until("straight once it is gone", lambda: through_the_tunnel() == 0, 20)


def new_pods_are_captured_first(count=5):
    """All at once: the kubelets tell the API server of the addresses seconds after the pods began, so the control plane does not know yet
    who connects."""
    web2 = get("pod", "-n", "shop", "web-2")["status"]["podIP"]
    names = [f"first-{i}" for i in range(count)]
    # Its first instruction connects, once, into a strict namespace: plaintext would be refused.
    apply(*[client("shop", name, NODES[i % 2], ("kltool", "get", f"http://{web2}:8080")) for i, name in enumerate(names)])

    def ended():
        pods = {p["metadata"]["name"]: p["status"]["phase"] for p in get("pods", "-n", "shop")["items"]}
        return all(pods[name] in ("Succeeded", "Failed") for name in names) and pods
    phases = until("their first connection over", ended, 90 + 2 * count)
    failed = [name for name in names if phases[name] != "Succeeded"]
    bad = [f"{name}: {kubectl('logs', '-n', 'shop', name, check=False).stdout.strip()}" for name in failed]
    kubectl("delete", "pod", "-n", "shop", *names, "--wait=false")
    say(f"  captured before the first connection: {count - len(bad)} of {count}")
    assert not bad, f"not captured when they connected: {bad}"


REDIRECTION = "ambient.istio.io/redirection"


def seconds_until_captured(api, ns, change, names):
    """From the answer to the change until the API server tells that the last of the pods is captured."""
    since = api.call("GET", f"/api/v1/namespaces/{ns}/pods")["metadata"]["resourceVersion"]
    change()
    began_at, missing = time.monotonic(), set(names)
    for when, _, pod in api.watch(f"/api/v1/namespaces/{ns}/pods", since):
        if pod["metadata"].get("annotations", {}).get(REDIRECTION) == "enabled":
            missing.discard(pod["metadata"]["name"])
        if not missing:
            return when - began_at


def figures():
    """After `strict`."""
    api = Api()
    mode = "istio.io/dataplane-mode"
    label = lambda value: {"metadata": {"labels": {mode: value}}}

    times = []
    for _ in range(10):
        path = "/api/v1/namespaces/outside/pods/stranger"
        times.append(seconds_until_captured(api, "outside", lambda: api.merge(path, label("ambient")), ["stranger"]))
        api.merge(path, label(None))
        until("stranger let go", lambda: REDIRECTION not in api.call("GET", path)["metadata"].get("annotations", {}))
    say(f"  running pod labelled until captured: median {statistics.median(times):.3f} s, worst {max(times):.3f} s of {len(times)}")
    assert max(times) <= 1

    # One change until both nodes act on it, and kubectl has told of it.
    web_at = {node: get("pod", "-n", "shop", name)["status"]["podIP"] for node, name in zip(NODES, ("web-1", "web-2"))}
    times = []
    for _ in range(5):
        watching = [subprocess.Popen(["kubectl", "exec", "-n", "shop", pod, "--", "sh", "-c",
                                      f"echo begun; while kltool get http://{web_at[node]}:8080 >/dev/null 2>&1; do :; done"],
                                     stdout=subprocess.PIPE, text=True) for pod, node in (("c1", "n1"), ("c1", "n2"), ("c2", "n2"), ("c2", "n1"))]
        for process in watching:
            process.stdout.readline()
        time.sleep(1)
        rule = policy("AuthorizationPolicy", "nobody", "shop", {"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["8080"]}}]}]})
        api.call("POST", "/apis/security.istio.io/v1/namespaces/shop/authorizationpolicies", rule)
        written = time.monotonic()
        for process in watching:
            process.communicate(timeout=60)
        times.append(time.monotonic() - written)  # of the last
        kubectl("delete", "authorizationpolicy", "-n", "shop", "nobody")
        until("allowed again", lambda: all(fetch("shop", c, f"http://{w}:8080").returncode == 0 for c in ("c1", "c2") for w in web_at.values()))
    say(f"  policy written until refused on both nodes: median {statistics.median(times):.3f} s, worst {max(times):.3f} s of {len(times)}")
    assert max(times) <= 0.5

    # As many as the kubelet takes.
    there = [p for p in get("pods", "-A")["items"] if p["spec"]["nodeName"] == "n2"]
    names = [f"crowd-{i}" for i in range(110 - len(there))]
    kubectl("create", "ns", "crowd")
    until("the default account", lambda: kubectl("get", "sa", "default", "-n", "crowd", check=False).returncode == 0)
    apply(*[client("crowd", name, "n2") for name in names])
    kubectl("wait", "-n", "crowd", "--for=condition=Ready", "pod", "--all", "--timeout=400s", timeout=420)
    took = seconds_until_captured(api, "crowd", lambda: api.merge("/api/v1/namespaces/crowd", label("ambient")), names)
    say(f"  {len(names)} running pods of a node with 110 enrolled in {took:.2f} s")
    assert took <= 3
    kubectl("delete", "ns", "crowd", "--timeout=120s", timeout=150)
    new_pods_are_captured_first(100)


# What the mesh's pods say from here on, kept when they are replaced: {pod: log}, filled when the block ends.
@contextlib.contextmanager
def logs_of_mesh():
    logs = {}
    with tempfile.TemporaryDirectory() as folder:
        following = []
        for pod in get("pods", "-n", MESH)["items"]:
            path = pathlib.Path(folder, pod["metadata"]["name"])
            with path.open("w") as to:
                following.append(subprocess.Popen(["kubectl", "logs", "-n", MESH, "-f", "--tail=0", "--timestamps", path.name], stdout=to, stderr=to))
        try:
            yield logs
        finally:
            for process in following:
                process.terminate()
                process.wait()
            logs.update({path.name: path.read_text() for path in pathlib.Path(folder).iterdir()})


def rolling_update(sets=None):
    with logs_of_mesh() as logs:
        try:
            replace_under_load(sets or (TUNNEL, AGENT))
            return
        except AssertionError as error:
            failure = error
    for name, text in sorted(logs.items()):
        print(f"-- {name}, from before its replacement\n{telling(text)}")
    raise failure


def tunnel_update():
    rolling_update((TUNNEL,))


def replace_under_load(sets):
    load = []
    for pod in ("c1", "c2"):
        load.append(subprocess.Popen(
            ["kubectl", "exec", "-n", "shop", pod, "--", "sh", "-c",
             "rm -f /tmp/stop; n=0; while [ ! -e /tmp/stop ]; do kltool get http://web.shop 20 >/dev/null || { date +%H:%M:%S; echo failed after $n; exit 1; }; n=$((n+20)); done; echo $n"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    try:
        for set_name in sets:
            kubectl("rollout", "restart", "-n", MESH, f"daemonset/{set_name}")
            kubectl("rollout", "status", "-n", MESH, f"daemonset/{set_name}", "--timeout=150s", timeout=180)
            broken = [p.stdout.read().strip() for p in load if p.poll() is not None]
            assert not broken, f"{set_name}: {broken}"
        time.sleep(3)
    finally:
        for pod in ("c1", "c2"):
            kubectl("exec", "-n", "shop", pod, "--", "touch", "/tmp/stop", check=False)
        ends = [p.communicate(timeout=60)[0].strip() for p in load]
    assert all(p.returncode == 0 for p in load), f"connections failed during the update: {ends}"
    say(f"  connections opened meanwhile, none failed: {' + '.join(ends)}")


def upgrade():
    key = get("secret", "-n", MESH, "warren-ca")["data"]["ca-key.pem"]
    run(os.environ["WARREN"], "upgrade", "--mesh-namespace", MESH, "--set", "ztunnel.logLevel=info\\,access=info", "--wait", "150s", timeout=200)
    images = {c["image"] for pod in get("pods", "-n", MESH)["items"] for c in pod["spec"]["containers"]}
    assert all(image.endswith(":test") for image in images), f"values of the installation are lost: {images}"
    assert get("secret", "-n", MESH, "warren-ca")["data"]["ca-key.pem"] == key, "an upgrade made another root"
    assert fetch("shop", "c1", "http://web.shop", 20).returncode == 0


def uninstall():
    kubectl("delete", "peerauthentication", "-n", "shop", "--all")
    run(os.environ["WARREN"], "uninstall", "--mesh-namespace", MESH, "--wait", "150s", timeout=200)
    if "stand-in" in state:
        kubectl("delete", "-f", "-", "--ignore-not-found", text=state["stand-in"])
    until("the mesh's pods gone", lambda: not get("pods", "-n", MESH)["items"], 90)
    for node in NODES:
        now = node_state(node)
        for what, was in state["nodes"][node].items():
            assert now[what] == was, f"{node}, {what}: before\n{was}\nnow\n{now[what]}"
    now = pod_state("shop")
    for name, was in state["pods"].items():
        assert now[name] == was, f"{name}: before\n{was}\nnow\n{now[name]}"
    assert fetch("shop", "c1", "http://web.shop", 20).returncode == 0, "the application does not work without the mesh"


STEPS = [before, install, enrol_running_pods, over_the_mesh, host_network_pods, status_is_green, strict, both_families, denied, waypoint,
         network_policies, new_pods_are_captured_first, rolling_update, upgrade, status_is_green, uninstall]


def telling(log):
    """The end of a log without the connections that went well."""
    return "".join([line for line in log.splitlines(True) if "info\taccess" not in line][-40:])


def show_logs():
    print(kubectl("get", "pods", "-A", "-o", "wide", check=False).stdout)
    for pod in json.loads(kubectl("get", "pods", "-n", MESH, "-o", "json", check=False).stdout or '{"items": []}')["items"]:
        name = pod["metadata"]["name"]
        for previous in ([], ["--previous"]):
            text = telling(kubectl("logs", "-n", MESH, name, "--tail=100000", *previous, check=False).stdout)
            if text:
                print(f"-- {name} {' '.join(previous)}\n{text}")
        if pod["status"].get("phase") != "Running":
            print(kubectl("describe", "pod", "-n", MESH, name, check=False).stdout[-1500:])


# Without these nothing after them means anything; what fails otherwise does not hide the rest.
VITAL = (before, install, enrol_running_pods)
failed = []
for step in [s for name in sys.argv[2:] for s in {*STEPS, install_behind_istiod, tunnel_update, figures} if s.__name__ == name] or STEPS:
    try:
        step()
    except (AssertionError, subprocess.TimeoutExpired) as failure:
        say(f"FAILED {step.__name__}: {failure}")
        if not failed:
            show_logs()
        failed.append(step.__name__)
        if step in VITAL:
            break
        continue
    say(f"{step.__name__.replace('_', ' ')}: holds")
if failed:
    sys.exit(f"failed: {', '.join(failed)}")
