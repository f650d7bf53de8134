#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What full handshakes cost the tunnel that accepts them: clients with a certificate of the mesh connect to a pod's 15008, wait for the
tunnel's first frame (it has judged the certificate), and go.

    handshakes.py                        five rounds of three seconds, three clients
    handshakes.py --rounds 1 --secs 10 --clients 4 --workers 1 --json F
    handshakes.py --quick                does everything work? The figures mean nothing

Root, and the release preset's programs (WARREN_BENCH_BUILD names another build). The processor's time is the whole process's, system calls
included; the clients share the machine with it and are not counted."""
import argparse
import json
import multiprocessing
import os
import pathlib
import socket
import statistics
import struct
import sys
import time

from bench_lab import end_cleanly
from cases import process_seconds

import apps
from hostile import PORT, credentials
from world import World

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # no port of a client waits for a time after its connection


def _client(world, tls, start, stop, results):
    """Handshakes until stop; the number of them, and the longest's seconds."""
    pod, server = world.pods.plain, world.pods.server
    start.wait()
    done, longest = 0, 0.0
    while not stop.is_set():
        began = time.monotonic()
        with apps.connect(pod, server.v4, PORT) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            with tls.wrap_socket(raw) as peer:
                if not peer.recv(9):
                    raise AssertionError("the tunnel ended the connection behind the handshake")
        done, longest = done + 1, max(longest, time.monotonic() - began)
    results.put((done, longest))


def one_round(world, tls, options):
    context = multiprocessing.get_context("fork")
    start, stop, results = context.Event(), context.Event(), context.Queue()
    clients = [context.Process(target=_client, args=(world, tls, start, stop, results), daemon=True) for _ in range(options.clients)]
    for client in clients:
        client.start()
    cpu = process_seconds(world.n2.pid)
    start.set()
    time.sleep(options.secs)
    stop.set()
    ends = [results.get(timeout=60) for _ in clients]
    spent = process_seconds(world.n2.pid) - cpu
    for client in clients:
        client.join(30)
    done = sum(end[0] for end in ends)
    return {"handshakes": done, "cpu_seconds": round(spent, 3), "per_cpu_second": round(done / max(spent, 0.01)),
            "slowest_ms": round(1e3 * max(end[1] for end in ends), 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=float, default=3.0, help="of a round")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="worker threads of the tunnels")
    parser.add_argument("--quick", action="store_true", help="one round of half a second")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.secs = 1, 0.5
    if os.geteuid() != 0:
        print("needs root: network namespaces, packet rules", file=sys.stderr)
        return 77
    end_cleanly()
    world, rows = World(by_agent=False, env={"ZTUNNEL_WORKER_THREADS": str(options.workers)}), []
    try:
        world.start()
        tls = credentials(world)
        for _ in range(options.rounds):
            rows.append(one_round(world, tls, options))
            r = rows[-1]
            print(f"{r['handshakes']:>7} handshakes  {r['cpu_seconds']:.2f} CPU s  {r['per_cpu_second']:>6} a CPU second  "
                  f"slowest {r['slowest_ms']} ms", flush=True)
    finally:
        world.close()
    print(f"median {statistics.median(r['per_cpu_second'] for r in rows):.0f} full handshakes a CPU second of the tunnel")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
