# SPDX-License-Identifier: Apache-2.0
"""A stock client of the mesh, run by the Python of build/venv (it has gRPC): subscribes to all addresses at ADDRESS over TLS verified by
ROOTS, showing TOKEN. Prints the size of the first response and whether NEEDLE is in it, or the refusal's code and text.

    ask_mesh.py ADDRESS ROOTS TOKEN NEEDLE
"""
import pathlib
import sys
import threading

import grpc

address, roots, token, needle = sys.argv[1:]


def field(number, value):
    """Of a protobuf message: bytes with their length before them."""
    size, out = len(value), bytes([number << 3 | 2])
    while size > 0x7F:
        out, size = out + bytes([size & 0x7F | 0x80]), size >> 7
    return out + bytes([size]) + value


# DeltaDiscoveryRequest: node (id), type_url; no names is the wildcard.
request = field(1, field(1, b"ztunnel~10.0.0.1~z.istio-system~istio-system.svc.cluster.local")) + field(2, b"type.googleapis.com/istio.workload.Address")
answered = threading.Event()


def requests():
    yield request
    answered.wait(20)


with grpc.secure_channel(address, grpc.ssl_channel_credentials(pathlib.Path(roots).read_bytes())) as channel:
    stream = channel.stream_stream("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources")
    try:
        response = next(stream(requests(), metadata=[("authorization", f"Bearer {token}")] if token else [], timeout=20))
        print("found" if needle.encode() in response else "missing", len(response))
    except grpc.RpcError as error:
        print(error.code().name, error.details())
    answered.set()
