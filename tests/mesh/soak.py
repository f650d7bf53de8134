#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mixed load for a long time while policies, workloads, pods, certificates and revocation lists come and go (tools/test-long.sh soak).

    soak.py [--seconds 1800] [--memory]     WARREN_ZTUNNEL names the program, for example one with a sanitizer

Fails when a tunnel ends with anything but 0 (a sanitizer's report does that), when a byte is wrong, when a kind of load gets nothing
through, or, with --memory, when a tunnel's resident memory grows by more than 1 MB in ten minutes after a third of the time. Needs root.
"""
import argparse
import collections
import os
import pathlib
import random
import resource
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import apps  # noqa: E402
from flows import FlowReader  # noqa: E402
from mesh import principal  # noqa: E402
from world import World  # noqa: E402

GROWTH_BYTES_PER_S = (1 << 20) / 600
BULK = 8 << 20
CHURN = ("mesh", "revocation", "watch")  # without it the load proves little: a failure of the test's own ends the run


class Soak:
    def __init__(self, seconds):
        self.world = World(env={"SECRET_TTL": "60s", "WARREN_HALF_CLOSED_TIMEOUT": "5s"})
        self.end = threading.Event()
        self.seconds = seconds
        self.counts, self.wrong = collections.Counter(), []
        self.samples = {"n1": [], "n2": []}
        self.servers = []
        self.writing = threading.Lock()  # of the mesh file

    # -- load

    def forever(self, name, function):
        def run():
            while not self.end.is_set():
                try:
                    self.counts[f"{name}: {function()}"] += 1
                except (OSError, AssertionError) as error:  # policies cut at will; what must not happen goes into wrong
                    if name in CHURN and not self.end.is_set():
                        self.wrong.append(f"{name}: {error!r}")
                        return
                    self.counts[f"{name}: {type(error).__name__}"] += 1
        return apps.Thread(run)

    def call(self):
        p = self.world.pods
        source, ip, port = random.choice((
            (p.client, p.server.v4, 7000), (p.client, p.server.v6, 7000), (p.client, "10.77.99.1", 80), (p.plain, p.server.v4, 7000),
            (p.near, p.server.v6, 7001), (p.client, p.plain.v4, 7000), (p.other, p.near.v4, 7000), (p.client, p.other.v4, 7000)))
        result = apps.call(source, ip, port, random.randbytes(random.randrange(1, 5000)))
        if result.startswith("garbled"):
            self.wrong.append(f"call {source.name} {ip}:{port}: {result}")
        return result.split(" ", maxsplit=1)[0]

    def bulk(self):
        seed = random.randrange(1 << 30)
        with apps.connect(self.world.pods.client, self.world.pods.server.v4, 7002, 20) as connection:
            sent, wanted = apps.send_pattern(connection, seed, BULK)
            answer = apps.read_to_end(connection).decode()
        if answer and answer != f"{sent} {wanted}\n":
            self.wrong.append(f"bulk of {sent}: {answer}")
        return "answered" if answer else "cut"

    def abort(self):
        connection = apps.connect(self.world.pods.client, self.world.pods.server.v6, 7000)
        connection.sendall(b"x" * 100_000)
        if random.random() < 0.5:
            apps.reset(connection)
            return "reset"
        connection.settimeout(6)
        connection.recv(1000)
        connection.close()
        return "closed with bytes unread"

    # -- churn

    def change(self):
        w = self.world
        with self.writing:
            which = random.random()
            name = f"churn-{random.randrange(5)}"
            if which < 0.4:
                who = random.choice((w.pods.other, w.pods.near))
                w.mesh.policies.pop(name, None)
                for record in w.mesh.workloads.values():
                    if f"default/{name}" in record["authorizationPolicies"]:
                        record["authorizationPolicies"].remove(f"default/{name}")
                if random.random() < 0.7:
                    w.mesh.policy(name, "Deny", [[[{"principals": [principal(who)]}], [{"destinationPorts": [7001]}]]], pods=[w.pods.server])
            else:
                for i in range(20):
                    number = random.randrange(500)
                    fake = {**w.mesh.workloads["server"], "uid": f"Kubernetes//Pod/default/fake-{number}", "name": f"fake-{number}", "node": "far",
                            "workloadIps": [f"10.99.{number // 250}.{number % 250}"], "services": {}, "authorizationPolicies": []}
                    if i % 2:
                        w.mesh.workloads[f"fake-{number}"] = fake
                    else:
                        w.mesh.workloads.pop(f"fake-{number}", None)
            w.mesh.write()
        self.end.wait(0.5)
        return "written"

    def pod(self):
        w = self.world
        agent = w.agents["n2"]
        agent.delete(w.pods.other)
        self.end.wait(1)
        error = agent.add(w.pods.other)
        self.end.wait(4)
        return error or "replaced"

    def revocation(self):
        self.world.ca.revoke([random.randrange(1 << 60) for _ in range(10)], self.world.folder / "crl.pem")
        self.end.wait(5)
        return "written"

    def watch(self):
        for name, tunnel in self.world.tunnels.items():
            self.samples[name].append((time.monotonic(), tunnel.resident_bytes()))
            tunnel.metrics()
            tunnel.config_dump()
        self.end.wait(2)
        return "seen"

    # -- the run

    def run(self):
        w = self.world
        crl = w.folder / "crl.pem"
        w.ca.revoke([], crl)
        w.env["CRL_PATH"] = str(crl)
        for node in ("n1", "n2"):
            path = str(w.folder / f"{node}.flows")
            reader = w.keep(FlowReader(path))
            reader.flows = collections.deque(maxlen=1000)
            w.overrides[node] = {"WARREN_FLOW_SOCKET": path}
        self.servers = [w.server(pod, 7000) for pod in (w.pods.server, w.pods.near, w.pods.other, w.pods.plain)]
        self.servers += [w.server(w.pods.server, 7001), w.server(w.pods.server, 7002, apps.count_then_answer)]
        w.mesh.service("web", 1, [w.pods.server, w.pods.near], {"80": 7000})
        w.start()
        work = [("call", self.call)] * 6 + [("bulk", self.bulk)] * 2 + [
            ("abort", self.abort), ("mesh", self.change), ("pod", self.pod), ("revocation", self.revocation), ("watch", self.watch)]
        threads = [self.forever(name, function) for name, function in work]
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline and all(tunnel.running() for tunnel in w.tunnels.values()) and not self.wrong:
            self.end.wait(1)
            for server in self.servers:
                server.forget_closed()
        self.end.set()
        for thread in threads:
            thread.take(40)
        for name, tunnel in w.tunnels.items():
            if not tunnel.running():
                self.wrong.append(f"{name} ended with {tunnel.process.returncode}:\n{tunnel.log_tail()}")
                continue
            self.counts[f"{name}: renewals"] = int(tunnel.metric("warren_certificate_events_total", event="issued"))
            self.counts[f"{name}: flows lost"] = int(tunnel.metric("warren_flow_feed_flows_total", outcome="lost"))

    def growth(self):
        """Bytes a second after a third of the time, by each tunnel: least squares, which one sample does not turn."""
        out = {}
        for name, samples in self.samples.items():
            part = samples[len(samples) // 3:]
            mean_t = sum(t for t, _ in part) / len(part)
            mean_m = sum(m for _, m in part) / len(part)
            spread = sum((t - mean_t) ** 2 for t, _ in part)
            out[name] = sum((t - mean_t) * (m - mean_m) for t, m in part) / spread if spread else 0.0
        return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("needs root: network namespaces, packet rules")
        return 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soak, problems = Soak(options.seconds), []
    try:
        soak.run()
    finally:
        try:
            soak.world.close()
        except AssertionError as error:
            problems.append(str(error))
    for key, count in sorted(soak.counts.items()):
        print(f"{count:10} {key}")
    problems += soak.wrong
    for kind in ("call", "bulk", "mesh", "pod", "watch"):
        good = {"call": "answered", "bulk": "answered", "mesh": "written", "pod": "replaced", "watch": "seen"}[kind]
        if not soak.counts[f"{kind}: {good}"]:
            problems.append(f"{kind}: nothing got through")
    for name, rate in soak.growth().items():
        print(f"{name}: {soak.samples[name][-1][1] / (1 << 20):.1f} MiB resident, {rate * 600 / (1 << 20):+.2f} MiB in ten minutes")
        if options.memory and rate > GROWTH_BYTES_PER_S:
            problems.append(f"{name} grows")
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
