#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/check_layers.py finds each kind of breach, and nothing in a tree that keeps the rules."""
import pathlib
import subprocess
import sys
import tempfile

CHECKER = pathlib.Path(__file__).resolve().parents[2] / "tools" / "check_layers.py"

# file, its one include, is it allowed?
CASES = [
    ("policy/a.cpp", '"base/b.h"', True),
    ("policy/a.cpp", '"ztunnel/z.h"', False),
    ("policy/a.cpp", "<yaml-cpp/yaml.h>", False),
    ("policy/a_yaml.cpp", "<yaml-cpp/yaml.h>", True),
    ("policy/a.cpp", '"proto/workload.pb.h"', False),
    ("policy/a_proto.cpp", '"proto/workload.pb.h"', True),
    ("base/a.cpp", '"policy/p.h"', False),
    ("base/a.cpp", '"b.h"', False),  # not a path from the root
    ("ztunnel/a.cpp", "<grpcpp/grpcpp.h>", False),
    ("ztunnel/ca_client.cpp", "<grpcpp/grpcpp.h>", True),
    ("ztunnel/a.cpp", "<bpf/libbpf.h>", False),
    ("agent/node/a.cpp", '"ztunnel/z.h"', False),
    ("agent/cluster/a.cpp", "<bpf/libbpf.h>", False),
    ("agent/xds/a.cpp", "<openssl/x509.h>", False),
    ("agent/xds/join.cpp", "<openssl/x509.h>", True),
    ("tests/a.cpp", '"tools/main.cpp"', False),
    ("elsewhere/a.cpp", "<vector>", True),  # not a folder of the tree: not looked at
]


def run(root):
    return subprocess.run([sys.executable, CHECKER, root], capture_output=True, text=True, check=False)


def main():
    failures = 0
    for name, include, allowed in CASES:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path in ("base/b.h", "policy/p.h", "ztunnel/z.h", "tools/main.cpp"):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text("")
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f"#include {include}\n")
            result = run(root)
            if (result.returncode == 0) != allowed or (not allowed and name not in result.stderr):
                failures += 1
                print(f"{name} including {include}: wanted {'allowed' if allowed else 'refused'}, got {result.returncode} {result.stderr}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
