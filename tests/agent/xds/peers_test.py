#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Both ends of delta xDS against stock gRPC for Python, generated from proto/: a node that is not ours at our server, a control plane that
is not ours at our client. Run by the Python of build/venv (peers.sh); exit 77 where that has no gRPC.

    WARREN_XDS_PEER=build/dev/tests/xds_peer build/venv/bin/python tests/agent/xds/peers_test.py
"""
import concurrent.futures
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import unittest

try:
    import grpc
    import grpc_tools.protoc
except ImportError:
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[3]
PEER = os.environ["WARREN_XDS_PEER"]
ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"
PATIENCE = 20

generated = tempfile.TemporaryDirectory()
INCLUDES = [f"-I{ROOT}", f"-I{pathlib.Path(grpc_tools.__file__).parent / '_proto'}"]
assert grpc_tools.protoc.main(["protoc", *INCLUDES, f"--python_out={generated.name}", f"--grpc_python_out={generated.name}",
                               "proto/xds.proto"]) == 0
sys.path.insert(0, generated.name)
from proto import xds_pb2, xds_pb2_grpc  # noqa: E402


class Program:
    """xds_peer: orders in, lines out."""

    def __init__(self, *args):
        self.process = subprocess.Popen([PEER, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lines = queue.Queue()
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        self.pool.submit(self._read)

    def _read(self):
        for line in self.process.stdout:
            if line.split()[0] in ("port", "resource", "removed", "synced", "ended", "nack", "end"):
                self.lines.put(line.rstrip("\n"))

    def order(self, line):
        self.process.stdin.write(line + "\n")

    def line(self):
        return self.lines.get(timeout=PATIENCE)

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.pool.shutdown()
        self.process.stdout.close()


class Node:
    """A stream of a stock client."""

    def __init__(self, port):
        # Several megabytes and more in one message, as the reference's client takes them.
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", 200 << 20)])
        self.requests = queue.Queue()
        self.responses = xds_pb2_grpc.AggregatedDiscoveryServiceStub(self.channel).DeltaAggregatedResources(
            iter(self.requests.get, None), timeout=PATIENCE)

    def ask(self, node=False, **fields):
        request = xds_pb2.DeltaDiscoveryRequest(**{"type_url": ADDRESS, **fields})
        if node:
            request.node.id = "ztunnel~10.0.0.7~ztunnel-x.istio-system~istio-system.svc.cluster.local"
        self.requests.put(request)

    def take(self, ack=True, error=None):
        response = next(self.responses)
        if error is not None:
            self.ask(type_url=response.type_url, response_nonce=response.nonce, error_detail=xds_pb2.Status(message=error))
        elif ack:
            self.ask(type_url=response.type_url, response_nonce=response.nonce)
        return {r.name: (r.version, r.resource.value.decode()) for r in response.resources}, list(response.removed_resources), response

    def close(self):
        self.requests.put(None)
        self.channel.close()


class OurServer(unittest.TestCase):
    def setUp(self):
        self.server = Program("server")
        self.addCleanup(self.server.close)
        self.port = int(self.server.line().split()[1])

    def node(self):
        node = Node(self.port)
        self.addCleanup(node.close)
        return node

    def say(self, *lines):
        for line in lines:
            self.server.order(line)

    def ready(self, *lines):
        """Publishes, and comes back once streams are taken."""
        self.say(*lines, "publish", "nack")
        self.assertEqual(self.server.line(), "end")
        for _ in range(1000):
            probe = Node(self.port)
            probe.ask(node=True)
            try:
                probe.take()
                return
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
            finally:
                probe.close()
        self.fail("the server takes no stream")

    def test_wildcard_with_changes_nack_and_resume(self):
        self.ready("set a 1 alpha", "set b 1 beta")
        node = self.node()
        node.ask(node=True)
        got, removed, response = node.take()
        self.assertEqual(got, {"a": ("1", "alpha"), "b": ("1", "beta")})
        self.assertEqual(response.type_url, ADDRESS)
        self.assertEqual(response.resources[0].resource.type_url, ADDRESS)
        self.assertEqual(removed, [])
        self.say("set b 2 beta2", "erase a", "publish")
        got, removed, _ = node.take(error="b: not understood")
        self.assertEqual((got, removed), ({"b": ("2", "beta2")}, ["a"]))
        self.say("set c 1 gamma", "publish")
        got, removed, _ = node.take()
        self.assertEqual((got, removed), ({"c": ("1", "gamma")}, []))
        self.say("nack")
        self.assertEqual(self.server.line(), "nack b: not understood")
        again = self.node()
        again.ask(node=True, initial_resource_versions={"b": "2", "c": "0", "gone": "1"})
        got, removed, _ = again.take()
        self.assertEqual((got, removed), ({"c": ("1", "gamma")}, ["gone"]))

    def test_on_demand_as_the_reference_asks(self):
        self.ready("set uid-1 1 x net/10.0.0.1", "set uid-2 1 y net/10.0.0.2")
        node = self.node()
        node.ask(node=True, resource_names_subscribe=["*"], resource_names_unsubscribe=["*"])
        self.assertEqual(node.take()[:2], ({}, []))
        node.ask(resource_names_subscribe=["net/10.0.0.1", "net/10.0.0.9"])
        got, removed, response = node.take()
        self.assertEqual((got, removed), ({"uid-1": ("1", "x")}, ["net/10.0.0.9"]))
        self.assertEqual(list(response.resources[0].aliases), ["net/10.0.0.1"])
        self.say("set uid-9 1 z net/10.0.0.9", "erase uid-1", "publish")
        self.assertEqual(node.take()[:2], ({"uid-9": ("1", "z")}, ["uid-1"]))

    def test_bad_nodes_are_refused(self):
        self.ready()
        for node_id, code in (("", grpc.StatusCode.INVALID_ARGUMENT), ("pirate~1.2.3.4~x~y", grpc.StatusCode.INVALID_ARGUMENT)):
            node = self.node()
            node.requests.put(xds_pb2.DeltaDiscoveryRequest(node=xds_pb2.Node(id=node_id), type_url=ADDRESS))
            with self.assertRaises(grpc.RpcError) as raised:
                node.take()
            self.assertEqual(raised.exception.code(), code)


class Stream:
    def __init__(self, requests):
        self.requests = queue.Queue()
        self.responses = queue.Queue()
        self.source = requests

    def read(self):
        try:
            for request in self.source:
                self.requests.put(request)
        except grpc.RpcError:
            pass

    def take(self):
        return self.requests.get(timeout=PATIENCE)

    def send(self, type_url, nonce, resources=(), removed=()):
        response = xds_pb2.DeltaDiscoveryResponse(type_url=type_url, nonce=nonce, removed_resources=removed)
        for name, version, body in resources:
            resource = response.resources.add(name=name, version=version)
            resource.resource.type_url = type_url
            resource.resource.value = body
        self.responses.put(response)


class Control(xds_pb2_grpc.AggregatedDiscoveryServiceServicer):
    def __init__(self):
        self.streams = queue.Queue()
        self.pool = concurrent.futures.ThreadPoolExecutor(8)

    def DeltaAggregatedResources(self, requests, context):
        stream = Stream(requests)
        self.pool.submit(stream.read)
        self.streams.put(stream)
        yield from iter(stream.responses.get, None)


class OurClient(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.address = f"unix:{folder.name}/xds.sock"
        self.control = Control()
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        xds_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self.control, server)
        server.add_insecure_port(self.address)
        server.start()
        self.addCleanup(lambda: server.stop(0).wait(PATIENCE))

    def start(self, *more):
        client = Program("client", self.address, *more)
        self.addCleanup(client.close)
        stream = self.control.streams.get(timeout=PATIENCE)
        self.addCleanup(stream.responses.put, None)
        return client, stream

    def test_wildcard_ack_nack_and_resume(self):
        client, stream = self.start()
        first = stream.take()
        self.assertEqual((first.type_url, stream.take().type_url), (ADDRESS, AUTHORIZATION))
        self.assertEqual(list(first.resource_names_subscribe), [])
        stream.send(ADDRESS, "n1", [("a", "1", b"alpha"), ("b", "1", b"beta")])
        self.assertEqual([client.line() for _ in range(3)], ["resource a alpha", "resource b beta", f"synced {ADDRESS}"])
        ack = stream.take()
        self.assertEqual((ack.response_nonce, ack.HasField("error_detail")), ("n1", False))
        stream.send(ADDRESS, "n2", [("bad-1", "1", b"x"), ("c", "1", b"gamma")], ["a"])
        self.assertEqual([client.line() for _ in range(2)], ["resource c gamma", "removed a"])
        nack = stream.take()
        self.assertEqual((nack.response_nonce, nack.error_detail.message), ("n2", "bad-1: is bad"))
        stream.responses.put(None)
        self.assertEqual(client.line(), "ended Complete")
        again = self.control.streams.get(timeout=PATIENCE)
        self.addCleanup(again.responses.put, None)
        self.assertEqual(dict(again.take().initial_resource_versions), {"b": "1", "c": "1"})

    def test_on_demand(self):
        client, stream = self.start("on-demand")
        first = stream.take()
        self.assertEqual((list(first.resource_names_subscribe), list(first.resource_names_unsubscribe)), (["*"], ["*"]))
        stream.take()
        client.order("subscribe net/10.0.0.1")
        self.assertEqual(list(stream.take().resource_names_subscribe), ["net/10.0.0.1"])
        stream.send(ADDRESS, "n1", [("uid-1", "1", b"x")])
        self.assertEqual(client.line(), "resource uid-1 x")


if __name__ == "__main__":
    done = unittest.main(verbosity=2, exit=False)
    # Not by the interpreter's own end: the stock library's threads sometimes hang in it, when everything has passed.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if done.result.wasSuccessful() else 1)
