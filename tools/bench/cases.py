# SPDX-License-Identifier: Apache-2.0
"""What is measured: kinds of load, and one run of one of them with what the machine spent on it."""
import dataclasses
import json
import os
import pathlib

TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Case:
    """figure: the key of the load's JSON that counts; better: "more" or "less". per: what CPU is counted for."""
    name: str
    about: str
    mode: str
    arguments: tuple
    figure: str
    better: str
    per: str


def _bulk(name, about, streams, *more):
    return Case(name, about, "bulk", ("--connections", str(streams), *more), "gbps", "more", "GB")


def _request(name, about, connections, size, figure, better, *more):
    return Case(name, about, "request", ("--connections", str(connections), "--bytes", str(size), *more), figure, better, "1,000 requests")


CASES = {case.name: case for case in (
    _bulk("tput1", "bulk, 1 stream, Gbit/s", 1),
    _bulk("tput4", "bulk, 4 streams, Gbit/s", 4),
    _bulk("tput64", "bulk, 64 streams, Gbit/s", 64),
    _bulk("rev1", "bulk, 1 stream, reverse, Gbit/s", 1, "--reverse"),
    _bulk("rev4", "bulk, 4 streams, reverse, Gbit/s", 4, "--reverse"),
    _bulk("rev64", "bulk, 64 streams, reverse, Gbit/s", 64, "--reverse"),
    _request("ping", "64 B there and back, 1 connection, p50 us", 1, 64, "p50_us", "less"),
    _request("ping99", "64 B there and back, 1 connection, p99 us", 1, 64, "p99_us", "less"),
    _request("req16", "1 KiB requests, 16 connections, per second", 16, 1024, "per_second", "more"),
    _request("req256", "1 KiB requests, 256 connections, per second", 256, 1024, "per_second", "more"),
    _request("rate1", "64 B there and back, 1 connection, 1,000 a second, p99 us", 1, 64, "p99_us", "less", "--rate", "1000"),
    _request("rate16", "1 KiB requests, 16 connections, 5,000 a second, p99 us", 16, 1024, "p99_us", "less", "--rate", "5000"),
    _request("rate256", "1 KiB requests, 256 connections, 5,000 a second, p99 us", 256, 1024, "p99_us", "less", "--rate", "5000"),
    Case("conn8", "connect, 1 byte, close, 8 workers, per second", "connect", ("--connections", "8"), "per_second", "more", "1,000 requests"),
)}
# Enough to see a cost by: what groups of settings are compared with unless --cases says otherwise.
SHORT = ("tput1", "ping", "req16", "conn8")
# What a small exchange is worth beside bulk.
FAIR = ("ping", "ping99")


@dataclasses.dataclass(frozen=True)
class Target:
    """Who asks whom: client is a pod of the lab."""
    client: object
    to: str


class Meter:
    """CPU seconds of the parts of a lab. parts: {name: (cgroup folders, processes)}; the whole machine counts besides, as "machine"."""

    def __init__(self, parts):
        self.parts = parts

    def now(self):
        out = {name: sum(map(_cgroup_seconds, groups)) + sum(process_seconds(p) for p in processes)
               for name, (groups, processes) in self.parts.items()}
        fields = [int(x) for x in pathlib.Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
        return out | {"machine": (sum(fields) - fields[3] - fields[4]) / TICKS}


def _cgroup_seconds(folder):
    for line in (pathlib.Path(folder) / "cpu.stat").read_text(encoding="ascii").splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    raise RuntimeError(f"{folder}/cpu.stat has no usage_usec")


def process_seconds(pid):
    """User and system time so far. The command's name may have blanks and brackets, so count from its last one."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def run(lab, case, target, seconds):
    """One run: the load's own figures, and cpu: {part: CPU seconds for one GB or 1,000 requests}."""
    before = lab.meter.now()
    out = lab.load(target.client, case.mode, target.to, "--seconds", str(seconds), *case.arguments)
    after = lab.meter.now()
    done = out["bytes"] / 1e9 if case.per == "GB" else out["ops"] / 1e3
    out["cpu"] = {part: (after[part] - before[part]) / done if done else 0.0 for part in after}
    return out


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])
