#!/usr/bin/env bash
# Builds and runs the main job. Today that is the policy engine: three questions about a small mesh, then the cost of decisions and of a
# mesh of 100,000 workloads. On a bare Debian 12 as root it installs what it needs first.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
tools/install_packages.sh
echo "building (about two minutes the first time) ..."
mkdir -p build
log=build/demo-build.log
{ cmake --preset release && cmake --build --preset release; } >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    echo "the build failed; the whole log is in $log" >&2
    exit 1
}
bin=build/release/bin

ask() {
    local want=$1 got=0
    shift
    printf '\n$ warren policy explain -f tools/demo/shop.yaml %s\n' "$*"
    "$bin/warren" policy explain -f tools/demo/shop.yaml "$@" || got=$?
    [ "$got" = "$want" ] || { echo "expected exit code $want, got $got" >&2; exit 1; }
}
ask 0 shop/frontend shop/cart 8080
ask 3 ops/batch shop/cart 8080
ask 3 --plaintext shop/cart shop/payment 8080

printf '\n$ warren-bench policy\n'
"$bin/warren-bench" policy
printf '\nNext: edit tools/demo/shop.yaml and ask again; README.md says more. tools/test.sh runs every test.\n'
