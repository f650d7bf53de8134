# SPDX-License-Identifier: Apache-2.0
"""The measuring tools measure: every group, case and figure once, with durations whose results mean nothing but must be possible.

    bench_smoke_test.py compare|agent|handshakes|hostile          WARREN_BENCH_BUILD names the build folder
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

PROGRAM = pathlib.Path(os.environ["WARREN_BENCH_BUILD"]) / "bin/warren-bench"
LIGHT_GBPS = 10_000  # beyond any machine
SECOND_US = 1e6
GROUPS = {"same": {"plain", "direct", "tunnel"}, "cross": {"plain", "relay", "hbone", "passthrough"}, "unenrolled": {"agent gone", "agent attached"},
          "flows": {"flows off", "flows on"}, "bbr": {"plain", "direct"},
          "policies": {"direct", "direct, 100 policies", "hbone", "hbone, 100 policies"},
          "pods": {"plain", "direct", "hbone"},
          "other": {"plain", "hbone", "other", "other same node", "direct"}}


def need(condition, what):
    if not condition:
        raise SystemExit(f"FAILED: {what}")


def run(program, folder, *arguments):
    out = folder / "out.json"
    subprocess.run([PROGRAM, program, "--quick", "--json", str(out), *arguments], check=True, timeout=280)
    return json.loads(out.read_text(encoding="utf-8"))


def compare(folder):
    # An impostor of another data plane: the guests stay plain.
    # All cases where the paths are compared; where settings are, two of them.
    paths = run("compare", folder, "--groups", "same,cross,idle", "--markdown", str(folder / "paths.md"), "--plots", str(folder / "plots"))
    states = run("compare", folder, "--groups", "unenrolled,flows,bbr,policies,pods,other", "--cases", "tput1,conn8", "--other", "echo ready; exec sleep 600",
                 "--markdown", str(folder / "states.md"))
    rows = paths["rows"] + states["rows"]
    for group, who in GROUPS.items():
        need({r["who"] for r in rows if r["group"] == group} == who, f"{group}: {who}")
    need(len({r["case"] for r in rows if r["group"] == "same"}) == 14, "fourteen cases")
    for r in rows:
        name = f"{r['group']}, {r['case']}, {r['who']}: {r}"
        need(r["failed"] == 0 and r["ops"] > 0, name)
        need(0 < r["value"][1] < (LIGHT_GBPS if r["figure"] == "gbps" else SECOND_US), name)
        need(r["value"][0] <= r["value"][1] <= r["value"][2], name)
        need(r["p99_us"] is None or 0 < r["p99_us"][1] <= r["max_us"] * 1.01, name)
        need(r["ratio"][1] > 0 and all(cpu >= 0 for cpu in r["cpu"].values()), name)
    # Which path was taken shows in who worked for it.
    tunnels = {(r["group"], r["who"]): r["cpu"]["tunnels"] for r in rows if r["case"] == "tput1"}
    for who in ("hbone", "passthrough"):
        need(tunnels["cross", who] > 10 * tunnels["cross", "plain"], f"the tunnel carried {who}: {tunnels}")
    need(tunnels["same", "tunnel"] > 10 * tunnels["same", "direct"], f"the direct path met no tunnel: {tunnels}")
    need(next(r for r in rows if (r["group"], r["case"], r["who"]) == ("cross", "tput1", "relay"))["cpu"]["relay"] > 0.1, "the relay relayed")
    idle = paths["tables"]["idle connections across nodes"]
    need(idle["opened"] == 200 and idle["failed"] == 0, idle)
    need("| bulk, 1 stream, Gbit/s | hbone |" in (folder / "paths.md").read_text(encoding="utf-8"), "a table")
    pictures = list((folder / "plots").glob("*.svg"))
    need(len(pictures) == 6, f"six plots, not {pictures}")
    for picture in pictures:
        xml.etree.ElementTree.parse(picture)


def agent(folder):
    out = run("agent", folder)
    need(5 < out["memory"]["resident MB"] < 500 and out["memory"]["pods"] == 4, out["memory"])
    need(out["connections"]["opened"] == 500 and out["connections"]["flows open"] == 500 and out["connections"]["maps MB, all open"] > 0, out["connections"])
    need(0 < out["enrolment"]["one pod, median ms"] <= out["enrolment"]["one pod, worst ms"] and out["enrolment"]["all of them, ms"] > 0, out["enrolment"])
    need(out["churn"]["joined and left"] == 8, out["churn"])
    need(0 < out["reset"]["worst ms"] < 5_000, out["reset"])
    flows = out["lost"]
    need(flows["failed"] == 0 and flows["made"] >= 400 and flows["closed"] + flows["kernel_lost"] >= flows["made"], flows)


def handshakes(folder):
    rows = run("handshakes", folder)
    need(len(rows) == 1 and rows[0]["handshakes"] > 10 and 10 < rows[0]["per_cpu_second"] < 100_000 and rows[0]["slowest_ms"] > 0, rows)


def hostile(folder):
    rows = run("hostile", folder)
    need(len(rows) == 9, f"nine attacks, not {len(rows)}")
    for r in rows:
        need(r["thrown"] > 0 and r["neighbour_failed"] == 0 and 0 < r["alone_p99_us"] and 0 < r["neighbour_p99_us"] < SECOND_US, r)
        need(r["memory_mb"] < 64 and 0 <= r["cores"], r)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("needs root: network namespaces, kernel programs", flush=True)
        sys.exit(1 if os.environ.get("WARREN_REQUIRE_ROOT") == "1" else 77)
    with tempfile.TemporaryDirectory(prefix="wrb-") as place:
        {"compare": compare, "agent": agent, "handshakes": handshakes, "hostile": hostile}[sys.argv[1]](pathlib.Path(place))
