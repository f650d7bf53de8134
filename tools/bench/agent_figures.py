#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of the node agent by itself: memory, state per connection, enrolment, leaks, live verdicts, flows lost.

    agent_figures.py [--only memory,demand,connections,enrolment,churn,reset,lost] [--json FILE]
    agent_figures.py --quick           does everything work? Small numbers that mean nothing

Root, and the release preset's programs.
"""
import argparse
import contextlib
import json
import os
import pathlib
import socket
import statistics
import sys
import time

from bench_lab import PORT, BenchLab, end_cleanly, processes_for
from compare import resident

import apps  # of tests/mesh, whose folder bench_lab put on the path
from mesh import principal
from waiting import eventually

WAIT_S = 30.0


def agent_of(lab):
    return lab.world.agents["n1"]


def timed(condition, what, began, deadline=WAIT_S):
    """Milliseconds from began until condition() holds."""
    eventually(condition, what, deadline)
    return (time.monotonic() - began) * 1e3


# -- memory

IDLE_S = 25  # what only the start needed is given back by then


def memory(options):
    """The agent of a node with thirty pods in a mesh of 10,000 workloads."""
    pods, workloads = (4, 200) if options.quick else (30, 10_000)

    def prepare(world):
        entry_a_line(world)
        pattern = world.mesh.workloads["server"]
        for i in range(workloads):
            world.mesh.workloads[f"w{i}"] = {**pattern, "uid": f"Kubernetes//Pod/default/w{i}", "name": f"w{i}", "node": "elsewhere",
                                             "workloadIps": [f"10.{100 + i // 62500}.{i // 250 % 250}.{i % 250}"]}

    lab = BenchLab(more=tuple((f"more{i}", 1, "other") for i in range(pods - 3)), relay=False, serving=(), prepare=prepare)
    with contextlib.closing(lab):
        time.sleep(0 if options.quick else IDLE_S)
        status = agent_of(lab).status()
        return {"pods": len(status["pods"]), "workloads": workloads, "resident MB": round(resident(agent_of(lab).process.pid) / 1e6, 1),
                "tunnel resident MB": round(lab.world.n1.resident_bytes() / 1e6, 1), "maps MB": round(map_bytes(status) / 1e6, 2),
                "pairs judged": status["tables"]["verdict_pairs"]}


def map_bytes(status):
    return sum(one["bytes"] for one in status["kernel"]["maps"])


# Filled by whoever reads /proc while connections are counted, this program among them.
OF_READING = {"proc_inode_cache", "dentry", "lsm_inode_cache"}


def slab_bytes():
    """Objects in use, whatever slabs are kept for the next ones."""
    rows = [line.split() for line in pathlib.Path("/proc/slabinfo").read_text(encoding="ascii").splitlines()[2:]]
    return sum(int(row[1]) * int(row[3]) for row in rows if row[0] not in OF_READING)


# -- on demand

def entry_a_line(world):
    """How a large mesh has to be written: one sequence in brackets of more than a megabyte is refused."""
    write = world.mesh.write_text
    world.mesh.write_text = lambda text: write("".join(
        f"{kind}:\n" + "".join(f"- {json.dumps(one)}\n" for one in entries) for kind, entries in json.loads(text).items() if entries))


def large(world, workloads, services):
    """A mesh of so many beside the lab's own pods, ten endpoints a service."""
    pods = world.mesh.workloads
    entry_a_line(world)
    for i in range(services):
        world.mesh.service(f"s{i}", 0, [], {"80": 8080})["vips"] = [f"/10.{64 + i // 62500}.{i // 250 % 250}.{i % 250}"]
    for i in range(workloads):
        pods[f"w{i}"] = {"uid": f"Kubernetes//Pod/default/w{i}", "name": f"w{i}", "namespace": "default", "node": f"elsewhere-{i % 1000}",
                         "serviceAccount": f"a{i % 500}", "trustDomain": "cluster.local", "protocol": "HBONE",
                         "workloadIps": [f"10.{100 + i // 62500}.{i // 250 % 250}.{i % 250}"],
                         "services": {f"default/s{i % services}.default.svc.cluster.local": {"80": 8080}}}


def demand(options):
    """A tunnel that asks record by record, behind an agent with a large mesh: memory, and what an unknown destination costs once. The agent
    reads a file here, so its peak is the file's."""
    workloads, services, turns = (500, 50, 5) if options.quick else (100_000, 10_000, 200)

    def prepare(world):
        world.env |= {"XDS_ON_DEMAND": "true", "WARREN_XDS_SERVICES": "true", "WARREN_XDS_UNUSED": "100ms"}
        large(world, workloads, services)

    lab = BenchLab(relay=False, serving=(), prepare=prepare)
    with contextlib.closing(lab):
        world, tunnel = lab.world, lab.world.n1
        target = world.pods.server
        world.server(target, PORT)
        miss, known = [], []

        def call():
            began = time.perf_counter()
            connection = apps.connect(world.pods.client, target.v4, PORT)
            apps.ask(connection)
            took = (time.perf_counter() - began) * 1e3
            connection.close()
            return took

        call()  # opens the tunnel to the peer
        for _ in range(turns):
            eventually(lambda: tunnel.metric("warren_xds_asked_names") == 0, "the record is given back", WAIT_S)
            miss.append(call())
            known.append(call())
        missed = tunnel.metric("warren_xds_lookups_total", outcome="miss")
        if missed < turns:
            raise AssertionError(f"{missed} misses in {turns} turns")
        agent = agent_of(lab).process.pid
        return {"workloads": workloads, "services": services, "agent resident MB": round(resident(agent) / 1e6, 1),
                "agent peak MB, with its file": round(peak(agent) / 1e6, 1), "tunnel resident MB": round(tunnel.resident_bytes() / 1e6, 1),
                "tunnel peak MB": round(peak(tunnel.pid) / 1e6, 1), "miss p50 ms": round(statistics.median(miss), 3),
                "known p50 ms": round(statistics.median(known), 3),
                "a miss costs, p50 ms": round(statistics.median(a - b for a, b in zip(miss, known)), 3)}


def peak(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmHWM of {pid}")


# -- connections

def connections(options):
    """What an open direct connection adds to the kernel's memory: in maps, and in slabs beyond what a plain one takes there."""
    count = 500 if options.quick else options.connections
    lab = BenchLab(relay=False, serving=("near", "neighbour"), processes=processes_for(count))
    with contextlib.closing(lab):
        agent, targets, out = agent_of(lab), lab.targets(), {"connections": count}
        out["maps MB, none open"] = round(map_bytes(agent.status()) / 1e6, 2)
        taken = {}
        for name in ("plain same node", "direct"):
            before, maps, agent_before = slab_bytes(), map_bytes(agent.status()), resident(agent.process.pid)
            with lab.held(targets[name].client, targets[name].to, count) as first:
                if name == "direct":
                    eventually(lambda: agent.status()["flows"]["open"] >= first["ops"], lambda: agent.status()["flows"], WAIT_S)
                taken[name] = (slab_bytes() - before) / max(first["ops"], 1)
                status = agent.status()
                if name == "direct":
                    out |= {"opened": first["ops"], "failed": first["failed"], "maps MB, all open": round(map_bytes(status) / 1e6, 2),
                            "maps, bytes a connection": round((map_bytes(status) - maps) / max(first["ops"], 1), 1),
                            "agent, bytes a connection": round((resident(agent.process.pid) - agent_before) / max(first["ops"], 1)),
                            "flows open": status["flows"]["open"], "flows lost": status["flows"]["kernel_lost"],
                            "not kept for want of room": status["kernel"]["counters"]["storage_full"]}
            eventually(lambda: agent.status()["flows"]["open"] == 0, lambda: agent.status()["flows"], WAIT_S)
        out["slab, bytes a connection beyond plain"] = round(taken["direct"] - taken["plain same node"])
        return out


# -- enrolment

def captured(agent, names):
    states = {pod["name"]: pod["state"] for pod in agent.status()["pods"]}
    return all(states.get(name) == "captured" for name in names)


def enrolment(options):
    """From the pod's line in the file to its state in the agent: one pod, many times, and many at once."""
    rounds, many = (2, 10) if options.quick else (30, 200)
    # Their namespaces are made first, as a runtime does.
    lab = BenchLab(more=tuple((f"more{i}", 1, "other") for i in range(many)), relay=False, serving=())
    with contextlib.closing(lab):
        agent = agent_of(lab)
        more = [pod for pod in lab.world.enrolled if pod.name.startswith("more")]
        one = []
        for _ in range(rounds):
            agent.delete(more[0])
            began = time.monotonic()
            agent.enrol(more[0])
            one.append(timed(lambda: captured(agent, [more[0].name]), "captured", began))
        agent.dismiss(*more)
        eventually(lambda: len(agent.status()["pods"]) == len(lab.world.enrolled) - many - 1, lambda: agent.status()["pods"], WAIT_S)
        began = time.monotonic()
        agent.enrol(*more)
        at_once = timed(lambda: captured(agent, [pod.name for pod in more]), "all captured", began)
        return {"one pod, median ms": round(statistics.median(one), 1), "one pod, worst ms": round(max(one), 1),
                "at once": many, "all of them, ms": round(at_once, 1)}


def belongings(agent):
    """What could leak: descriptors, pins, rows of maps that pods fill."""
    pins = sum(len(files) for _, _, files in os.walk(pathlib.Path("/sys/fs/bpf/warren") / agent.instance))
    status = agent.status()
    links = sum(status["kernel"]["links"].values())
    return {"descriptors": len(os.listdir(f"/proc/{agent.process.pid}/fd")), "pins": pins, "links": links, "pairs": status["tables"]["verdict_pairs"],
            "rows": status["tables"]["verdict_rows"], "service addresses": status["tables"]["service_addresses"]}


def churn(options):
    """Pods that join and leave again leave nothing."""
    pods, cycles = (4, 2) if options.quick else (20, 50)
    lab = BenchLab(more=tuple((f"more{i}", 1, "other") for i in range(pods)), relay=False, serving=())
    with contextlib.closing(lab):
        agent = agent_of(lab)
        more = [pod for pod in lab.world.enrolled if pod.name.startswith("more")]
        stay = len(agent.status()["pods"]) - pods

        def cycle():
            agent.enrol(*more)
            eventually(lambda: captured(agent, [pod.name for pod in more]), lambda: agent.status()["pods"], WAIT_S)
            agent.dismiss(*more)
            eventually(lambda: len(agent.status()["pods"]) == stay and all(t["waiting"] == 0 for t in agent.status()["tunnel"]["connected"]),
                       lambda: agent.status()["pods"], WAIT_S)

        cycle()  # what is kept for the next time is no leak
        before, memory_before, began = belongings(agent), resident(agent.process.pid), time.monotonic()
        for _ in range(cycles):
            cycle()
        seconds = time.monotonic() - began
        # Fewer is no leak: a page or a stream may have been open when it was counted first.
        eventually(lambda: all(count <= before[what] for what, count in belongings(agent).items()), lambda: f"{before}, now {belongings(agent)}", WAIT_S)
        return {"joined and left": cycles * pods, "seconds": round(seconds, 1), "descriptors, pins, links and rows left": 0,
                "resident KB more": round((resident(agent.process.pid) - memory_before) / 1e3)}


# -- live verdicts

def reset(options):
    """From the changed mesh file to the end of an open connection that it denies."""
    rounds, took = (2 if options.quick else 30), []
    lab = BenchLab(relay=False, serving=("near",))
    with contextlib.closing(lab):
        w = lab.world
        for _ in range(rounds):
            connection = apps.connect(w.pods.client, w.pods.near.v4, PORT)
            connection.sendall(b"e?")
            connection.recv(1)
            w.mesh.policy("no-client", "Deny", [[[{"principals": [principal(w.pods.client)]}]]], pods=[w.pods.near])
            began = time.monotonic()
            w.mesh.write()
            with contextlib.suppress(ConnectionError):
                if connection.recv(1):
                    raise AssertionError("an answer instead of the end")
            took.append((time.monotonic() - began) * 1e3)
            connection.close()
            del w.mesh.policies["no-client"]
            w.mesh.workloads["near"]["authorizationPolicies"].clear()
            w.change()
            eventually(lambda: _allowed(w), "allowed again", WAIT_S)
    return {"rounds": rounds, "median ms": round(statistics.median(took), 1), "worst ms": round(max(took), 1)}


def _allowed(world):
    with contextlib.suppress(OSError, socket.timeout):
        with contextlib.closing(apps.connect(world.pods.client, world.pods.near.v4, PORT)) as connection:
            connection.sendall(b"e?")
            return connection.recv(1) == b"?"
    return False


# -- flows

def lost(options):
    """Every connection of a steady 5,000 a second is told, or counted as lost."""
    rate, seconds = (500, 1) if options.quick else (5_000, 20)
    lab = BenchLab(relay=False, serving=("near",))
    with contextlib.closing(lab):
        agent, target = agent_of(lab), lab.targets()["direct"]
        before, direct_before = agent.status()["flows"], lab.counters()["connect_direct"]
        out = lab.load(target.client, "connect", target.to, "--seconds", str(seconds), "--connections", "64", "--rate", str(rate))
        made = lab.counters()["connect_direct"] - direct_before

        def told():
            now = agent.status()["flows"]
            return {key: now[key] - before[key] for key in ("opened", "closed", "reconciled", "untracked", "kernel_lost")}
        eventually(lambda: told()["closed"] + told()["kernel_lost"] >= made, lambda: f"{made} connections, {told()}", WAIT_S)
        return {"wanted a second": rate, "made": made, "failed": out["failed"], "p99 us": round(out["p99_us"]), **told()}


FIGURES = {"memory": memory, "demand": demand, "connections": connections, "enrolment": enrolment, "churn": churn, "reset": reset, "lost": lost}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(FIGURES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--connections", type=int, default=100_000, help="open at once")
    parser.add_argument("--json")
    options = parser.parse_args()
    wanted = options.only.split(",")
    for name in wanted:
        if name not in FIGURES:
            parser.error(f"no figure '{name}'; there are {', '.join(FIGURES)}")
    if os.geteuid() != 0:
        print("needs root: network namespaces, kernel programs", file=sys.stderr)
        return 77
    end_cleanly()
    result = {}
    for name in wanted:
        result[name] = FIGURES[name](options)
        print(f"### {name}\n", flush=True)
        for what, value in result[name].items():
            print(f"| {what} | {value} |", flush=True)
        print(flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
