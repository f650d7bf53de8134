# SPDX-License-Identifier: Apache-2.0
"""The story of story.py, told to a person at a terminal; and as JSON to a file, for whoever compares it."""
import json
import sys
import time

import shop
import story


class Teller:
    def __init__(self, color):
        self.began, self.color, self.number = time.monotonic(), color, 0

    def step(self, text):
        print(f"  {time.monotonic() - self.began:4.1f} s  {text} ...", flush=True)

    def scene(self, title):
        self.number += 1
        bold, off = ("\033[1m", "\033[0m") if self.color else ("", "")
        print(f"\n{bold}{self.number}. {title}{off}", flush=True)

    @staticmethod
    def say(*lines):
        for line in lines:
            print("   " + line, flush=True)

    def rows(self, head, rows, left=1):
        """A table whose first columns are flushed left."""
        cells = [head, *([str(cell) for cell in row] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        for row in cells:
            self.say("  ".join(cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


def amount(count):
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def tell(lab, teller):
    """Returns what it showed."""
    shown = {"page": story.page(lab)}
    teller.scene("A shop over two nodes, each page one request to redis, PostgreSQL and nginx, by name")
    teller.say(f"load -> web: {json.dumps(shown['page'])}")

    teller.scene("From node to node: mutual TLS, and nothing of it to read on the wire")
    across = shown["across"] = story.across(lab)
    flow = across["flow"]
    teller.say(f"{flow['source']['identity']} -> {flow['destination']['identity']}",
               f"the peer proved itself by: {flow['destination']['proof']}; path: {flow['path']}; {flow['bytes_to_destination']} bytes, a secret",
               f"frames on the wire that held the secret: {across['seen']} of {across['frames']}",
               f"the same between pods outside the mesh:  {across['plain_seen']} of {across['plain_frames']}")

    teller.scene("On one node: native speed, because nothing stands between the sockets")
    speeds = shown["speeds"] = story.speeds(lab)
    teller.rows(["one stream", "path", "bytes", "Gbit/s"],
                [[row["label"], row["path"], amount(row["bytes"]), f"{row['bytes'] * 8e-9 / row['seconds']:.1f}"] for row in speeds], left=2)
    teller.say("medians of three; bytes and time of pods in the mesh from the agent's flow records; all share this machine's processors")

    teller.scene("Refused by policy, and why")
    shown["refusals"] = story.refusals(lab)
    for one in shown["refusals"]:
        decision = one["flow"]["decision"]
        teller.say(f"{one['source']} -> {one['destination']}:{one['port']}: {one['saw']}",
                   f"    {decision['reason']}{' by ' + decision['policy'] if 'policy' in decision else ''}, path {one['flow']['path']}, "
                   f"the caller known by {one['flow']['source']['proof']}")
    command, answer = shown["explain"] = story.explain(lab, "batch", "cart", 6379)
    teller.say(f"$ {command}", *("  " + line for line in answer.splitlines()[:6]))

    teller.scene("Revoked while open: a policy is written, connections end")
    shown["revocation"] = story.revocation(lab)
    for one in shown["revocation"]:
        teller.say(f"load -> {one['destination']} ({one['path']}): ended {one['after_s'] * 1000:.0f} ms after the policy was written ({one['saw']})")

    teller.scene("Who talked to whom: the agents' flows of this demo")
    table = shown["table"] = story.table(lab)
    teller.rows(["from", "to", "path", "connections", "bytes", "end"],
                [[key[0], f"{key[1]}:{key[2]}", key[3], count, amount(size), key[4]] for key, count, size in table], left=3)
    load = shown["load"] = lab.load()
    teller.say(f"and the load generator: {load['ok']} pages, {load['failed']} failed")
    return shown


def where_next(lab, teller, kept):
    binary, n1 = lab.binaries / "warren", lab.netns("n1")
    teller.scene("Where to look next" + ("" if kept else ", with --keep"))
    pages = lab.pages()
    teller.rows(["what", "how"], [
        ["the nodes' pages", "  ".join(pages.values())],
        ["flows of a node", f"{binary} --netns {n1} flows"],
        ["why, or why not", f"{binary} --netns {n1} policy explain ops/batch shop/cart 6379"],
        ["in a pod", f"{binary} lab exec --name {lab.name} load -- curl -s http://web/"],
        ["a policy", f"edit {lab.controller.mesh / 'policies.yaml'}; it is in force within a second"],
        ["logs", str(lab.folder)],
        ["take it down", f"{binary} lab down {lab.name}"]], left=2)


def run(lab, *, keep=False, report=None, **settings):
    teller = Teller(sys.stdout.isatty())
    print(f"warren lab: bringing up {lab.name}, two nodes in namespaces of this machine", flush=True)
    with lab.whole(keep):
        lab.up(say=teller.step, **settings)
        took = time.monotonic() - teller.began
        teller.step(f"up in {took:.1f} s; {len(shop.PODS)} pods, {len(shop.NODES)} nodes")
        shown = tell(lab, teller)
        shown["up_s"] = took
        if report:
            with open(report, "w", encoding="utf-8") as file:
                json.dump(shown, file)
        where_next(lab, teller, keep)
        if not keep:
            teller.say("", f"the lab {lab.name} is taken down ...")
    if not keep:
        teller.say("down; nothing of it is left: namespaces, cgroups, kernel programs, processes, files")
    print(f"\n{time.monotonic() - teller.began:.0f} s in all.", flush=True)
