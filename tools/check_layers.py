#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may include whom (ARCHITECTURE.md, "Layers"). Exits 1 with one line per breach.

    check_layers.py [ROOT]

Each rule names the folders of ours and the third-party headers that a set of files may include; the first rule that fits a file counts.
The C and C++ standard libraries and POSIX are free for user space; bpf/*.bpf.c sees only bpf/ and libbpf's kernel-side headers.
"""
import pathlib
import re
import sys

SUFFIXES = {".h", ".c", ".cpp"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')

# Third-party headers by the name used in the rules.
THIRD_PARTY = {
    "spdlog": r"spdlog/|fmt/", "cli11": r"CLI/", "yaml": r"yaml-cpp/",
    "protobuf": r"google/protobuf/|google/rpc/", "grpc": r"grpc\+\+/|grpcpp/|grpc/", "json": r"nlohmann/", "curl": r"curl/",
    "openssl": r"openssl/", "nghttp2": r"nghttp2/", "cares": r"ares\.h|ares_.*\.h", "ipsec_mb": r"intel-ipsec-mb\.h|ipsec-mb\.h",
    "libbpf": r"bpf/(libbpf|bpf|btf)\.h|bpf/libbpf_.*\.h", "kernel": r"bpf/bpf_(helpers|core_read|endian|tracing)\.h|linux/bpf\.h", "seccomp": r"seccomp\.h", "cap": r"sys/capability\.h", "catch": r"catch2/", "zlib": r"zlib\.h",
}
GENERATED = r"proto/.*\.(pb|grpc\.pb)\.h$"  # included as "proto/x.pb.h"

# (files, our folders they may include, third-party names)
RULES = [
    (r"base/(config)[a-z_]*\.(h|cpp)", ["base"], ["cli11", "yaml", "spdlog"]),
    (r"base/confine\.(h|cpp)", ["base"], ["cap", "seccomp"]),
    (r"base/openssl_ptr\.(h|cpp)", ["base"], ["openssl"]),
    (r"base/gzip\.(h|cpp)", ["base"], ["zlib"]),
    (r"base/", ["base"], ["spdlog"]),
    (r"policy/[a-z_]*_proto\.(h|cpp)", ["base", "policy", "generated"], ["protobuf"]),
    (r"policy/[a-z_]*_yaml\.(h|cpp)", ["base", "policy"], ["yaml"]),
    (r"policy/", ["base", "policy"], []),
    (r"agent/xds/(join[a-z_]*|loopback_certificate)\.(h|cpp)", ["base", "agent/xds", "generated"], ["grpc", "protobuf", "openssl"]),
    (r"agent/xds/", ["base", "agent/xds", "generated"], ["grpc", "protobuf"]),
    (r"agent/kube/kube_config\.(h|cpp)", ["base", "agent/kube", "policy/document.h", "policy/document_yaml.h"], []),
    (r"agent/kube/", ["base", "agent/kube"], ["curl", "json"]),
    (r"agent/cni/", ["base", "agent/cni"], ["json"]),
    (r"agent/node/revocation_lists\.(h|cpp)", ["base", "agent/node"], ["openssl"]),
    (r"agent/node/", ["base", "policy", "agent/xds", "agent/kube", "agent/cni", "agent/node", "bpf/abi.h", "generated"],
     ["libbpf", "grpc", "protobuf", "json", "cap", "seccomp", "cli11"]),
    (r"agent/cluster/", ["base", "policy", "agent/xds", "agent/kube", "agent/cluster", "generated"],
     ["openssl", "grpc", "protobuf", "json", "yaml", "cap", "seccomp", "cli11"]),
    (r"ztunnel/[a-z_]*_client\.(h|cpp)", ["base", "policy", "agent/xds", "ztunnel", "generated"],
     ["openssl", "grpc", "protobuf", "nghttp2"]),
    (r"ztunnel/record_[a-z_]*\.(h|cpp)", ["base", "ztunnel"], ["openssl", "ipsec_mb"]),
    (r"ztunnel/", ["base", "policy", "agent/xds", "ztunnel", "generated"],
     ["openssl", "nghttp2", "cares", "protobuf", "json", "cap", "seccomp", "cli11"]),
    (r"bpf/", ["bpf"], ["kernel"]),
    (r"tools/|tests/", ["base", "policy", "agent", "ztunnel", "bpf/abi.h", "generated", "tools", "tests"], list(THIRD_PARTY)),
]


def third_party(name):
    for key, pattern in THIRD_PARTY.items():
        if re.match(pattern, name):
            return key
    return None


def inside(name, folder):
    return name == folder or name.startswith(folder + "/")


def check_file(root, path):
    rel = path.relative_to(root).as_posix()
    rule = next((r for r in RULES if re.match(r[0], rel)), None)
    if rule is None:
        yield f"{rel}: no rule of tools/check_layers.py covers this folder"
        return
    pattern, folders, libraries = rule
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        quote, name = found.groups()
        where = f"{rel}:{number}"
        if re.search(r"(^|/)main\.cpp$", name):
            yield f"{where}: a main.cpp is not included"
        elif rel.startswith("bpf/") and rel.endswith(".bpf.c"):
            if quote == '"' and not (root / name).is_file() and name != "vmlinux.h":
                yield f"{where}: \"{name}\" is not a file of bpf/"
            elif quote == '"' and name.endswith(".bpf.c"):
                yield f"{where}: BPF programs do not include each other"
        elif quote == '"' and re.match(GENERATED, name):
            if "generated" not in folders:
                yield f"{where}: {pattern} may not include generated protobuf ({name})"
        elif quote == '"':
            if not (root / name).is_file() and not name.endswith(".skel.h"):
                yield f"{where}: \"{name}\" is not a path from the root of the tree"
            elif not name.endswith(".skel.h") and not any(inside(name, f) for f in folders):
                yield f"{where}: {pattern} may not include \"{name}\""
        else:
            library = third_party(name)
            if library and library not in libraries:
                yield f"{where}: {pattern} may not include <{name}> ({library})"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    tops = ["base", "policy", "agent", "ztunnel", "bpf", "tools", "tests"]
    files = sorted(p for t in tops for p in (root / t).rglob("*") if p.suffix in SUFFIXES and p.is_file())
    breaches = [b for p in files for b in check_file(root, p)]
    print("\n".join(breaches), end="\n" if breaches else "", file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
