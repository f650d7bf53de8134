#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/metrics.md, from the daemons' own metrics pages. Everything between a table's marks is made here.

    metrics_reference.py update agent=PAGE ztunnel=PAGE controller=PAGE    writes what the pages say into the tables
    metrics_reference.py check agent=PAGE ...                              exits 1 with one line per difference
    metrics_reference.py check                                             only against the names in the sources

A page is a file with what /metrics answered, in either format. A family that this page has no series of keeps its row as long as the
sources register it, or gets one from there; one that the sources no longer name loses it.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs/metrics.md"
SOURCES = {"agent": ("agent/node", "base"), "ztunnel": ("ztunnel", "base"), "controller": ("agent/cluster", "base")}
NAME = re.compile(r'"((?:warren|istio|pilot|citadel|process|workload_manager)_[a-z0-9_]+)"')
TEXT = r'"((?:[^"\\]|\\.)*)"'
REGISTERED = re.compile(r'(counter|gauge|histogram)\((?:[^"();]|\(\{|desc\()*' + TEXT + r',\s*(?:\.help\s*=\s*)?((?:' + TEXT + r'\s*)+)', re.S)
LABELS = re.compile(r'\s*,\s*(?:\.labels\s*=\s*)?\{{1,2}((?:"\w+"(?:, )?)+)')
HIDDEN = ("le", "quantile")


def names_in_sources(part):
    """Sample names, as the sources write them: a counter's ends in _total."""
    found = set()
    for folder in SOURCES[part]:
        for path in (ROOT / folder).glob("*.cpp"):
            found |= set(NAME.findall(path.read_text(encoding="utf-8")))
    return found


def rows_in_sources(part):
    """What the sources alone tell: where a family is registered with its name and help as literals."""
    rows = {}
    for folder in SOURCES[part]:
        for path in (ROOT / folder).glob("*.cpp"):
            text = path.read_text(encoding="utf-8")
            for found in REGISTERED.finditer(text):
                labels = LABELS.match(text, found.end())
                help_text = "".join(re.findall(TEXT, found[3])).replace('\\"', '"')
                rows[found[2]] = (found[1], tuple(re.findall(r'"(\w+)"', labels[1])) if labels else (), help_text)
    return rows


def read_page(text):
    """{name: (type, labels, help)}; name as in the samples."""
    families, labels, kinds = {}, {}, {}
    for line in text.splitlines():
        head = re.match(r"# (HELP|TYPE) (\S+) (.*)", line)
        if head:
            key = head[2]
            (kinds if head[1] == "TYPE" else families)[key] = head[3]
            continue
        sample = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", line)
        if sample:
            name = sample[1]
            for suffix in ("_bucket", "_sum", "_count", "_total"):
                if name not in kinds and name.removesuffix(suffix) in kinds:
                    name = name.removesuffix(suffix)
            labels.setdefault(name, []).extend(label for label in re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', sample[2] or "") if label not in HIDDEN)
    out = {}
    for name, kind in kinds.items():
        sample_name = name + "_total" if kind == "counter" and not name.endswith("_total") else name
        out[sample_name] = (kind, tuple(dict.fromkeys(labels.get(name, ()))), families.get(name, ""))
    return out


def mark(part, edge):
    return f"<!-- {part} {edge} -->"


def section(document, part):
    begin, end = mark(part, "begin"), mark(part, "end")
    if begin not in document or end not in document:
        sys.exit(f"{DOCUMENT}: the marks {begin} and {end} are missing")
    return document.index(begin) + len(begin), document.index(end)


def read_table(document, part):
    begin, end = section(document, part)
    rows = {}
    for line in document[begin:end].splitlines():
        row = re.match(r"\| `(\w+)` \| (\w+) \| (.*?) \| (.*) \|$", line)
        if row:
            rows[row[1]] = (row[2], tuple(re.findall(r"`(\w+)`", row[3])), row[4].replace(r"\|", "|"))
    return rows


def write_table(document, part, rows):
    begin, end = section(document, part)
    lines = ["", "| name | type | labels | what |", "| --- | --- | --- | --- |"]
    for name, (kind, labels, text) in sorted(rows.items()):
        cell = text.replace("|", r"\|")
        lines.append(f"| `{name}` | {kind} | {' '.join(f'`{label}`' for label in labels)} | {cell} |")
    return document[:begin] + "\n".join(lines) + "\n" + document[end:]


def merged(old, page, names):
    """The page's rows over the old ones. A family without a series today keeps the labels it is known by."""
    rows = {name: row for name, row in old.items() if name in names}
    for name, (kind, labels, text) in page.items():
        known = rows.get(name, (kind, (), text))[1]
        rows[name] = (kind, labels + tuple(label for label in known if label not in labels) if labels else known, text)
    return rows


def differences(part, rows, page, names):
    for name in sorted(set(rows) - names - set(page)):
        yield f"{part}: {name} is in the reference and in no source"
    for name in sorted(names - set(rows)):
        if not any(other.startswith(name) for other in rows):
            yield f"{part}: {name} is in the sources and not in the reference"
    for name, (kind, labels, text) in sorted(page.items()):
        if name not in rows:
            yield f"{part}: {name} is on the page and not in the reference"
        elif rows[name][0] != kind or rows[name][2] != text or not set(labels) <= set(rows[name][1]):
            yield f"{part}: {name} is {(kind, labels, text)} on the page and {rows[name]} in the reference"


def main(arguments):
    if not arguments or arguments[0] not in ("check", "update"):
        sys.exit(__doc__)
    files = dict(argument.split("=", 1) for argument in arguments[1:])
    unknown = set(files) - set(SOURCES)
    if unknown:
        sys.exit(f"{', '.join(sorted(unknown))}: no daemon of ours; use {', '.join(SOURCES)}")
    document = DOCUMENT.read_text(encoding="utf-8")
    problems = []
    for part in SOURCES:
        names = names_in_sources(part) - NOT_METRICS
        page = read_page(pathlib.Path(files[part]).read_text(encoding="utf-8")) if part in files else {}
        rows = read_table(document, part)
        if arguments[0] == "update":
            known = {name: row for name, row in rows_in_sources(part).items() if name in names}
            document = write_table(document, part, merged(known | rows, page, names))
        else:
            problems += differences(part, rows, page, names)
    if arguments[0] == "update":
        DOCUMENT.write_text(document, encoding="utf-8")
    print("\n".join(problems or [f"{DOCUMENT.name}: agrees"]))
    return 1 if problems else 0


# Texts of the sources that look like metrics and are none.
NOT_METRICS = {"warren_bpf_object"}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
