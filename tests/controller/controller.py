# SPDX-License-Identifier: Apache-2.0
"""One warren-controller as a process on a folder of the test's, and nodes that are stock gRPC."""
import contextlib
import http.client
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time

try:
    import grpc
    import grpc_tools.protoc
except ImportError:
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("WARREN_CONTROLLER") or str(ROOT / "build/dev/bin/warren-controller")
ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"
PATIENCE = 20

generated = tempfile.TemporaryDirectory()
INCLUDES = [f"-I{ROOT}", f"-I{pathlib.Path(grpc_tools.__file__).parent / '_proto'}"]
assert grpc_tools.protoc.main(["protoc", *INCLUDES, f"--python_out={generated.name}", f"--grpc_python_out={generated.name}",
                               *(f"proto/{name}.proto" for name in ("xds", "ca", "workload", "authorization"))]) == 0
sys.path.insert(0, generated.name)
from proto import ca_pb2, ca_pb2_grpc, workload_pb2, xds_pb2, xds_pb2_grpc  # noqa: E402


def eventually(ready, what, patience=PATIENCE):
    """The first true value of ready(), asked until the deadline."""
    end = time.monotonic() + patience
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.005)


class Controller:
    def __init__(self, folder, launcher=(), **settings):
        self.folder = pathlib.Path(folder)
        self.mesh = self.folder / "mesh"
        self.mesh.mkdir(exist_ok=True)
        self.state = self.folder / "state"
        self.launcher = launcher
        self.settings = {"state": self.state, "source_folder": self.mesh, "xds_listen": "127.0.0.1:0", "http_health": "127.0.0.1:0",
                         "http_metrics": "127.0.0.1:0", "http_admin": "127.0.0.1:0", "log_format": "json", "dumpable": "true", **settings}
        self.process = None
        self.runs = 0

    def flags(self):
        return [f"--{name.replace('_', '-')}={value}" for name, value in self.settings.items()]

    def write(self, name, text):
        """As a careful editor: beside, then renamed."""
        beside = self.mesh / f".{name}"
        beside.write_text(text)
        beside.rename(self.mesh / name)

    def start(self, ready=True):
        self.runs += 1
        self.log_path = self.folder / f"log.{self.runs}"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([*self.launcher, BINARY, *self.flags()], stdout=log, stderr=subprocess.STDOUT,
                                            env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"})
        eventually(lambda: self.said("warren-controller is up") or self.ended(), "the controller is up")
        if self.process.poll() is not None:
            raise AssertionError(self.log_path.read_text())
        self.ports = {line["what"]: line.get("port") or int(line["address"].rpartition(":")[2])
                      for line in self.lines() if line["message"] == "listening"}
        self.settings["xds_listen"] = f"127.0.0.1:{self.ports['xds']}"  # the same after a restart
        if ready:
            eventually(lambda: self.get("health", "/ready")[0] == 200, "ready")
        return self

    def ended(self):
        return self.process.poll() is not None

    def lines(self):
        return [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]

    def said(self, message):
        return any(line["message"] == message for line in self.lines())

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            if self.process.wait(PATIENCE) != 0:
                raise AssertionError(self.log_path.read_text())

    def get(self, what, path):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.ports[what], timeout=PATIENCE)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def status(self):
        return json.loads(self.get("admin", "/status")[1])

    def metric(self, name):
        for line in self.get("metrics", "/metrics")[1].splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {name}")

    def command(self, *words, code=0):
        done = subprocess.run([BINARY, *words, f"--state={self.state}"], capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != code:
            raise AssertionError(f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def token(self, name, node, uses=1):
        return self.command("token", "create", name, "--node", node, "--uses", str(uses))[0].strip()

    def root(self):
        return (self.state / "public/root-cert.pem").read_bytes()

    def audit(self):
        return [json.loads(line) for line in (self.state / "audit.log").read_text().splitlines()]

    def channel(self, certificate=None):
        """certificate: (chain, key) of a node."""
        chain, key = certificate or (None, None)
        credentials = grpc.ssl_channel_credentials(self.root(), key, chain)
        return grpc.secure_channel(f"localhost:{self.ports['xds']}", credentials,
                                   options=[("grpc.max_receive_message_length", 200 << 20), ("grpc.use_local_subchannel_pool", 1)])


def bearer(token):
    return (("authorization", f"Bearer {token}"),) if token else ()


def make_request(folder, name):
    """(key, certificate request), by openssl."""
    key, csr = pathlib.Path(folder) / f"{name}.key", pathlib.Path(folder) / f"{name}.csr"
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x",
                    "-keyout", key, "-out", csr], check=True, capture_output=True, timeout=PATIENCE)
    return key.read_bytes(), csr.read_text()


class Certificates:
    """What a node asks of the certificate service."""

    def __init__(self, controller, certificate=None, token=None):
        self.channel = controller.channel(certificate)
        self.stub = ca_pb2_grpc.IstioCertificateServiceStub(self.channel)
        self.metadata = bearer(token)

    def ask(self, csr, identity=None):
        request = ca_pb2.IstioCertificateRequest(csr=csr)
        if identity:
            request.metadata.update({"ImpersonatedIdentity": identity})
        return list(self.stub.CreateCertificate(request, timeout=PATIENCE, metadata=self.metadata).cert_chain)

    def close(self):
        self.channel.close()


def names_of(pem):
    text = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=pem, capture_output=True, text=True, check=True,
                          timeout=PATIENCE).stdout
    return [part.strip() for part in text.splitlines()[1].split(",")]


def join(controller, folder, node):
    """A node's own certificate, by a bootstrap token: (chain, key)."""
    key, csr = make_request(folder, node)
    certificates = Certificates(controller, token=controller.token(f"token-{node}", node))
    try:
        chain = certificates.ask(csr, f"spiffe://cluster.local/node/{node}")
    finally:
        certificates.close()
    return "".join(chain[:-1]).encode(), key


class Node:
    """Subscribes to everything and keeps it, as an agent does; connects again with what it holds."""

    def __init__(self, controller, name, certificate=None, token=None):
        self.controller, self.name, self.certificate, self.token = controller, name, certificate, token
        self.held = {ADDRESS: {}, AUTHORIZATION: {}}  # name -> (version, bytes)
        self.changed = threading.Condition()
        self.updates = []  # (type, names set, names removed) of each response
        self.closing = False
        self.failures = []
        self.refusal = None  # what to NACK the next response with
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.closing:
            try:
                self._stream()
            except grpc.RpcError as error:
                self.failures.append(error)
            if not self.closing:
                time.sleep(0.05)

    def _stream(self):
        self.requests = queue.Queue()
        self.channel = self.controller.channel(self.certificate)
        try:
            responses = xds_pb2_grpc.AggregatedDiscoveryServiceStub(self.channel).DeltaAggregatedResources(
                iter(self.requests.get, None), metadata=bearer(self.token))
            for type_url in (ADDRESS, AUTHORIZATION):
                request = xds_pb2.DeltaDiscoveryRequest(type_url=type_url, initial_resource_versions={
                    name: version for name, (version, _) in self.held[type_url].items()})
                request.node.id = f"ztunnel~10.0.0.7~ztunnel-{self.name}.istio-system~istio-system.svc.cluster.local"
                request.node.metadata.update({"NODE_NAME": self.name})
                self.requests.put(request)
            for response in responses:
                self._take(response)
        finally:
            self.requests.put(None)
            self.channel.close()

    def _take(self, response):
        answer = xds_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        with self.changed:
            held = self.held[response.type_url]
            for resource in response.resources:
                held[resource.name] = (resource.version, resource.resource.value)
            for name in response.removed_resources:
                held.pop(name, None)
            self.updates.append((response.type_url, [r.name for r in response.resources], list(response.removed_resources)))
            if self.refusal:
                answer.error_detail.message, self.refusal = self.refusal, None
            self.changed.notify_all()
        self.requests.put(answer)

    def wait(self, ready, what):
        with self.changed:
            if not self.changed.wait_for(lambda: ready(self), PATIENCE):
                raise AssertionError(f"{self.name}: not within {PATIENCE} s: {what}; has {sorted(self.held[ADDRESS])}, {self.failures}")

    def synced(self):
        self.wait(lambda node: {u[0] for u in node.updates} == {ADDRESS, AUTHORIZATION}, "the first sync")
        return self

    def addresses(self):
        return set(self.held[ADDRESS])

    def workload(self, name):
        return workload_pb2.Address.FromString(self.held[ADDRESS][f"Kubernetes//Pod/{name}"][1]).workload

    def close(self):
        self.closing = True
        self.channel.close()
        self.thread.join(PATIENCE)
