# SPDX-License-Identifier: Apache-2.0
"""Every frame that a link carries, as the kernel hands it to packet sockets."""
import contextlib
import socket

import kernel

ALL, RCVBUFFORCE = 0x0003, 33
FRAME = 1 << 17  # what a link without segmentation hands over at once


class Tap:
    def __init__(self, netns, link):
        with kernel.inside(netns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
            self.socket.bind((link, ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, 32 << 20)
        self.socket.setblocking(False)

    def take(self):
        """The frames since the last take."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frames.append(self.socket.recv(FRAME))
        return frames

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
