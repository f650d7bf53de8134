# SPDX-License-Identifier: Apache-2.0
"""page.py NETNS PORT FD: leads connections of a listening socket, inherited from the lab and on the machine's loopback, to 127.0.0.1:PORT
of a node's namespace: the node page in a browser of this machine."""
import pathlib
import socket
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from kernel import connect  # noqa: E402

MOST = threading.Semaphore(64)


def pump(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def lead(client, node):
    with MOST, client, node:
        back = threading.Thread(target=pump, args=(node, client), daemon=True)
        back.start()
        pump(client, node)
        back.join()


def main(netns, port, listener):
    while True:
        client = listener.accept()[0]
        try:
            node = connect(netns, ("127.0.0.1", port))  # by this thread alone: it changes its namespace for a moment
            node.settimeout(None)
        except OSError:
            client.close()
            continue
        threading.Thread(target=lead, args=(client, node), daemon=True).start()


main(sys.argv[1], int(sys.argv[2]), socket.socket(fileno=int(sys.argv[3])))
