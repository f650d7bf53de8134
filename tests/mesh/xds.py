# SPDX-License-Identifier: Apache-2.0
"""A control plane for a test: xds_server.py as a process on a Unix socket, told what to serve; and the mesh written to it, not to a file."""
import base64
import ipaddress
import json
import os
import pathlib
import subprocess
import threading

from mesh import Mesh
from waiting import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("WARREN_VENV_PYTHON") or str(ROOT / "build/venv/bin/python")
ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"
_missing = None


def missing():
    """Why there can be no server here; None when there can. For unittest.skipIf."""
    global _missing
    if _missing is None:
        _missing = "build/venv has no grpcio: run tests/agent/xds/peers.sh"
        if os.access(PYTHON, os.X_OK) and subprocess.run([PYTHON, "-c", "import grpc_tools"], check=False,
                                                         capture_output=True).returncode == 0:
            _missing = ""
    return _missing or None


class XdsServer:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.socket = str(self.folder / "xds.sock")
        generated = self.folder / "generated"
        generated.mkdir()
        subprocess.run([PYTHON, "-m", "grpc_tools.protoc", f"--proto_path={ROOT}", f"--python_out={generated}",
                        *(f"proto/{name}.proto" for name in ("workload", "authorization", "xds"))], check=True)
        self.generated = str(generated)
        self.process = None
        self.number = 0
        self.served = {}  # (type, name) -> JSON text or raw
        self.lock = threading.Lock()
        self.start()

    def start(self):
        """Also again after kill(): a server that has forgotten everything but what it serves."""
        self.events, self.done = [], set()
        with open(self.folder / "xds.log", "ab") as log:
            self.process = subprocess.Popen([PYTHON, "-B", str(pathlib.Path(__file__).with_name("xds_server.py")), self.socket, self.generated],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        threading.Thread(target=self._read, args=(self.process, self.events, self.done), daemon=True).start()
        again, self.served = self.served, {}
        self._serve(again)
        eventually(lambda: self.of("up"), lambda: (self.folder / "xds.log").read_text(), 20)

    def _read(self, process, events, done):
        for line in process.stdout:
            event = json.loads(line)
            with self.lock:
                done.add(event["number"]) if event["event"] == "done" else events.append(event)

    def tell(self, **command):
        self.number += 1
        number = self.number
        self.process.stdin.write(json.dumps({"number": number, **command}) + "\n")
        self.process.stdin.flush()
        eventually(lambda: number in self.done, lambda: (self.folder / "xds.log").read_text(), 20)

    def _serve(self, wanted):
        """From now on this and nothing else; one push."""
        changed = [(*key, None, text[4:]) if text.startswith("raw:") else (*key, json.loads(text), None)
                   for key, text in wanted.items() if self.served.get(key) != text]
        removed = [key for key in self.served if key not in wanted]
        self.served = dict(wanted)
        self.tell(set=changed, remove=removed)

    def serve(self, resources):
        """resources: {(type, name): a dict as protobuf's JSON, or bytes}."""
        self._serve({key: "raw:" + body.hex() if isinstance(body, bytes) else json.dumps(body) for key, body in resources.items()})

    def of(self, event, **match):
        with self.lock:
            return [e for e in self.events if e["event"] == event and match.items() <= e.items()]

    def end_streams(self):
        self.tell(end=True)

    def kill(self):
        self.process.kill()
        self.process.wait()
        if os.path.exists(self.socket):
            os.unlink(self.socket)

    def close(self):
        self.kill()


def _ip(text):
    return base64.b64encode(ipaddress.ip_address(text).packed).decode()


def _network_address(text):
    network, ip = text.split("/", 1)
    return {"network": network, "address": _ip(ip)}


def _ports(ports):
    return [{"servicePort": int(service), "targetPort": int(target)} for service, target in ports.items()]


def _gateway(gateway):
    name, rest = gateway["destination"].split("/", 1)
    try:
        where = {"address": _network_address(f"{name}/{ipaddress.ip_address(rest)}")}
    except ValueError:
        where = {"hostname": {"namespace": name, "hostname": rest}}
    return {**where, "hboneMtlsPort": gateway["hboneMtlsPort"]}


def workload(w):
    out = {"uid": w["uid"], "name": w["name"], "namespace": w["namespace"], "addresses": [_ip(ip) for ip in w["workloadIps"]],
           "serviceAccount": w.get("serviceAccount", ""), "node": w.get("node", ""), "network": w.get("network", ""),
           "tunnelProtocol": "HBONE" if w.get("protocol") == "HBONE" else "NONE", "canonicalName": w.get("canonicalName", ""),
           "workloadName": w.get("workloadName", ""), "authorizationPolicies": w.get("authorizationPolicies", []),
           "status": w.get("status", "Healthy").upper(),
           "services": {name: {"ports": _ports(ports)} for name, ports in w["services"].items()}}
    if "waypoint" in w:
        out["waypoint"] = _gateway(w["waypoint"])
    return {"workload": out}


def service(s):
    out = {"name": s["name"], "namespace": s["namespace"], "hostname": s["hostname"],
           "addresses": [_network_address(vip) for vip in s["vips"]], "ports": _ports(s["ports"])}
    if "waypoint" in s:
        out["waypoint"] = _gateway(s["waypoint"])
    return {"service": out}


_SCOPES = {"Global": "GLOBAL", "Namespace": "NAMESPACE", "WorkloadSelector": "WORKLOAD_SELECTOR"}


def _match(match):
    def value(one):
        return {key.lower(): ({} if key == "Presence" else text) for key, text in one.items()} if isinstance(one, dict) else one
    return {key: [value(one) for one in values] for key, values in match.items()}


def authorization(p):
    return {"name": p["name"], "namespace": p["namespace"], "scope": _SCOPES[p["scope"]], "action": p["action"].upper(),
            "rules": [{"clauses": [{"matches": [_match(m) for m in clause]} for clause in rule]} for rule in p["rules"]]}


class XdsMesh(Mesh):
    """The same mesh, from a control plane. extra: resources beside it, as serve() takes them."""

    def __init__(self, server):
        super().__init__("")
        self.server = server
        self.extra = {}

    def write(self):
        self.generation += 1
        marker = f"generation-{self.generation}"
        stamp = {"uid": "lab//generation", "name": marker, "namespace": "lab", "workloadIps": ["192.0.2.1"], "services": {}}
        resources = {(ADDRESS, w["uid"]): workload(w) for w in [*self.workloads.values(), stamp]}
        resources |= {(ADDRESS, f"{s['namespace']}/{s['hostname']}"): service(s) for s in self.services.values()}
        resources |= {(AUTHORIZATION, f"{p['namespace']}/{p['name']}"): authorization(p) for p in self.policies.values()}
        self.server.serve(resources | self.extra)
        return marker
