#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What peers that mean harm cost a tunnel and the pods beside the one they attack: each attack of tests/mesh/hostile.py against a real
tunnel, with its memory, its CPU, what it counted, and a neighbour's latency before and meanwhile; and that of a ping over loopback, which
passes no tunnel: what of it is the machine's, with the attackers on it.

    hostile.py                                  every attack, ten seconds for each figure
    hostile.py --attacks half_open,ping --secs 5 --connections 50000
    hostile.py --quick                          does everything work? The figures mean nothing

Root, and the release preset's programs (WARREN_BENCH_BUILD names another build). The attackers share the machine with the tunnel: they run
when nobody else wants a processor, and the kernel's work for their packets is in a neighbour's latency all the same. Exit code 1 when memory or CPU exceed what docs/benchmarks.md promises."""
import argparse
import json
import multiprocessing
import os
import pathlib
import resource
import sys
import time

from bench_lab import BENCH, end_cleanly, processes_for
from cases import last_json, process_seconds

import hostile
from waiting import eventually
from world import World

MOST_BYTES, MOST_CORES = 64 << 20, 1.0
HELD = {"slow_handshakes": 1, "half_open": 1, "never_read": 1 / 500}  # of --connections
PORT, ENDLESS = 7000, 7003


def peak_bytes(pid):
    """The most that was resident since the last call."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            peak = int(line.split()[1]) << 10
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    return peak


def _attacker(tls, world, name, count, stop, results):
    # Peers are on machines of their own: they take what processor time is left here.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    p = world.pods
    attack = hostile.Attack(tls, p.plain, p.server, (p.server.v4, ENDLESS), count)
    thread = hostile.start(attack, name)
    results.put(None)
    stop.wait()
    attack.stop()
    thread.take(60)
    results.put((attack.thrown, attack.ended))


class Lab:
    def __init__(self, workers):
        self.world = w = World(by_agent=False, env={"ZTUNNEL_WORKER_THREADS": str(workers)})
        try:
            # So many connections from one address: its namespace alone is asked.
            w.pods.plain.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535")
            w.server(w.pods.server, ENDLESS, hostile.endless)
            w.start()
            self.tls = hostile.credentials(w)
            self.served = []
            for pod in (w.pods.other, w.pods.plain):
                log = w.folder / f"bench-serve-{pod.name}"
                self.served.append(pod.start(BENCH, "serve", "--listen", f"[::]:{PORT}", env={}, log=log))
                eventually(lambda: "listening" in log.read_text(), "a server to ping", 20)
        except BaseException:
            self.close()
            raise

    def close(self):
        for server in getattr(self, "served", []):
            server.terminate()
            server.wait()
        self.world.close()

    def neighbour(self, seconds):
        """Of a connection between other pods of the same two tunnels."""
        p = self.world.pods
        return self.ping(p.client, p.other.v4, seconds)

    def bystander(self, seconds):
        """Of one that no tunnel sees."""
        return self.ping(self.world.pods.plain, "127.0.0.1", seconds)

    def ping(self, client, address, seconds):
        """(p99 in microseconds, how many failed)."""
        for lasting in (seconds, 1.0, 5.0):  # a busy machine may not get to one answer in the fifth of a second of --quick
            out = last_json(client.run(BENCH, "load", "request", f"{address}:{PORT}", "--connections", "1", "--bytes", "64",
                                         "--seconds", str(lasting), deadline=lasting + 60))
            if out["ops"] > 0:
                break
        return out["p99_us"], out["failed"]

    def counted(self):
        wanted = ("warren_early_denies_total", "warren_limit_refusals_total")
        return {"/".join(labels.values()): value for name, labels, value in self.world.n2.metrics() if name in wanted}

    def attack(self, name, options):
        tunnel = self.world.n2
        alone, bystander_alone = self.neighbour(options.secs)[0], self.bystander(options.secs)[0]
        before, counts = tunnel.resident_bytes(), self.counted()
        peak_bytes(tunnel.pid)
        wanted = max(int(options.connections * HELD.get(name, 0)), 1)
        processes = max(processes_for(wanted), 1)
        context = multiprocessing.get_context("fork")
        stop, results = context.Event(), context.Queue()
        children = [context.Process(target=_attacker, args=(self.tls, self.world, name, wanted // processes, stop, results), daemon=True)
                    for _ in range(processes)]
        for child in children:
            child.start()
        for _ in children:
            results.get(timeout=60)
        began, cpu = time.monotonic(), process_seconds(tunnel.pid)
        try:
            meanwhile, failed = self.neighbour(options.secs)
        finally:
            spent, lasted = process_seconds(tunnel.pid) - cpu, time.monotonic() - began
            bystander, _ = self.bystander(options.secs)
            stop.set()
        ends = [results.get(timeout=90) for _ in children]
        for child in children:
            child.join(30)
        now = self.counted()
        return {"attack": name, "thrown": sum(end[0] for end in ends), "ended": sum(end[1] for end in ends),
                "memory_mb": round((peak_bytes(tunnel.pid) - before) / 2**20, 1), "cores": round(spent / lasted, 2),
                "neighbour_p99_us": round(meanwhile), "alone_p99_us": round(alone), "neighbour_failed": failed,
                "bystander_p99_us": round(bystander), "bystander_alone_p99_us": round(bystander_alone),
                "counted": {key: int(value - counts.get(key, 0)) for key, value in now.items() if value != counts.get(key, 0)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", default=",".join(hostile.ATTACKS), help="comma-separated; default: all")
    parser.add_argument("--secs", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--connections", type=int, default=50_000, help="held at once where an attack holds them (streams that never read: a fiftieth)")
    parser.add_argument("--workers", type=int, default=2, help="worker threads of the tunnels")
    parser.add_argument("--quick", action="store_true", help="a fifth of a second, 500 connections")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    if options.quick:
        options.secs, options.connections = 0.2, 500
    names = options.attacks.split(",")
    for name in names:
        if name not in hostile.ATTACKS:
            parser.error(f"no attack '{name}'; there are {', '.join(hostile.ATTACKS)}")
    if os.geteuid() != 0:
        print("needs root: network namespaces, packet rules", file=sys.stderr)
        return 77
    end_cleanly()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lab, rows = Lab(options.workers), []
    try:
        for name in names:
            rows.append(lab.attack(name, options))
            r = rows[-1]
            print(f"{name:18} {r['thrown']:>8} thrown {r['ended']:>7} ended  {r['memory_mb']:>7.1f} MB  {r['cores']:.2f} cores  "
                  f"neighbour p99 {r['neighbour_p99_us']} us (alone {r['alone_p99_us']}), {r['neighbour_failed']} failed; "
                  f"without tunnel {r['bystander_p99_us']} us (alone {r['bystander_alone_p99_us']})  {r['counted']}", flush=True)
    finally:
        lab.close()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
    over = [r["attack"] for r in rows if r["memory_mb"] * 2**20 > MOST_BYTES or r["cores"] > MOST_CORES + 0.05]
    print(f"over {MOST_BYTES >> 20} MB or {MOST_CORES} core: {', '.join(over) or 'none'}")
    return 1 if over and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
