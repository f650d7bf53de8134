# SPDX-License-Identifier: Apache-2.0
"""What a node that was broken into might try, run by the Python of build/venv (it has gRPC): asks the certificate service at ADDRESS for
IDENTITY, showing the node certificate in FILE (as warren-agent keeps it). Prints "issued", or the refusal's code and text.

    ask_certificate.py ADDRESS ROOTS FILE IDENTITY
"""
import pathlib
import subprocess
import sys

import grpc
from google.protobuf import struct_pb2

address, roots, file, identity = sys.argv[1:]
text = pathlib.Path(file).read_text()
key, rest = text.split("-----BEGIN CERTIFICATE-----", 1)
chain = "-----BEGIN CERTIFICATE-----" + rest.split("# roots\n", 1)[0]
csr = subprocess.run(["openssl", "req", "-new", "-key", "/dev/stdin", "-subj", "/CN=x"], input=key, capture_output=True, text=True, check=True,
                     timeout=10).stdout


def field(number, value):
    """Of a protobuf message: bytes with their length before them."""
    size, out = len(value), bytes([number << 3 | 2])
    while size > 0x7F:
        out, size = out + bytes([size & 0x7F | 0x80]), size >> 7
    return out + bytes([size]) + value


metadata = struct_pb2.Struct()
metadata.update({"ImpersonatedIdentity": identity})
request = field(1, csr.encode()) + field(4, metadata.SerializeToString())
credentials = grpc.ssl_channel_credentials(pathlib.Path(roots).read_bytes(), key.encode(), chain.encode())
options = [("grpc.ssl_target_name_override", "istiod.istio-system.svc")]
with grpc.secure_channel(address, credentials, options) as channel:
    try:
        channel.unary_unary("/istio.v1.auth.IstioCertificateService/CreateCertificate")(request, timeout=10)
        print("issued")
    except grpc.RpcError as error:
        print(error.code().name, error.details())
