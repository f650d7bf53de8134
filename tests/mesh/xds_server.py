# SPDX-License-Identifier: Apache-2.0
"""A delta-xDS server as a process of its own, run by the Python of build/venv, told what to do by JSON lines on its stdin (see xds.py).

    xds_server.py SOCKET GENERATED       GENERATED: a folder with proto/*_pb2.py

Wildcard and on-demand subscriptions (Kubernetes contract 5.3), aliases "network/ip", endpoints with their service, workloads of the client's
node, and the group "warren:services". Everything that clients say comes out on stdout as JSON lines.
"""
import concurrent.futures
import ipaddress
import json
import queue
import sys
import threading

import grpc
from google.protobuf import json_format

sys.path.insert(0, sys.argv[2])
from proto import authorization_pb2, workload_pb2, xds_pb2  # noqa: E402

ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"
GROUP = "warren:services"
MESSAGES = {ADDRESS: workload_pb2.Address, AUTHORIZATION: authorization_pb2.Authorization}

lock = threading.RLock()
state = {ADDRESS: {}, AUTHORIZATION: {}}  # name -> Entry
streams = set()
mode = {"silent": False, "refuse": False}
generation = 0
started = 0


def say(**event):
    with lock:
        print(json.dumps(event), flush=True)


class Entry:
    def __init__(self, type_url, name, body, raw):
        global generation
        generation += 1
        self.name, self.version = name, str(generation)
        self.aliases, self.groups, self.node, self.service = set(), set(), None, False
        if raw is not None:
            self.body = bytes.fromhex(raw)
            return
        message = json_format.ParseDict(body, MESSAGES[type_url]())
        self.body = message.SerializeToString()
        if type_url == AUTHORIZATION:
            return
        if message.HasField("workload"):
            w = message.workload
            self.aliases = {f"{w.network}/{ipaddress.ip_address(a)}" for a in w.addresses}
            self.groups, self.node = set(w.services), w.node
        else:
            self.service = True
            self.aliases = {f"{a.network}/{ipaddress.ip_address(a.address)}" for a in message.service.addresses}


def resolve(name):
    """The names of what a name of type Address brings."""
    entries = state[ADDRESS]
    if name == GROUP:
        return {e.name for e in entries.values() if e.service}
    found = {e.name for e in entries.values() if e.name == name or name in e.aliases}
    return found | {e.name for e in entries.values() if e.groups & found}


class Stream:
    def __init__(self, number):
        self.number = number
        self.out = queue.Queue()
        self.types = {}
        self.node = None
        self.nonce = 0

    def request(self, r):
        say(event="request", stream=self.number, type=r.type_url, subscribe=list(r.resource_names_subscribe),
            unsubscribe=list(r.resource_names_unsubscribe), versions=dict(r.initial_resource_versions), nonce=r.response_nonce,
            error=r.error_detail.message, node=json_format.MessageToDict(r.node) if r.HasField("node") else None)
        with lock:
            if r.HasField("node"):
                self.node = r.node.metadata["NODE_NAME"] if "NODE_NAME" in r.node.metadata else None
            first = r.type_url not in self.types
            if first:
                wild = not r.resource_names_subscribe and "*" not in r.resource_names_unsubscribe
                self.types[r.type_url] = {"wild": wild, "held": dict(r.initial_resource_versions), "asked": set(),
                                          "names": set() if wild else self.listed(r.initial_resource_versions), "owed": True}
            t = self.types[r.type_url]
            names = set(r.resource_names_subscribe) - {"*"}
            t["names"] |= names
            t["asked"] |= names
            t["names"] -= set(r.resource_names_unsubscribe)
            wanted = self.wanted(r.type_url)
            for name in r.resource_names_unsubscribe:
                if name not in wanted:
                    t["held"].pop(name, None)
            t["owed"] = t["owed"] or bool(names)
            self.push(r.type_url)

    @staticmethod
    def listed(versions):
        """What a list of held names asks for: not what is there for the group's sake."""
        if GROUP not in versions:
            return set(versions)
        return {n for n, v in versions.items() if not v or not (n in state[ADDRESS] and state[ADDRESS][n].service)}

    def wanted(self, type_url):
        t = self.types[type_url]
        if t["wild"]:
            return set(state[type_url])
        local = {e.name for e in state[ADDRESS].values() if self.node and e.node == self.node}
        return local.union(*(resolve(name) for name in t["names"]))

    def push(self, type_url):
        t = self.types.get(type_url)
        if t is None or mode["silent"]:
            return
        again = set().union(*(resolve(name) for name in t["asked"])) if not t["wild"] else set()
        changed = [state[type_url][n] for n in sorted(self.wanted(type_url)) if t["held"].get(n) != state[type_url][n].version or n in again]
        removed = [n for n in t["held"] if n not in state[type_url] and (t["wild"] or not resolve(n))]
        removed += [n for n in sorted(t["asked"]) if n != GROUP and not resolve(n) and n not in removed]
        t["asked"] = set()
        if not changed and not removed and not t["owed"]:
            return
        t["owed"] = False
        for name in removed:
            t["held"].pop(name, None)
        self.nonce += 1
        response = xds_pb2.DeltaDiscoveryResponse(type_url=type_url, nonce=str(self.nonce), removed_resources=removed)
        for e in changed:
            t["held"][e.name] = e.version
            one = response.resources.add(name=e.name, version=e.version, aliases=sorted(e.aliases))
            one.resource.type_url, one.resource.value = type_url, e.body
        self.out.put(response)


def serve(requests, context):
    global started
    with lock:
        if mode["refuse"]:
            context.abort(grpc.StatusCode.UNAVAILABLE, "told to refuse")
        started += 1
        stream = Stream(started)
        streams.add(stream)
    say(event="stream", stream=stream.number)

    def read():
        try:
            for request in requests:
                stream.request(request)
        except grpc.RpcError:
            pass
        stream.out.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        while (response := stream.out.get()) is not None:
            yield response
    finally:
        with lock:
            streams.discard(stream)
        say(event="end", stream=stream.number)


def command(c):
    with lock:
        for type_url, name, body, raw in c.get("set", []):
            state[type_url][name] = Entry(type_url, name, body, raw)
        for type_url, name in c.get("remove", []):
            state[type_url].pop(name, None)
        mode.update({key: c[key] for key in mode if key in c})
        if c.get("end"):
            for stream in list(streams):
                stream.out.put(None)
        for stream in list(streams):
            for type_url in (ADDRESS, AUTHORIZATION):
                stream.push(type_url)
    say(event="done", number=c["number"])


def main():
    handler = grpc.method_handlers_generic_handler("envoy.service.discovery.v3.AggregatedDiscoveryService", {
        "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(
            serve, xds_pb2.DeltaDiscoveryRequest.FromString, lambda m: m.SerializeToString())})
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8),
                         options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((handler,))
    # What it serves first, then clients: one that comes back must not meet a server that knows nothing.
    command(json.loads(sys.stdin.readline()))
    server.add_insecure_port("unix:" + sys.argv[1])
    server.start()
    say(event="up")
    for line in sys.stdin:
        command(json.loads(line))
    server.stop(0)


main()
