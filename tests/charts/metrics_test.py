#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every metric that a dashboard or a rule of the chart asks for is one that the sources register, or a rule records; and promtool, where
there is one, finds no fault with the rules."""
import json
import pathlib
import re
import shutil
import subprocess
import sys

root = pathlib.Path(sys.argv[1])
folder = root / "charts" / "warren" / "dashboards"
METRIC = re.compile(r"\b((?:warren|istio|citadel|pilot)_[a-z0-9_]+)\b")

sources = ""
for part in ("agent", "base", "ztunnel"):
    for path in (root / part).rglob("*.cpp"):
        sources += path.read_text()
there = set(re.findall(r'"((?:warren|istio|citadel|pilot)_[a-z0-9_]+)"', sources))

asked = {}
for path in sorted(folder.glob("*.json")):
    board = json.loads(path.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)), f"{path.name}: two panels with one id"
    for panel in board["panels"]:
        for target in panel["targets"]:
            for name in METRIC.findall(target["expr"]):
                asked.setdefault(name, f"{path.name}, panel '{panel['title']}'")
    for variable in board["templating"]["list"]:
        for name in METRIC.findall(json.dumps(variable.get("query", ""))):
            asked.setdefault(name, f"{path.name}, variable {variable['name']}")
rules = folder / "rules.yaml"
for line in rules.read_text().splitlines():
    if "expr:" in line:
        for name in METRIC.findall(line):
            asked.setdefault(name, f"rules.yaml: {line.strip()}")
assert len(asked) > 30, asked

unknown = []
for name, where in sorted(asked.items()):
    # Labels and parts of a histogram are no names of their own.
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    if name not in there and stem not in there:
        unknown.append(f"{name}: no source registers it ({where})")
if unknown:
    sys.exit("\n".join(unknown))

promtool = shutil.which("promtool")
if promtool:
    subprocess.run([promtool, "check", "rules", str(rules)], check=True)
print(f"{len(asked)} metrics, all registered; promtool: {'agrees' if promtool else 'not on this machine'}")
