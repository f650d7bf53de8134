# SPDX-License-Identifier: Apache-2.0
"""What the demo shows, one function a scene. Each does one thing in a lab that is up and returns what the daemons and the kernel said of it;
demo.py prints that, tests/lab compares it."""
import collections
import datetime
import json
import secrets
import time

import kernel
import network
import shop
from kernel import LabError, eventually
from wire import Tap

DEADLINE = 30.0
REVOCATION = "revoked.yaml"


def page(lab):
    """One page of the shop, as the load generator asks for it."""
    code, text = lab.run_in("load", shop.program("get", "http://web/"))
    if code != 0:
        raise LabError(f"the shop does not answer: {text.strip()}; the logs are in {lab.folder}")
    return json.loads(text)


def of(flow, end):
    return flow.get(end, {}).get("name", "")


def port_of(address):
    return int(address.rpartition(":")[2] or 0)


def find_flow(lab, node, source, destination, what, **match):
    """The newest flow between two pods for which what(flow) holds, once the agent has it."""
    def found():
        for flow in sorted(lab.agents[node].flows(), key=lambda flow: flow["start_time"], reverse=True):
            ends = of(flow, "source") == source and of(flow, "destination") == destination
            if ends and what(flow) and all(flow.get(key) == value for key, value in match.items()):
                return flow
        return None
    return eventually(found, lambda: f"a flow from {source} to {destination} {match} at the agent of {node}", DEADLINE)


def seconds(stamp):
    """Since the epoch, of an agent's time with nanoseconds."""
    whole, _, part = stamp.rstrip("Z").partition(".")
    return datetime.datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{part or 0}")


# -- across nodes

def across(lab):
    """A secret from node to node: what the wire showed of it in the mesh, and outside of it, where it must be seen or the look was blind."""
    inside, outside = (f"secret-{secrets.token_hex(12)}" for _ in range(2))
    with Tap(lab.netns("n1"), "wire") as tap:
        said = lab.run_in("load", shop.program("bulk", "say", shop.PODS["assets"].v4, shop.BULK, inside))
        meshed = tap.take()
        lab.run_in("old-1", shop.program("bulk", "say", shop.PODS["old-3"].v4, shop.BULK, outside))
        plain = tap.take()
    if said != (0, f"{len(inside)}\n"):
        raise LabError(f"load could not talk to assets: {said[1].strip()}")
    flow = find_flow(lab, "n1", "load", "assets", lambda f: f.get("bytes_to_destination") == len(inside), close_reason="finished")
    return {"flow": flow, "frames": len(meshed), "seen": sum(inside.encode() in frame for frame in meshed),
            "plain_frames": len(plain), "plain_seen": sum(outside.encode() in frame for frame in plain)}


# -- how fast

def stream(lab, source, destination, duration):
    """(bytes that arrived, bytes that the kernel counted on the sender's link) of one stream."""
    link = network.link(source)
    node = lab.netns(network.node_of(source))
    before = kernel.link_bytes(node, link)[0]
    code, text = lab.run_in(source, shop.program("bulk", "send", shop.PODS[destination].v4, shop.BULK, duration))
    if code != 0:
        raise LabError(f"{source} could not send to {destination}: {text.strip()}")
    return int(text), kernel.link_bytes(node, link)[0] - before


PATHS = (("same node, direct", "load", "cart"), ("no mesh, same node", "old-1", "old-2"), ("same node, encryption demanded", "load", "payment"),
         ("across nodes, mutual TLS", "load", "assets"), ("no mesh, across nodes", "old-1", "old-3"))


def speeds(lab, duration=0.3, rounds=3):
    """One stream over each path, the paths taking turns; of each the round with the median rate: label, path, bytes, seconds, and the kernel's
    own count. Of pods in the mesh by the agent's record."""
    made = {path: [] for path in PATHS}
    for _ in range(rounds):
        for path, taken in made.items():
            taken.append(_speed(lab, *path, duration))
    return [sorted(taken, key=lambda one: one["bytes"] / one["seconds"])[rounds // 2] for taken in made.values()]


def _speed(lab, label, source, destination, duration):
    arrived, counted = stream(lab, source, destination, duration)
    if not shop.PODS[source].mesh:
        return {"label": label, "path": "none", "bytes": arrived, "link_bytes": counted, "seconds": duration}
    flow = find_flow(lab, "n1", source, destination, lambda f: f.get("bytes_to_destination") == arrived and "end_time" in f, direction="outbound")
    return {"label": label, "path": flow["path"], "bytes": arrived, "link_bytes": counted,
            "seconds": seconds(flow["end_time"]) - seconds(flow["start_time"])}


# -- refused

def refusals(lab):
    """Three that no policy allows: what the caller saw, and the record with its reason."""
    made = []
    for source, destination, port, node in (("batch", "cart", 6379, "n1"), ("batch", "catalog", 5432, "n2"), ("old-1", "web", 8080, "n1")):
        begin = time.time()
        code, text = lab.run_in(source, shop.program("bulk", "say", shop.PODS[destination].v4, port, "PING\n"))
        saw = text.strip().splitlines()[-1] if text.strip() else "closed without an answer"

        def judged(flow, since=begin, number=port, sender=shop.PODS[source]):
            mine = of(flow, "source") == sender.name or flow.get("source_address", "").startswith(sender.v4 + ":")
            return (mine and of(flow, "destination") == destination and port_of(flow.get("destination_address", "")) == number
                    and flow.get("decision", {}).get("verdict") == "denied" and seconds(flow["start_time"]) >= since - 1)
        flow = eventually(lambda n=node: next(filter(judged, lab.agents[n].flows()), None),
                          lambda n=node, s=source: f"the refusal of {s} at the agent of {n}", DEADLINE)
        made.append({"source": source, "destination": destination, "port": port, "saw": saw, "code": code, "flow": flow})
    return made


def explain(lab, source, destination, port):
    """(command line, its output) of the CLI's answer for node n1."""
    ends = [f"{shop.PODS[name].namespace}/{name}" for name in (source, destination)]
    command = [str(lab.binaries / "warren"), "--netns", lab.netns("n1"), "policy", "explain", *ends, str(port)]
    done = kernel.run(command, check=False)
    return f"warren --netns {lab.netns('n1')} policy explain {' '.join(ends)} {port}", (done.stdout + done.stderr).strip()


# -- revoked

def revocation(lab):
    """Two open connections of one client, direct and through the tunnel: a policy is written, and both end. Back as it was at the end."""
    held = {}
    for destination in ("cart", "assets"):
        log = lab.pod_folder("load") / f"hold-{destination}.log"
        log.unlink(missing_ok=True)
        held[destination] = (lab.start_in("load", shop.program("bulk", "hold", shop.PODS[destination].v4, shop.BULK), log=log), log)
    for destination, (_, log) in held.items():
        eventually(lambda path=log: path.read_text().startswith("open "), lambda d=destination: f"a connection from load to {d} is open", DEADLINE)
        find_flow(lab, "n1", "load", destination, lambda f: "end_time" not in f)
    deny = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "revoked", "namespace": "shop"},
            "spec": {"action": "DENY", "rules": [{"from": [{"source": {"principals": [shop.PODS["load"].identity.removeprefix("spiffe://")]}}],
                                                  "to": [{"operation": {"ports": [str(shop.BULK)]}}]}]}}
    begin = time.time()
    try:
        lab.controller.put(REVOCATION, json.dumps(deny))
        made = []
        for destination, (process, log) in held.items():
            eventually(lambda p=process: p.poll() is not None, lambda d=destination: f"the connection to {d} ends", DEADLINE)
            saw = log.read_text().splitlines()[-1].split(" ", 2)
            node = shop.PODS[destination].node
            flow = find_flow(lab, node, "load", destination, lambda f: seconds(f.get("end_time", "0001-01-01T00:00:00Z")) >= begin,
                             close_reason="policy_changed")
            made.append({"destination": destination, "path": flow["path"], "after_s": seconds(flow["end_time"]) - begin,
                         "saw_after_s": float(saw[1]) - begin, "saw": saw[2], "flow": flow})
    finally:
        lab.controller.remove(REVOCATION)
        for process, _ in held.values():
            process.kill()
            process.wait()
    eventually(lambda: lab.run_in("load", shop.program("bulk", "say", shop.PODS["cart"].v4, shop.BULK, "again"))[0] == 0,
               "load may talk to cart again", DEADLINE)
    return made


# -- who talked to whom

def table(lab):
    """The agents' flows by source, destination, port, path and result: (key, connections, bytes), most connections first. A connection across
    nodes has a record at each end: the sender's counts, and where the receiver refused or ended it, the receiver's, which knows why."""
    flows = [flow for agent in lab.agents.values() for flow in agent.flows()]
    refused = {_ends(flow) for flow in flows if flow["direction"] == "inbound" and flow["decision"]["verdict"] == "denied"}
    rows = collections.defaultdict(lambda: [0, 0])
    for flow in flows:
        denied, closed = flow["decision"]["verdict"] == "denied", flow.get("close_reason", "open")
        if flow["direction"] == "inbound" and not denied:
            continue
        if flow["direction"] == "outbound" and closed in ("connect_failed", "reset_by_destination") and _ends(flow) in refused:
            continue
        row = rows[(*_ends(flow), flow["path"], flow["decision"]["reason"] if denied and closed != "policy_changed" else closed)]
        row[0] += 1
        row[1] += flow.get("bytes_to_destination", 0) + flow.get("bytes_to_source", 0)
    return sorted(((key, *row) for key, row in rows.items()), key=lambda row: -row[1])


def _ends(flow):
    source = of(flow, "source") or flow.get("source_address", "").rpartition(":")[0]
    return source, of(flow, "destination") or flow.get("destination_address", ""), port_of(flow.get("destination_address", ""))
