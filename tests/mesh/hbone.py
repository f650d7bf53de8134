# SPDX-License-Identifier: Apache-2.0
"""A small HBONE client that may say anything: TLS by Python, HTTP/2 by hand (RFC 9113, RFC 7541), for requests no honest peer sends."""
import ssl
import struct

import apps

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
HEADER_TABLE_SIZE = 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# RFC 7541 appendix A: the statuses that have an index of their own, and the name's first index.
STATUS_INDEX = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
# RFC 7541 appendix B: the digits; five bits each, then six.
HUFFMAN_DIGITS = {(5, n): str(n) for n in range(3)} | {(6, 0x19 + n): str(3 + n) for n in range(7)}


class Refused(Exception):
    """The peer ended TLS or TCP."""


def context(authority, certificate=None):
    """certificate: (chain, key) files; none: shows no certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(str(authority.certificate))
    made.set_alpn_protocols(["h2"])
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    if certificate:
        made.load_cert_chain(str(certificate[0]), str(certificate[1]))
    return made


def _text(data):
    return bytes([len(data)]) + data  # length below 127, not Huffman coded


def header_block(headers):
    """Literals without indexing, names spelled out."""
    return b"".join(b"\0" + _text(name.encode()) + _text(value.encode()) for name, value in headers)


def frame(kind, flags=0, stream=0, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def frame_types(data):
    """Of the whole frames at the beginning of data."""
    found = []
    while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
        found.append(data[3])
        data = data[9 + int.from_bytes(data[:3], "big"):]
    return found


def _huffman_digits(data):
    bits, count, out = 0, 0, ""
    for byte in data:
        for shift in range(7, -1, -1):
            bits, count = bits << 1 | byte >> shift & 1, count + 1
            if (count, bits) in HUFFMAN_DIGITS:
                out += HUFFMAN_DIGITS[count, bits]
                bits = count = 0
    return out


def status_of(block):
    """The status, which comes first in every response (RFC 9113 8.3)."""
    return status_and_rest(block)[0]


def status_and_rest(block):
    """The status, and what the block says besides."""
    while block[0] & 0xE0 == 0x20:  # change of the table's size
        block = block[1:]
    first = block[0]
    if first & 0x80:
        return STATUS_INDEX[first & 0x7F], block[1:]
    index = first & (0x3F if first & 0x40 else 0x0F)
    if index not in STATUS_INDEX:
        raise AssertionError(f"not a status first: {block!r}")
    length, text = block[1] & 0x7F, block[2:2 + (block[1] & 0x7F)]
    return int(_huffman_digits(text) if block[1] & 0x80 else text[:length].decode()), block[2 + length:]


class Hbone:
    def __init__(self, pod, ip, tls, port=15008):
        self.buffer, self.next_stream, self.goaway = b"", 1, False
        raw = apps.connect(pod, ip, port)
        try:
            self.socket = tls.wrap_socket(raw)
            # Table size 0: every answer spells its status out.
            self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", HEADER_TABLE_SIZE, 0)))
            while self._read_frame()[0] != SETTINGS:
                pass
            self.socket.sendall(frame(SETTINGS, ACK, 0, b""))
        except (OSError, EOFError) as error:  # TLS errors are OSErrors; a client certificate is judged after the handshake's end
            raw.close()
            raise Refused(str(error)) from None

    def _fill(self, size):
        while len(self.buffer) < size:
            more = self.socket.recv(1 << 16)
            if not more:
                raise EOFError("end of the connection")
            self.buffer += more

    def _read_frame(self):
        self._fill(9)
        length = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big")
        self._fill(9 + length)
        body, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
        if kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, body))
        self.goaway = self.goaway or kind == GOAWAY
        return kind, flags, stream, body

    def request(self, authority, method="CONNECT", more=()):
        """(status, stream). "reset" instead of a status when the stream is reset without one. answer: (flags, block) of the status."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        headers = [(":method", method)]
        if method != "CONNECT":
            headers += [(":scheme", "https"), (":path", "/")]
        if authority is not None:
            headers.append((":authority", authority))
        self.socket.sendall(frame(HEADERS, END_HEADERS, stream, header_block([*headers, *more])))
        while True:
            kind, flags, of, body = self._read_frame()
            if of == stream and kind == HEADERS:
                self.answer = flags, body
                return status_of(body), stream
            if of == stream and kind == RST_STREAM:
                return "reset", stream

    def ask(self, stream, text):
        self.socket.sendall(frame(DATA, 0, stream, text))
        answer = b""
        while len(answer) < len(text):
            kind, _, of, body = self._read_frame()
            if of == stream and kind == DATA:
                answer += body
            if of == stream and kind == RST_STREAM:
                raise AssertionError("reset")
        return answer

    def close(self):
        self.socket.close()
