#!/usr/bin/env bash
# Builds Warren, then shows what a mesh does: two nodes of namespaces on this machine, with real programs in their pods (tools/lab). On a bare
# Debian 12 as root it installs what it needs first. --keep leaves the lab up; tools/demo.sh --help lists the rest.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
case " $* " in *" --help "* | *" -h "*) exec python3 -B "$root/tools/lab/lab.py" demo --help ;; esac
if [ "$(id -u)" != 0 ]; then
    echo "demo.sh: it makes network namespaces and loads kernel programs, which needs root; run it with sudo" >&2
    exit 1
fi
cd "$root"
tools/install_packages.sh
echo "building (some minutes the first time) ..."
mkdir -p build
log=build/demo-build.log
{ cmake --preset release && cmake --build --preset release --target warren warren-agent warren-ztunnel warren-controller; } >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    echo "the build failed; the whole log is in $log" >&2
    exit 1
}
exec build/release/bin/warren-lab demo "$@"
