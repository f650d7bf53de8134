# SPDX-License-Identifier: Apache-2.0
"""bulk.py serve PORT: takes bytes and answers how many, once the other end has finished. bulk.py send HOST PORT SECONDS: sends so long and
prints the answer. bulk.py say HOST PORT TEXT: sends the text and prints the answer. bulk.py hold HOST PORT: sends a byte each 20 ms until the connection ends, then prints how and when (CLOCK_REALTIME).
Numbers alone: the demo reads rates from the agent."""
import socket
import sys
import threading
import time


def serve(port):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    while True:
        threading.Thread(target=take, args=(listener.accept()[0],), daemon=True).start()


def take(connection):
    buffer, total = bytearray(1 << 20), 0
    with connection:
        try:
            while size := connection.recv_into(buffer):
                total += size
            connection.sendall(b"%d\n" % total)
        except OSError:
            pass


def send(host, port, seconds):
    block = bytes(1 << 20)
    with socket.create_connection((host, port), 10) as connection:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        print(connection.makefile().readline().strip())


def say(host, port, text):
    with socket.create_connection((host, port), 10) as connection:
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)
        print(connection.makefile().readline().strip() or "closed without an answer")


def hold(host, port):
    with socket.create_connection((host, port), 10) as connection:
        print(f"open {connection.getsockname()[1]}", flush=True)
        connection.settimeout(0.02)
        while True:
            try:
                connection.sendall(b".")
                if not connection.recv(1):
                    how = "closed"
                    break
            except TimeoutError:
                continue
            except OSError as error:
                how = error.strerror
                break
        print(f"ended {time.time():.6f} {how}", flush=True)


COMMANDS = {"serve": lambda port: serve(int(port)), "send": lambda host, port, seconds: send(host, int(port), float(seconds)),
            "say": lambda host, port, text: say(host, int(port), text), "hold": lambda host, port: hold(host, int(port))}
try:
    COMMANDS[sys.argv[1]](*sys.argv[2:])
except OSError as error:
    sys.exit(error.strerror or str(error))
