#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of values in charts/warren/README.md, made from values.yaml: a row for each leaf, its meaning from the "# -- " lines above it.
Without --write: exits 1 where the README has another one."""
import pathlib
import re
import sys

CHART = pathlib.Path(__file__).resolve().parents[2] / "charts" / "warren"
BEGIN, END = "<!-- values -->\n", "<!-- end of values -->\n"


def rows():
    path, comment, out = [], [], []
    lines = (CHART / "values.yaml").read_text().splitlines()
    for at, line in enumerate(lines):
        text = line.strip()
        if text.startswith("# -- "):
            comment.append(text[5:])
            continue
        match = re.match(r"^( *)([A-Za-z]+):(?: (.*))?$", line)
        if not match:
            continue
        depth = len(match.group(1)) // 2
        path = path[:depth] + [match.group(2)]
        value = match.group(3)
        if value is None:
            below = [b for b in lines[at + 1:] if b.strip()]
            # A list or a map whose own keys are not values of the chart stays one row.
            if below and (below[0].strip().startswith("- ") or path[-1] in ("resources", "updateStrategy")):
                deeper = []
                for b in below:
                    if len(b) - len(b.lstrip()) <= depth * 2:
                        break
                    deeper.append(b.strip())
                value = "; ".join(deeper)
        inside = len(path) > 1 and path[-2] in ("updateStrategy", "resources")
        if value is not None and not inside:
            out.append((".".join(path), value, " ".join(comment)))
            comment = []
        elif value is None and not inside and comment:
            out.append((".".join(path), "", " ".join(comment)))
            comment = []
    return out


def main():
    readme = CHART / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    table = "| value | default | meaning |\n| --- | --- | --- |\n"
    for name, value, meaning in rows():
        table += f"| `{name}` | {'`' + value + '`' if value else ''} | {meaning} |\n"
    made = before + BEGIN + table + END + after
    if "--write" in sys.argv:
        readme.write_text(made)
    elif made != text:
        sys.exit("charts/warren/README.md: the table of values is old; run tests/charts/values_table.py --write")


main()
