# SPDX-License-Identifier: Apache-2.0
"""From runs to figures: medians and quartiles, ratios pair by pair, and the same as Markdown and as plots."""
import os
import pathlib
import platform
import statistics

import svg
from cases import CASES

UNITS = {"tput": ("Throughput", "Gbit/s"), "req": ("Requests and connections", "per second"), "lat": ("Latency", "us")}


def spread(values):
    """(lower quartile, median, upper quartile)."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def row(group, case, who, runs, base):
    """runs, base: of the same rounds, in order."""
    ratios = [r[case.figure] / b[case.figure] for r, b in zip(runs, base) if b[case.figure]]
    out = {"group": group, "case": case.name, "who": who, "figure": case.figure, "better": case.better, "rounds": len(runs),
           "value": spread([r[case.figure] for r in runs]), "ratio": spread(ratios) if ratios else None,
           "p99_us": spread([r["p99_us"] for r in runs]) if "p99_us" in runs[0] else None,
           "max_us": max(r["max_us"] for r in runs) if "max_us" in runs[0] else None,
           "p99_ratio": spread([r["p99_us"] / b["p99_us"] for r, b in zip(runs, base) if b.get("p99_us")] or [0.0]) if "p99_us" in runs[0] else None,
           "cpu_per": case.per, "cpu": {part: statistics.median(r["cpu"][part] for r in runs) for part in runs[0]["cpu"]},
           "ops": sum(r["ops"] for r in runs), "failed": sum(r["failed"] for r in runs)}
    return out


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
                  if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "load_before": os.getloadavg()[0]}


def _text(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _spread_text(three):
    return f"{_text(three[1])} ({_text(three[0])} to {_text(three[2])})" if three else "-"


def _ratio_text(three):
    return f"{three[1]:.2f} ({three[0]:.2f} to {three[2]:.2f})" if three else "-"


def markdown(result):
    m = result["machine"]
    out = [f"{m['cores']} cores, {m['cpu']}, kernel {m['kernel']}; {result['rounds']} alternating rounds of {result['seconds']} s; "
           f"median (quartiles). CPU: of the whole machine, and of the tunnels alone."]
    for group in dict.fromkeys(r["group"] for r in result["rows"]):
        rows = [r for r in result["rows"] if r["group"] == group]
        out += ["", f"### {group}", "", f"| case | who | measured | of {rows[0]['base']} | p99 us | p99 of it | CPU s | tunnels | per | failed |", "|" + " --- |" * 10]
        for r in rows:
            out.append(f"| {CASES[r['case']].about} | {r['who']} | {_spread_text(r['value'])} | {_ratio_text(r['ratio'])} | "
                       f"{_spread_text(r['p99_us'])} | {_ratio_text(r['p99_ratio'])} | {r['cpu']['machine']:.3f} | {r['cpu']['tunnels']:.3f} | {r['cpu_per']} | {r['failed']} |")
    for name, table in result["tables"].items():
        out += ["", f"### {name}", "", "| what | measured |", "| --- | --- |", *(f"| {what} | {value} |" for what, value in table.items())]
    return "\n".join(out) + "\n"


def plots(result, folder):
    """One file for each group and unit; their names."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for group in dict.fromkeys(r["group"] for r in result["rows"]):
        for unit, (title, text) in UNITS.items():
            rows = [r for r in result["rows"] if r["group"] == group and _unit(r) == unit]
            if not rows:
                continue
            groups = [(case, [(r["who"], r["value"]) for r in rows if r["case"] == case]) for case in dict.fromkeys(r["case"] for r in rows)]
            path = folder / f"{group.replace(' ', '-')}-{unit}.svg"
            path.write_text(svg.bars(f"{title}: {group}", text, groups), encoding="utf-8")
            files.append(path.name)
    return files


def _unit(one):
    return "tput" if one["figure"] == "gbps" else "lat" if one["better"] == "less" else "req"
