# SPDX-License-Identifier: Apache-2.0
"""What the steps of chart_test.py have in common: commands, objects of the API server, waiting, and the application's pods."""
import json
import pathlib
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
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
    return run(HERE / "cluster.sh", "exec", node[1:], "bash", "-c", script, check=check).stdout


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


# -- the application

def web(ns, name, node):
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns, "labels": {"app": "web"}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "web", "image": "docker.io/kl/tool:1", "imagePullPolicy": "IfNotPresent", "command": ["kltool", "serve", ":8080"],
            # One refusal counts; slowness of a busy machine does not.
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 1},
            "livenessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 3}}]}}


def client(ns, name, node, command=("sleep", "100000")):
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns, "labels": {"app": name}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "serviceAccountName": "default",
                 "containers": [{"name": "client", "image": "docker.io/kl/tool:1", "imagePullPolicy": "IfNotPresent",
                                 "command": list(command)}]}}


def service(ns, name="web"):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": ns},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}}


# Answers with what it was asked: the environment that httpd makes of a request.
ECHO = """mkdir -p /tmp/www/cgi-bin
printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"; env' >/tmp/www/cgi-bin/env
chmod +x /tmp/www/cgi-bin/env
exec httpd -f -vv -p 0.0.0.0:8080 -h /tmp/www"""


def echo(ns, name, node):
    """Its log has a line for every request; its account has its own name."""
    pod = web(ns, name, node)
    pod["metadata"]["labels"] = {"app": name}
    pod["spec"]["serviceAccountName"] = name
    container = pod["spec"]["containers"][0]
    container["command"] = ["sh", "-c", ECHO]
    container["readinessProbe"].pop("httpGet")
    container["readinessProbe"]["tcpSocket"] = {"port": 8080}
    return pod


def account(ns, name):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": ns}}


def fetch(ns, pod, url, times=1):
    return kubectl("exec", "-n", ns, pod, "--", "kltool", "get", url, str(times), check=False, timeout=120)


def policy(kind, name, ns, spec):
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": ns}, "spec": spec}
