#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The chart in a real cluster (run.sh): a user's path from `helm install` to `helm uninstall`, step by step on one cluster. The first
step that does not hold shows what the mesh's pods logged.

    chart_test.py ROOT [STEP...]      all steps, or those (most need the ones before them)
"""
import json
import pathlib
import subprocess
import sys
import time

root = pathlib.Path(sys.argv[1])
here = root / "tests" / "cluster"
MESH = "warren-system"
NODES = ("n1", "n2")
began = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - began:6.1f}] {text}", flush=True)


def run(*command, check=True, text=None, timeout=60):
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def kubectl(*args, **more):
    return run("kubectl", *args, **more)


def get(*args):
    return json.loads(kubectl("get", *args, "-o", "json").stdout)


def apply(*objects):
    kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def on_node(node, script, check=True):
    return run(here / "cluster.sh", "exec", node[1:], "bash", "-c", script, check=check).stdout


def until(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except (AssertionError, KeyError, IndexError) as error:
            value, last = None, error
        else:
            last = value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}; last: {last}")
        time.sleep(0.2)


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


# -- the application

def web(ns, name, node):
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns, "labels": {"app": "web"}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "web", "image": "docker.io/kl/tool:1", "imagePullPolicy": "IfNotPresent", "command": ["kltool", "serve", ":8080"],
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1},
            "livenessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 3}}]}}


def client(ns, name, node, command=("sleep", "100000")):
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns, "labels": {"app": name}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "serviceAccountName": "default",
                 "containers": [{"name": "client", "image": "docker.io/kl/tool:1", "imagePullPolicy": "IfNotPresent",
                                 "command": list(command)}]}}


def service(ns):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": ns},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}


def fetch(ns, pod, url, times=1):
    return kubectl("exec", "-n", ns, pod, "--", "kltool", "get", url, str(times), check=False, timeout=120)


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
    address = mesh_pods("warren-ztunnel")[node]["status"]["podIP"]
    total = 0.0
    for line in on_node(node, f"curl -s -m 5 http://{address}:15020/metrics").splitlines():
        if line.startswith("istio_tcp_connections_opened_total{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


def policy(kind, name, ns, spec):
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": ns}, "spec": spec}


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


def install():
    run("helm", "install", "warren", root / "charts" / "warren", "-n", MESH, "--set", "image.tag=test", "--wait", "--timeout", "150s",
        timeout=200)
    for app in ("warren-agent", "warren-ztunnel"):
        assert set(mesh_pods(app)) == set(NODES), app
    for pod in get("pods", "-n", MESH)["items"]:
        assert all(c["restartCount"] == 0 for c in pod["status"]["containerStatuses"]), pod["metadata"]["name"]
    until("the root in every namespace", lambda: kubectl("get", "cm", "istio-ca-root-cert", "-n", "shop", check=False).returncode == 0)
    assert fetch("shop", "c1", "http://web.shop", 5).returncode == 0, "pods outside of the mesh are disturbed"


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


def denied():
    apply(policy("AuthorizationPolicy", "nobody", "shop", {"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["8080"]}}]}]}))
    web1, web2 = (get("pod", "-n", "shop", n)["status"]["podIP"] for n in ("web-1", "web-2"))
    until("refused on the other node", lambda: fetch("shop", "c1", f"http://{web2}:8080").returncode != 0, 20)
    until("refused on the same node", lambda: fetch("shop", "c1", f"http://{web1}:8080").returncode != 0, 20)
    kubectl("delete", "authorizationpolicy", "-n", "shop", "nobody")
    until("allowed again", lambda: all(fetch("shop", "c1", f"http://{w}:8080").returncode == 0 for w in (web1, web2)), 20)


def new_pods_are_captured_first():
    web2 = get("pod", "-n", "shop", "web-2")["status"]["podIP"]
    for i in range(5):
        # Its first instruction connects, once, into a strict namespace: plaintext would be refused.
        apply(client("shop", f"first-{i}", "n1", ("kltool", "get", f"http://{web2}:8080")))
    for i in range(5):
        until(f"first-{i} ended", lambda: get("pod", "-n", "shop", f"first-{i}")["status"]["phase"] in ("Succeeded", "Failed"), 60)
        pod = get("pod", "-n", "shop", f"first-{i}")
        logs = kubectl("logs", "-n", "shop", f"first-{i}", check=False).stdout
        assert pod["status"]["phase"] == "Succeeded", f"first-{i} was not captured when it connected: {logs}"
    kubectl("delete", "pod", "-n", "shop", *[f"first-{i}" for i in range(5)], "--wait=false")


def rolling_update():
    load = []
    for pod in ("c1", "c2"):
        load.append(subprocess.Popen(
            ["kubectl", "exec", "-n", "shop", pod, "--", "sh", "-c",
             "n=0; while [ ! -e /tmp/stop ]; do kltool get http://web.shop 20 >/dev/null || { echo failed after $n; exit 1; }; n=$((n+20)); done; echo $n"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    try:
        for set_name in ("warren-ztunnel", "warren-agent"):
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
    run("helm", "upgrade", "warren", root / "charts" / "warren", "-n", MESH, "--set", "image.tag=test,ztunnel.logLevel=info\\,access=info",
        "--wait", "--timeout", "150s", timeout=200)
    assert get("secret", "-n", MESH, "warren-ca")["data"]["ca-key.pem"] == key, "an upgrade made another root"
    assert fetch("shop", "c1", "http://web.shop", 20).returncode == 0


def uninstall():
    kubectl("delete", "peerauthentication", "-n", "shop", "--all")
    run("helm", "uninstall", "warren", "-n", MESH, "--wait", "--timeout", "150s", timeout=200)
    until("the mesh's pods gone", lambda: not get("pods", "-n", MESH)["items"], 90)
    for node in NODES:
        now = node_state(node)
        for what, was in state["nodes"][node].items():
            assert now[what] == was, f"{node}, {what}: before\n{was}\nnow\n{now[what]}"
    now = pod_state("shop")
    for name, was in state["pods"].items():
        assert now[name] == was, f"{name}: before\n{was}\nnow\n{now[name]}"
    assert fetch("shop", "c1", "http://web.shop", 20).returncode == 0, "the application does not work without the mesh"


STEPS = [before, install, enrol_running_pods, over_the_mesh, strict, denied, new_pods_are_captured_first, rolling_update, upgrade, uninstall]


def show_logs():
    print(kubectl("get", "pods", "-A", "-o", "wide", check=False).stdout)
    for pod in json.loads(kubectl("get", "pods", "-n", MESH, "-o", "json", check=False).stdout or '{"items": []}')["items"]:
        name = pod["metadata"]["name"]
        for previous in ([], ["--previous"]):
            text = kubectl("logs", "-n", MESH, name, "--tail=25", *previous, check=False).stdout
            if text:
                print(f"-- {name} {' '.join(previous)}\n{text}")
        if pod["status"].get("phase") != "Running":
            print(kubectl("describe", "pod", "-n", MESH, name, check=False).stdout[-1500:])


# Without these nothing after them means anything; what fails otherwise does not hide the rest.
VITAL = (before, install, enrol_running_pods)
failed = []
for step in STEPS:
    if len(sys.argv) > 2 and step.__name__ not in sys.argv[2:]:
        continue
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
