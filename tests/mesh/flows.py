# SPDX-License-Identifier: Apache-2.0
"""The node agent's end of the flow feed (proto/README.md): a reader of FlowBatch messages, decoded by hand, no generated code."""
import ipaddress
import os
import socket
import struct
import threading

from waiting import PATIENCE_S, eventually

DIRECTION = {1: "outbound", 2: "inbound"}
PATH = {1: "direct", 2: "tunnel", 3: "passthrough", 4: "plaintext"}
VERDICT = {1: "allowed", 2: "denied", 3: "not judged"}
PROOF = {1: "address", 2: "kernel", 3: "certificate"}
CLOSE = {1: "finished", 2: "reset by source", 3: "reset by destination", 4: "timeout", 5: "connect failed", 6: "tls failed",
         7: "policy denied", 8: "policy changed", 9: "workload gone", 10: "certificate revoked", 11: "drained", 12: "error"}


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """[(number, value)]: whole numbers, and bytes of what has a length."""
    out, at = [], 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            raise AssertionError(f"wire type {kind} in {data!r}")
        out.append((number, value))
    return out


def _address(data):
    of = dict(fields(data))
    return str(ipaddress.ip_address(of.get(1, b""))), of.get(2, 0)


def flow(data):
    of = dict(fields(data))
    source, destination, decision = dict(fields(of.get(5, b""))), dict(fields(of.get(6, b""))), dict(fields(of.get(11, b"")))
    out = {
        "node": of.get(1, b"").decode(), "cookie": of.get(2, 0), "direction": DIRECTION.get(of.get(3)), "path": PATH.get(of.get(4)),
        "src_identity": source.get(1, b"").decode(), "src_proof": PROOF.get(source.get(2)), "src_name": source.get(5, b"").decode(),
        "dst_identity": destination.get(1, b"").decode(), "dst_proof": PROOF.get(destination.get(2)), "dst_name": destination.get(5, b"").decode(),
        "service": of.get(10, b"").decode(), "verdict": VERDICT.get(decision.get(1)), "policy": decision.get(2, b"").decode(),
        "rule": decision.get(3), "reason": decision.get(4, b"").decode(), "start": of.get(13), "ended": 14 in of,
        "close": CLOSE.get(of.get(15)), "detail": of.get(16, b"").decode(), "to_destination": of.get(17, 0), "to_source": of.get(18, 0),
    }
    for name, number in (("source", 7), ("requested", 8), ("destination", 9)):
        out[name] = _address(of[number]) if number in of else None
    return out


class FlowReader:
    """Listens at path; flows: what came, in order. A reader that was closed may be opened again."""

    def __init__(self, path):
        self.path = path
        self.flows, self.batches, self.peers = [], [], []
        self.lost = 0
        self.listener = None
        self.open()

    def open(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(4)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            _, uid, _ = struct.unpack("iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid not in (0, os.geteuid()):
                peer.close()
                continue
            self.peers.append(peer)
            threading.Thread(target=self._read, args=(peer,), daemon=True).start()

    def _read(self, peer):
        sequence = 0
        while True:
            try:
                data = peer.recv(1 << 17)
            except OSError:
                return
            if not data:
                return
            batch = fields(data)
            of = dict(batch)
            sequence += 1
            if of.get(1) != sequence:
                self.flows.append({"error": f"batch {of.get(1)} after {sequence - 1}"})
            self.lost = of.get(2, 0)
            self.flows += [flow(value) for number, value in batch if number == 3]

    def matching(self, **match):
        return [one for one in list(self.flows) if all(one.get(key) == value for key, value in match.items())]

    def wait(self, count=1, deadline=PATIENCE_S, **match):
        def enough():
            found = self.matching(**match)
            return found if len(found) >= count else None
        return eventually(enough, lambda: f"{count} flow(s) {match} of\n" + "\n".join(map(str, self.flows)), deadline)

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for peer in self.peers:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            peer.close()
        self.peers = []
