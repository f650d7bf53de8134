#!/usr/bin/env bash
# Builds and runs every test: unit, kernel, end to end, fuzz corpora and ten seconds of every fuzz target. Ends with the counts.
#
#   tools/test.sh              on a bare Debian 12 as root it installs what it needs first
#   FUZZ_SECONDS=600 tools/test.sh
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
tools/install_packages.sh

# In CI a test that could not run for lack of root or BPF has failed.
[ "${CI:-}" != true ] || export WARREN_REQUIRE_ROOT=1
fuzz_seconds=${FUZZ_SECONDS:-10}
results=$root/build/results
rm -rf "$results"
mkdir -p "$results"

# Peers that are no Debian package; without them their tests are skipped.
tests/mesh/peers.sh >/dev/null || echo "tests/mesh/peers.sh failed; tests with Envoy are skipped" >&2
tests/agent/xds/peers.sh >/dev/null || echo "tests/agent/xds/peers.sh failed; tests with stock gRPC are skipped" >&2

cmake --preset dev >"$results/configure-dev.log" || { cat "$results/configure-dev.log"; exit 1; }
cmake --build --preset dev
status=0
ctest --preset dev -j "$(nproc)" --output-junit "$results/dev.xml" || status=1

cmake --preset fuzz >"$results/configure-fuzz.log" || { cat "$results/configure-fuzz.log"; exit 1; }
cmake --build --preset fuzz --target fuzz_targets
tools/fuzz.sh "$fuzz_seconds" "$results" || status=1

tools/count_results.py "$results" || status=1
exit $status
