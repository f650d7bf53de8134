#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many sockets in a process of their own, for tests that need more than one process may open.

    many.py serve PORT            accepts; echoes; closes when its peer has closed
    many.py hold PORT             accepts; says nothing, reads nothing
    many.py idle IP PORT COUNT    connects so often, asks each once, prints "open", then holds them
"""
import resource
import select
import socket
import sys


def serve(port, echo):
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", port))
    listener.listen(4096)
    poll, open_ = select.epoll(), {}
    poll.register(listener, select.EPOLLIN)
    print("listening", flush=True)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                connection, _ = listener.accept()
                open_[connection.fileno()] = connection
                if echo:
                    poll.register(connection, select.EPOLLIN)
                continue
            try:
                data = open_[fd].recv(1 << 16)
                if data:
                    open_[fd].sendall(data)
            except OSError:
                data = b""
            if not data:
                poll.unregister(fd)
                open_.pop(fd).close()


def idle(ip, port, count):
    open_ = []
    for _ in range(count):
        connection = socket.create_connection((ip, port), timeout=20)
        connection.sendall(b"x")
        if connection.recv(1) != b"x":
            raise SystemExit("not answered")
        open_.append(connection)
    print("open", flush=True)
    select.select([], [], [])


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1] == "idle":
        idle(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        serve(int(sys.argv[2]), sys.argv[1] == "serve")
