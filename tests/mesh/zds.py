# SPDX-License-Identifier: Apache-2.0
"""A node agent's side of ZDS (data-plane contract 8.1 to 8.3): hands pods' namespaces to whoever connects and keeps every answer.

One request and one answer at a time. Several tunnels may be connected; requests go to the newest, as a stock agent's adds do.
"""
import array
import os
import socket
import threading

from waiting import PATIENCE_S, eventually

ANSWER_S = 10.0  # a stock agent waits 5 s; a loaded test machine gets more before a test fails


def _varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, data):
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def add_message(pod, info=True):
    about = field(1, pod.name.encode()) + field(2, pod.namespace.encode()) + field(3, pod.account.encode())
    return field(1, field(1, pod.uid.encode()) + (field(2, about) if info else b""))


def del_message(uid):
    return field(2, field(1, uid.encode()))


def keep_message(uid):
    return field(5, field(1, uid.encode()))


SNAPSHOT_SENT = field(3, b"")
HELLO_V1 = bytes([1 << 3, 1])


def _bytes_field(data, number):
    """The content of a message that is one length-delimited field and nothing else."""
    if not data or data[0] != (number << 3 | 2):
        raise AssertionError(f"not an ack: {data!r}")
    length = shift = 0
    for at, byte in enumerate(data[1:], start=2):
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if len(data) - at != length:
        raise AssertionError(f"not an ack: {data!r}")
    return data[at:]


def ack_error(packet):
    """The error text of WorkloadResponse{ack{error}}, empty for success; anything else is an AssertionError."""
    ack = _bytes_field(packet, 1)
    return _bytes_field(ack, 1).decode() if ack else ""


class Session:
    """One connected tunnel."""

    def __init__(self, connection, hello):
        self.connection, self.hello = connection, hello
        self.lock = threading.Lock()
        self.synced = threading.Event()
        connection.settimeout(ANSWER_S)

    def request(self, message, fd=None):
        """The answer's error text, empty for success."""
        with self.lock:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
            self.connection.sendmsg([message], rights)
            return ack_error(self.connection.recv(4096))

    def ended(self, deadline=PATIENCE_S):
        """The tunnel has closed this session."""
        self.connection.settimeout(deadline)
        try:
            return self.connection.recv(4096) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.connection.close()


class ZdsServer:
    """keep: pods that the snapshot names without a namespace, as an agent that has just been restarted does."""

    def __init__(self, path, pods=(), keep=()):
        self.path, self.pods, self.keep = path, list(pods), list(keep)
        self.sessions, self.answers = [], []
        self.listener = None
        self.open()

    def open(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(8)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                self._snapshot(connection)
            except (OSError, AssertionError) as error:
                self.answers.append(f"session failed: {error}")

    def _snapshot(self, connection):
        connection.settimeout(ANSWER_S)
        session = Session(connection, connection.recv(4096))
        self.sessions.append(session)
        for pod in self.pods:
            self.answers.append(session.request(add_message(pod), pod.fd))
        for pod in self.keep:
            self.answers.append(session.request(keep_message(pod.uid)))
        self.answers.append(session.request(SNAPSHOT_SENT))
        session.synced.set()

    def session(self, number=1):
        """The number-th session that ever was, once it has its snapshot."""
        eventually(lambda: len(self.sessions) >= number and self.sessions[number - 1].synced.is_set(),
                   lambda: f"ZDS session {number}: answers {self.answers}", 10)
        return self.sessions[number - 1]

    def add(self, pod):
        self.pods = [other for other in self.pods if other.uid != pod.uid] + [pod]
        return self.sessions[-1].request(add_message(pod), pod.fd)

    def delete(self, pod):
        self.pods = [other for other in self.pods if other.uid != pod.uid]
        return self.sessions[-1].request(del_message(pod.uid))

    def away(self):
        self.close()

    def back(self):
        self.open()

    def close(self):
        """The agent goes away: nobody listens, sessions end."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        if os.path.exists(self.path):
            os.unlink(self.path)
        for session in self.sessions:
            session.close()
