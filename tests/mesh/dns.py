# SPDX-License-Identifier: Apache-2.0
"""Just enough of DNS (RFC 1035) to ask a question and to answer one."""
import ipaddress
import socket
import struct
import threading

A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
ANYWHERE = ("192.0.2.53", 53)  # where pods send questions; the packet rules lead them elsewhere


def _name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"


def question(name, kind, number=1):
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + _name(name) + struct.pack(">2H", kind, 1)


def _skip_name(data, at):
    while data[at]:
        if data[at] & 0xC0:
            return at + 2
        at += 1 + data[at]
    return at + 1


def parse(answer):
    """(code, addresses, time to live of the first)."""
    _, flags, questions, answers, _, _ = struct.unpack(">6H", answer[:12])
    at, found, lives = 12, set(), []
    for _ in range(questions):
        at = _skip_name(answer, at) + 4
    for _ in range(answers):
        at = _skip_name(answer, at)
        kind, _, life, length = struct.unpack(">2HIH", answer[at:at + 10])
        if kind in (A, AAAA):
            found.add(str(ipaddress.ip_address(answer[at + 10:at + 10 + length])))
            lives.append(life)
        at += 10 + length
    return flags & 15, found, lives[0] if lives else None


def ask(pod, name, kind=A, tcp=False):
    packet = question(name, kind)
    with pod.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as asker:
        asker.settimeout(10)
        asker.connect(ANYWHERE)
        asker.sendall((struct.pack(">H", len(packet)) if tcp else b"") + packet)
        return parse(asker.recv(65535)[2 if tcp else 0:])


def resolver(folder, text):
    """The command before a program that makes it see this /etc/resolv.conf."""
    path = folder / "resolv.conf"
    path.write_text(text)
    return ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(path))


class Upstream:
    """A name server that knows one name; each answer leaves after a delay, with a time to live."""

    def __init__(self, netns, ip, name, address, delay=0.0, life=60):
        self.netns, self.name, self.address, self.asked = netns, name, ipaddress.ip_address(address), []
        self.delay, self.life = delay, life
        self.socket = netns.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ip, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                packet, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            if not packet:  # closed
                return
            self.asked.append(peer[0])
            end = _skip_name(packet, 12) + 4
            known = packet[12:end] == _name(self.name) + struct.pack(">2H", A, 1)
            head = packet[:2] + struct.pack(">5H", 0x8180 | (NOERROR if known else NXDOMAIN), 1, int(known), 0, 0)
            record = b"\xc0\x0c" + struct.pack(">2HIH", A, 1, self.life, 4) + self.address.packed
            answer = head + packet[12:end] + (record if known else b"")
            if self.delay:
                threading.Timer(self.delay, self._send, (answer, peer)).start()
            else:
                self._send(answer, peer)

    def _send(self, answer, peer):
        try:
            self.socket.sendto(answer, peer)
        except OSError:  # closed
            pass

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
