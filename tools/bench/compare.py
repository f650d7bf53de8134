#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the mesh against plain TCP and against the cheapest encrypted relay, in turn, in one run of one lab of real agents and tunnels.

    compare.py                                    every group, fifteen rounds of two seconds (hours)
    compare.py --groups same,cross --cases tput1,ping,req16 --rounds 5
    compare.py --quick                            does everything work? Tiny durations; the figures mean nothing
    compare.py --other 'start-other-mesh.sh'      another data plane beside it; see docs/benchmarks.md

Root, and the release preset's programs. Groups: same, cross, unenrolled, flows, bbr, policies, fairness, pods, idle,
other.
"""
import argparse
import contextlib
import json
import os
import sys

import report
from bench_lab import GUESTS, BenchLab, end_cleanly
from cases import CASES, FAIR, SHORT, run

GROUPS = ("same", "cross", "unenrolled", "flows", "bbr", "policies", "fairness", "pods", "idle", "other")
SERVING = ("near", "inside", "server", "neighbour", "far")


class Comparison:
    """One group: who is compared, the first being what the others are set against, each with a state of the lab to be in."""

    def __init__(self, name, cases, who):
        self.name, self.cases = name, cases
        self.who = who  # {name: (target, state or None)}

    def measure(self, lab, options):
        runs = {(case, who): [] for case in self.cases for who in self.who}
        if any(state for _, state in self.who.values()):
            for number in range(options.rounds):
                for who in self._order(number):
                    with self.who[who][1]() if self.who[who][1] else contextlib.nullcontext():
                        for case in self.cases:
                            self._one(lab, options, runs, case, who)
        else:
            for case in self.cases:
                for number in range(options.rounds):
                    for who in self._order(number):
                        self._one(lab, options, runs, case, who)
        base = next(iter(self.who))
        return [report.row(self.name, CASES[case], who, runs[case, who], runs[case, base]) | {"base": base} for case in self.cases for who in self.who]

    def _order(self, number):
        """There and back, so that a machine that warms up or tires favours nobody."""
        return list(self.who) if number % 2 == 0 else list(reversed(self.who))

    def _one(self, lab, options, runs, case, who):
        out = run(lab, CASES[case], self.who[who][0], options.secs)
        runs[case, who].append(out)
        print(f"{self.name:11} {case:8} {who:22} {out[CASES[case].figure]:>12,.1f} {'' if not out['failed'] else str(out['failed']) + ' failed'}", flush=True)


def comparisons(lab, options):
    t = lab.targets()
    every, short = options.cases or list(CASES), options.cases or list(SHORT)
    near, direct, hbone = t["plain same node"], t["direct"], t["hbone"]
    bbr = lambda: lab.congestion("bbr")  # noqa: E731
    full = lambda: lab.policies(100)  # noqa: E731
    return {
        "same": Comparison("same", every, {"plain": (near, None), "direct": (direct, None), "tunnel": (t["tunnel same node"], None)}),
        "cross": Comparison("cross", every, {name: (t[name], None) for name in ("plain", "relay", "hbone", "passthrough")}),
        "unenrolled": Comparison("unenrolled", short, {"agent gone": (near, lab.agents_gone), "agent attached": (near, None)}),
        "flows": Comparison("flows", short, {"flows off": (direct, lambda: lab.agents_with(flows_enabled="false")), "flows on": (direct, None)}),
        "bbr": Comparison("bbr", short, {"plain": (near, bbr), "direct": (direct, bbr)}),
        "policies": Comparison("policies", short, {"direct": (direct, None), "direct, 100 policies": (direct, full), "hbone": (hbone, None),
                                                   "hbone, 100 policies": (hbone, full)}),
        # The bulk is of the same two pods, so of the same tunnel. Plain tells what the machine alone makes of so much load.
        "fairness": Comparison("fairness", options.cases or list(FAIR), {
            "alone": (hbone, None), "beside 64 bulk streams": (hbone, lambda: lab.beside(hbone, 64)),
            "plain, beside 64 plain": (t["plain"], lambda: lab.beside(t["plain"], 64))}),
    }


def measure_pods(options):
    """A hundred pods in the mesh, half of them on each node."""
    count = 10 if options.quick else 100
    # Addresses of the lab end at 250.
    lab = BenchLab(more=tuple((f"more{i}", 1 + i % 2, "other") for i in range(count)), relay=False)
    with contextlib.closing(lab):
        t = lab.targets()
        rows = Comparison("pods", options.cases or list(SHORT), {"plain": (t["plain same node"], None), "direct": (t["direct"], None),
                                                                 "hbone": (t["hbone"], None)}).measure(lab, options)
        return rows, {f"{count} more pods in the mesh": memory(lab)}


def memory(lab):
    out = {}
    for node in lab.world.tunnels:
        out[f"tunnel of {node}, resident MB"] = round(lab.world.tunnels[node].resident_bytes() / 1e6, 1)
        out[f"agent of {node}, resident MB"] = round(resident(lab.world.agents[node].process.pid) / 1e6, 1)
    return out


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_idle(lab, options):
    """What one idle connection keeps in each tunnel."""
    count = 200 if options.quick else 10_000
    before = {name: tunnel.resident_bytes() for name, tunnel in lab.world.tunnels.items()}
    with lab.held(lab.pods.client, lab.targets()["hbone"].to, count) as first:
        after = {name: tunnel.resident_bytes() for name, tunnel in lab.world.tunnels.items()}
    table = {"opened": first["ops"], "failed": first["failed"], "opened a second": round(first["per_second"])}
    for name, bytes_ in before.items():
        table[f"tunnel of {name} before, MB"] = round(bytes_ / 1e6, 1)
        table[f"tunnel of {name}, MB more for 10,000"] = round((after[name] - bytes_) / 1e6 * 10_000 / max(first["ops"], 1), 1)
    return {"idle connections across nodes": table}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", default="", help="comma-separated; default: all")
    parser.add_argument("--cases", default="", help=f"of {', '.join(CASES)}; default: all for same and cross, {', '.join(SHORT)} for the others")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--secs", type=float, default=2.0)
    parser.add_argument("--quick", action="store_true", help="one round of a fifth of a second")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--markdown", help="file for the tables; default: printed")
    parser.add_argument("--plots", help="folder for SVG files, for example docs/benchmarks")
    parser.add_argument("--other", help="command that brings another data plane onto the guest pods")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.secs = 1, 0.2
    options.groups = options.groups.split(",") if options.groups else [g for g in GROUPS if g != "other" or options.other]
    options.cases = options.cases.split(",") if options.cases else []
    for given, known, what in ((options.groups, GROUPS, "group"), (options.cases, CASES, "case")):
        for name in given:
            if name not in known:
                parser.error(f"no {what} '{name}'; there are {', '.join(known)}")
    if "other" in options.groups and not options.other:
        parser.error("the group other needs --other COMMAND")
    if options.rounds < 1 or options.secs < 0.1:
        parser.error("--rounds is 1 or more, --secs 0.1 or more")
    return options


def measure(options):
    result = {"machine": report.machine(), "rounds": options.rounds, "seconds": options.secs, "default_congestion": os.environ.get("LAB_CC", "cubic"),
              "rows": [], "tables": {}}
    if set(options.groups) - {"pods"}:
        guests = GUESTS if options.other else ()
        lab = BenchLab(more=guests, serving=(*SERVING, *(name for name, _, _ in guests[1:])))
        with contextlib.closing(lab):
            for name, comparison in comparisons(lab, options).items():
                if name in options.groups:
                    result["rows"] += comparison.measure(lab, options)
            if "idle" in options.groups:
                result["tables"] |= {"resident": memory(lab)} | measure_idle(lab, options)
            if "other" in options.groups:
                t = lab.targets() | lab.other(options.other)
                who = {name: (t[name], None) for name in ("plain", "hbone", "other", "other same node", "direct")}
                result["rows"] += Comparison("other", options.cases or list(CASES), who).measure(lab, options)
    if "pods" in options.groups:
        rows, tables = measure_pods(options)
        result["rows"] += rows
        result["tables"] |= tables
    return result


def main():
    options = arguments()
    if os.geteuid() != 0:
        print("needs root: network namespaces, kernel programs", file=sys.stderr)
        return 77
    end_cleanly()
    result = measure(options)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    text = report.markdown(result)
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        print("\n" + text)
    if options.plots:
        print("plots:", ", ".join(report.plots(result, options.plots)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
