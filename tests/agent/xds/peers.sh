#!/usr/bin/env bash
# Puts stock gRPC for Python into an environment under the build folder, for peers_test.py. Quick when it is there.
#
#   tests/agent/xds/peers.sh [FOLDER]      FOLDER: default build/venv
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
venv=${1:-$root/build/venv}
# Releases, not the newest: what a peer does must not change under a test.
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import grpc_tools' 2>/dev/null ||
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --only-binary :all: "grpcio==1.85.1" "grpcio-tools==1.85.1" >&2
