# SPDX-License-Identifier: Apache-2.0
"""Applications of a test: servers and clients as threads with sockets in a pod's namespace."""
import hashlib
import random
import select
import socket
import struct
import threading
import time

IO_S = 10.0  # a socket operation that takes longer has failed


def plain_ip(ip):
    return ip.removeprefix("::ffff:")


class Server:
    """Accepts on IPv4 and IPv6 and runs handler(connection) for each connection in a thread. peers, locals: (ip, port) of each, in order."""

    def __init__(self, pod, port, handler=None):
        self.pod, self.port, self.handler = pod, port, handler or echo
        self.peers, self.locals, self.connections, self.errors = [], [], [], []
        self.listener = pod.socket(socket.AF_INET6)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind(("::", port))
        self.listener.listen(1024)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            connection.settimeout(None)
            self.locals.append((plain_ip(connection.getsockname()[0]), connection.getsockname()[1]))
            self.connections.append(connection)
            self.peers.append((plain_ip(peer[0]), peer[1]))
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.handler(connection)
        except (OSError, AssertionError) as error:
            self.errors.append(error)
            connection.close()  # whoever was reset keeps no descriptor, or a run of hours has none left

    def forget_closed(self):
        """For runs of hours: what has ended is not kept."""
        self.connections[:] = [connection for connection in self.connections if connection.fileno() >= 0]
        for kept in (self.peers, self.locals, self.errors):
            del kept[:-1000]

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for connection in self.connections:
            connection.close()


# -- handlers

def echo(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    connection.close()


def named(name):
    """Greets with its name, then echoes."""
    def handler(connection):
        connection.sendall(name.encode() + b"\n")
        echo(connection)
    return handler


def hold(connection):
    """Says nothing, reads nothing, until the test ends."""


def count_then_answer(connection):
    """Reads to the end; then, on the half-open connection, answers with length and hash of what came."""
    digest, total = hashlib.sha256(), 0
    while data := connection.recv(1 << 16):
        digest.update(data)
        total += len(data)
    connection.sendall(f"{total} {digest.hexdigest()}\n".encode())
    connection.close()


# -- clients

def connect(pod, ip, port, deadline=IO_S):
    """From the pod. ip decides the family; ::ffff:a.b.c.d is IPv4 from an IPv6 socket."""
    connection = pod.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET)
    connection.settimeout(deadline)
    try:
        connection.connect((ip, port))
    except BaseException:
        connection.close()
        raise
    return connection


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise AssertionError(f"end after {len(data)} of {size} bytes: {data[:100]!r}")
        data += more
    return data


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        line += read_exactly(connection, 1)
    return line.decode().strip()


def read_to_end(connection):
    data = b""
    while more := connection.recv(1 << 16):
        data += more
    return data


def ask(connection, text=b"ping"):
    connection.sendall(text)
    answer = read_exactly(connection, len(text))
    if answer != text:
        raise AssertionError(f"asked {text!r}, answered {answer!r}")


def end_of(connection):
    """How it ends, without a byte more: "reset", "closed" or "open" at the socket's own deadline."""
    try:
        data = connection.recv(1)
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "open"
    if data:
        raise AssertionError(f"a byte came: {data!r}")
    return "closed"


def call(pod, ip, port, text=b"ping", deadline=IO_S):
    """What one question to an echo server gives: "answered", "reset", "closed", "refused" or "timeout"."""
    try:
        with connect(pod, ip, port, deadline) as connection:
            connection.sendall(text)
            answer = b""
            while len(answer) < len(text):
                more = connection.recv(len(text) - len(answer))
                if not more:
                    return f"garbled {answer!r}" if answer else "closed"
                answer += more
            return "answered" if answer == text else f"garbled {answer!r}"
    except ConnectionRefusedError:
        return "refused"
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    except TimeoutError:
        return "timeout"


def reset(connection):
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# -- bulk

class Pattern:
    """A stream of bytes that is the same for the same seed; its hash as far as it was taken."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.block = self.random.randbytes(1 << 20)
        self.digest = hashlib.sha256()

    def take(self):
        """A piece of odd length."""
        begin = self.random.randrange(1 << 19)
        piece = self.block[begin:begin + self.random.randrange(1, 1 << 19)]
        self.digest.update(piece)
        return piece


def send_pattern(connection, seed, size, stalls=0):
    """At least size bytes, then FIN. stalls: so often it stops for 20 ms. Returns (bytes, hash)."""
    pattern, sent, every = Pattern(seed), 0, size // (stalls + 1) + 1
    pause = threading.Event()
    next_stall = every
    while sent < size:
        piece = pattern.take()
        connection.sendall(piece)
        sent += len(piece)
        if sent >= next_stall:
            pause.wait(0.02)
            next_stall += every
    connection.shutdown(socket.SHUT_WR)
    return sent, pattern.digest.hexdigest()


def receive_hashed(connection, stalls=0, size=0):
    """Reads to the end; with stalls it stops for 50 ms so often on the way. Returns (bytes, hash)."""
    digest, got, pause = hashlib.sha256(), 0, threading.Event()
    every = size // (stalls + 1) + 1 if stalls else 0
    next_stall = every
    while data := connection.recv(1 << 18):
        digest.update(data)
        got += len(data)
        if every and got >= next_stall:
            pause.wait(0.05)
            next_stall += every
    return got, digest.hexdigest()


def send_until_stalled(connection, stalled_s=0.5, most=1 << 30):
    """Sends until nobody has taken a byte for stalled_s. Returns the bytes that went in."""
    block, sent = b"x" * (1 << 18), 0
    connection.setblocking(False)
    try:
        while sent < most:
            if not select.select([], [connection], [], stalled_s)[1]:
                return sent
            try:
                sent += connection.send(block)
            except BlockingIOError:
                pass
    finally:
        connection.setblocking(True)
        connection.settimeout(IO_S)
    raise AssertionError(f"{sent} bytes and still no back pressure")


class Thread(threading.Thread):
    """A thread whose result or exception join() hands over."""

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self.function, self.arguments = function, arguments
        self.result = self.error = None
        self.start()

    def run(self):
        try:
            self.result = self.function(*self.arguments)
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def take(self, deadline=60.0):
        end = time.monotonic() + deadline
        self.join(max(0.0, end - time.monotonic()))
        if self.is_alive():
            raise AssertionError(f"{self.function.__name__} did not end within {deadline} s")
        if self.error:
            raise self.error
        return self.result
