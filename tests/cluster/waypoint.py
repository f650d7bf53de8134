# SPDX-License-Identifier: Apache-2.0
"""A waypoint in the cluster: stock Envoy in a pod of the namespace, with a certificate of the mesh's own certificate service. warren-controller
deploys no waypoints, so the step does what the controller that deploys them does: pod, Service, and the addresses in the Gateway's status."""
import base64
import json
import pathlib
import string
import tempfile

from kit import HERE, account, apply, echo, fetch, get, kubectl, on_node, policy, run, service, until

NS, NAME = "shop", "waypoint"
USE = "istio.io/use-waypoint"
GROUP = "gateway.networking.k8s.io"
IDENTITY = "spiffe://cluster.local/ns/shop/sa/"


def definition(plural, kind, scope):
    """Of the Gateway API, without its schema: the chart does not bring it."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{GROUP}", "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"}},
            "spec": {"group": GROUP, "scope": scope, "names": {"plural": plural, "kind": kind, "listKind": f"{kind}List"},
                     "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}]}}


def gateway(serves):
    return {"apiVersion": f"{GROUP}/v1", "kind": "Gateway",
            "metadata": {"name": NAME, "namespace": NS, "labels": {"istio.io/waypoint-for": serves}},
            "spec": {"gatewayClassName": "istio-waypoint", "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}}


def envoy():
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": NAME, "namespace": NS, "labels": {"app": NAME, f"{GROUP}/gateway-name": NAME, "istio.io/dataplane-mode": "none"}},
            "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 0, "serviceAccountName": NAME,
                     "volumes": [{"name": "config", "configMap": {"name": NAME}}, {"name": "certificate", "secret": {"secretName": NAME}}],
                     "containers": [{"name": "envoy", "image": "docker.io/kl/envoy:1", "imagePullPolicy": "IfNotPresent",
                                     "command": ["/usr/local/bin/envoy", "-c", "/etc/envoy/envoy.yaml", "--disable-hot-restart", "--concurrency", "1",
                                                 "-l", "warning", "--file-flush-interval-msec", "100"],
                                     "readinessProbe": {"tcpSocket": {"port": 15008}, "periodSeconds": 1, "timeoutSeconds": 10},
                                     "volumeMounts": [{"name": "config", "mountPath": "/etc/envoy"},
                                                      {"name": "certificate", "mountPath": "/etc/certificate"}]}]}}


# -- the certificate service (proto/ca.proto), asked with the account's token as a stock waypoint asks it

def varint(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def texts(message):
    """The length-delimited fields of a message that has no others."""
    at = 0
    while at < len(message):
        at, size, shift = at + 1, 0, 0
        while True:
            byte = message[at]
            size, at, shift = size | (byte & 0x7F) << shift, at + 1, shift + 7
            if byte < 0x80:
                break
        yield message[at:at + size].decode()
        at += size


def certificate(mesh):
    """Files of a Secret: a new key, its chain, the root."""
    token = kubectl("create", "token", NAME, "-n", NS, "--audience=istio-ca").stdout.strip()
    at = get("service", "-n", mesh, "warren-controller")["spec"]["clusterIP"]
    host = f"warren-controller.{mesh}.svc"
    root = get("cm", "-n", NS, "istio-ca-root-cert")["data"]["root-cert.pem"]
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        (here / "root").write_text(root)
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/", "-keyout", here / "key",
            "-out", here / "csr")
        csr = (here / "csr").read_bytes()
        request = b"\x0a" + varint(len(csr)) + csr
        (here / "request").write_bytes(b"\0" + len(request).to_bytes(4, "big") + request)
        (here / "headers").write_text(f"content-type: application/grpc\nte: trailers\nauthorization: Bearer {token}\n")
        on_node("n1", f"cd {here} && curl -sS -m 20 --http2 --cacert root --resolve {host}:15012:{at} -H @headers --data-binary @request -D heads "
                      f"-o answer https://{host}:15012/istio.v1.auth.IstioCertificateService/CreateCertificate")
        answer = (here / "answer").read_bytes()
        assert len(answer) > 5, f"no certificate: {(here / 'heads').read_text()}"
        chain = "".join(list(texts(answer[5:]))[:-1])
        return {"waypoint.crt": chain, "waypoint.key": (here / "key").read_text(), "ca.crt": root}


def deploy(mesh):
    """All but the pod, which needs addresses."""
    apply(definition("gateways", "Gateway", "Namespaced"), definition("gatewayclasses", "GatewayClass", "Cluster"), account(NS, NAME),
          account(NS, "books"), echo(NS, "books", "n2"), service(NS, "books"),
          {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NS},
           "spec": {"selector": {"app": NAME}, "ports": [{"name": "mesh", "port": 15008, "appProtocol": "hbone"}]}})
    kubectl("wait", "--for=condition=Established", f"crd/gateways.{GROUP}", f"crd/gatewayclasses.{GROUP}", "--timeout=30s")
    kubectl("wait", "-n", NS, "--for=condition=Ready", "pod/books", "--timeout=60s", timeout=90)
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in certificate(mesh).items()}
    config = string.Template((HERE.parent / "mesh" / "peers" / "waypoint.yaml").read_text()).substitute(
        vip=get("service", "-n", NS, "books")["spec"]["clusterIP"], endpoint=get("pod", "-n", NS, "books")["status"]["podIP"],
        endpoint_identity=IDENTITY + "books", certificate="/etc/certificate/waypoint.crt", key="/etc/certificate/waypoint.key",
        ca="/etc/certificate/ca.crt", log="/dev/stdout")
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME, "namespace": NS}, "data": encoded},
          {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NS}, "data": {"envoy.yaml": config}})


def start():
    apply(envoy())
    kubectl("wait", "-n", NS, "--for=condition=Ready", f"pod/{NAME}", "--timeout=60s", timeout=90)


# -- what is seen

def bound():
    """The condition of the service, as "Status Reason"; empty: none."""
    return condition("service", "books", "istio.io/WaypointBound")


def condition(kind, name, wanted):
    for one in get(kind, "-n", NS, name)["status"].get("conditions", []):
        if one["type"] == wanted:
            return f"{one['status']} {one['reason']}"
    return ""


def asked(client, host):
    """What books was asked, by name; empty when the client had no answer, and with the text when that is not by books."""
    done = fetch(NS, client, f"http://{host}/cgi-bin/env")
    return done.returncode == 0 and dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line) or {}


def by_the_waypoint(client, host):
    """Headers that Envoy adds, from the waypoint's address, with the address of the client that the tunnel told it; else an error with what came."""
    seen = asked(client, host)
    address = {name: get("pod", "-n", NS, name)["status"]["podIP"] for name in (client, NAME)}
    assert (seen.get("REMOTE_ADDR"), seen.get("HTTP_X_FORWARDED_FOR")) == (address[NAME], address[client]) and seen.get("HTTP_X_REQUEST_ID") and (
        "HTTP_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS" in seen), f"{client} to {host}, with {address}: {seen}"
    return True


def requests():
    log = kubectl("logs", "-n", NS, "books")
    return (log.stdout + log.stderr).count("url:")


def through_a_waypoint(mesh):
    deploy(mesh)
    direct = asked("c1", "books.shop")
    assert direct and "HTTP_X_REQUEST_ID" not in direct, f"without a waypoint: {direct}"
    kubectl("label", "-n", NS, "service/books", f"{USE}={NAME}")
    until("a waypoint that is not there is told", lambda: bound() == "False WaypointIsNotReady", 30)

    start()
    apply(gateway("service"))
    told = {"addresses": [{"type": "Hostname", "value": f"{NAME}.{NS}.svc.cluster.local"},
                          {"type": "IPAddress", "value": get("service", "-n", NS, NAME)["spec"]["clusterIP"]}],
            "conditions": [{"type": "Programmed", "status": "True", "reason": "Programmed", "message": "", "observedGeneration": 1,
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    kubectl("patch", "gateway", "-n", NS, NAME, "--subresource=status", "--type=merge", "-p", json.dumps({"status": told}))
    until("the service's condition", lambda: bound() == "True WaypointAccepted", 30)

    # Both of the waypoint's node and of the service's own, where it would go straight to the pod.
    for client in ("c1", "c2"):
        until(f"{client} by the waypoint", lambda: by_the_waypoint(client, "books.shop"), 30)
        assert "REMOTE_ADDR" not in asked(client, "books.shop/forbidden"), "the waypoint's route is not in force"
    log = kubectl("logs", "-n", NS, NAME).stdout
    address = get("pod", "-n", NS, "c2")["status"]["podIP"]
    assert f"GET /cgi-bin/env 200 src={IDENTITY}default srcip={address}:" in log, f"the client is not told to the waypoint: {log}"

    # Past it, by the pod's address, until a policy lets the waypoint alone in; the waypoint for the pod itself closes that way too.
    pod = f"{get('pod', '-n', NS, 'books')['status']['podIP']}:8080"
    direct = asked("c1", pod)
    assert direct and "HTTP_X_REQUEST_ID" not in direct, f"by the pod's address: {direct}"
    apply(policy("AuthorizationPolicy", "by-waypoint", NS, {"selector": {"matchLabels": {"app": "books"}}, "rules": [
        {"from": [{"source": {"principals": [IDENTITY.removeprefix("spiffe://") + NAME]}}]}]}),
        policy("AuthorizationPolicy", "of-waypoint", NS, {"targetRefs": [{"kind": "Service", "group": "", "name": "books"}], "rules": [
            {"to": [{"operation": {"methods": ["GET"]}}]}]}))
    until("the waypoint alone let in", lambda: not asked("c1", pod) and not asked("c2", pod) and by_the_waypoint("c1", "books.shop"), 30)
    until("the policy's condition", lambda: condition("authorizationpolicy", "of-waypoint", "WaypointAccepted") == "True Accepted", 30)
    apply(gateway("all"))
    kubectl("label", "-n", NS, "pod/books", f"{USE}={NAME}")
    until("the pod by its waypoint", lambda: by_the_waypoint("c1", pod) and by_the_waypoint("c2", pod), 30)

    # Gone, but for the Gateway that says it serves: refused, and nothing that would let a bypass in stops one.
    kubectl("delete", "authorizationpolicy", "-n", NS, "by-waypoint", "of-waypoint")
    kubectl("delete", "pod", "-n", NS, NAME)
    had = requests()
    for _ in range(3):
        for client in ("c1", "c2"):
            for host in ("books.shop", pod):
                assert not asked(client, host), f"{client} reached {host} past a waypoint that is gone"
    assert requests() == had
    start()
    until("by the waypoint again", lambda: all(by_the_waypoint(c, h) for c in ("c1", "c2") for h in ("books.shop", pod)), 60)

    status = get("gateway", "-n", NS, NAME)
    assert status["status"] == told, f"another controller's status was changed: {status['status']}"
    kubectl("delete", "gateway", "-n", NS, NAME)
    until("a waypoint that went is told", lambda: bound() == "False WaypointIsNotReady", 30)
    kubectl("label", "-n", NS, "service/books", f"{USE}-")
    until("no condition without a waypoint", lambda: not bound(), 30)
    kubectl("delete", "-n", NS, "pod/books", f"pod/{NAME}", "service/books", f"service/{NAME}", f"configmap/{NAME}", f"secret/{NAME}",
            "serviceaccount/books", f"serviceaccount/{NAME}")
