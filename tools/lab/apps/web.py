# SPDX-License-Identifier: Apache-2.0
"""The shop's front end: each page asks redis, PostgreSQL and nginx over connections of its own, by name. Port 8080; / is the page."""
import http.client
import http.server
import json
import socket
import socketserver
import struct

PATIENCE = 10


def redis(*words):
    with socket.create_connection(("cart", 6379), PATIENCE) as connection:
        connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
        answer = connection.makefile("rb").readline().strip()
    if answer[:1] != b":":
        raise OSError(f"redis answered {answer!r}")
    return int(answer[1:])


def exactly(file, size):
    data = file.read(size)
    if len(data) != size:
        raise OSError("PostgreSQL closed the connection")
    return data


def postgres(query):
    """Rows as lists of text: the simple query of protocol 3, for a user who is trusted."""
    with socket.create_connection(("catalog", 5432), PATIENCE) as connection:
        hello = struct.pack("!i", 196608) + b"user\0shop\0database\0postgres\0\0"
        text = query.encode() + b"\0"
        connection.sendall(struct.pack("!i", len(hello) + 4) + hello + b"Q" + struct.pack("!i", len(text) + 4) + text)
        file, rows, ready = connection.makefile("rb"), [], 0
        while ready < 2:  # once after the hello, once after the query
            kind, size = struct.unpack("!ci", exactly(file, 5))
            body = exactly(file, size - 4)
            if kind == b"E":
                raise OSError(f"PostgreSQL answered {body!r}")
            if kind == b"D":
                rows.append(row(body))
            ready += kind == b"Z"
        connection.sendall(b"X" + struct.pack("!i", 4))
    return rows


def row(body):
    values, at = [], 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        size = struct.unpack("!i", body[at:at + 4])[0]
        values.append(None if size < 0 else body[at + 4:at + 4 + size].decode())
        at += 4 + max(size, 0)
    return values


def nginx(path):
    connection = http.client.HTTPConnection("assets", 80, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"nginx answered {answer.status}")
    return text.strip()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            page = {"visits": redis("INCR", "visits"), "banner": nginx("/banner.txt"),
                    "products": {name: int(price) for name, price in postgres("SELECT name, price FROM products ORDER BY name")}}
            status = 200
        except (OSError, http.client.HTTPException) as error:
            page, status = {"error": f"{type(error).__name__}: {error}"}, 502
        text = json.dumps(page).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 1024

    def server_bind(self):
        """Without looking up what this machine is called: where /etc/hosts does not say, that asks a name server, which a lab does not have."""
        socketserver.TCPServer.server_bind(self)


Server(("::", 8080), Page).serve_forever()
