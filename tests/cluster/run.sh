#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/cluster/run.sh [hybrid|v2]...: the chart in a real two-node cluster on this machine, once for each cgroup layout (both without an
# argument). As root. Builds the cluster's programs into a cache (once, 7 to 15 minutes), Warren's programs (build/dev, or WARREN_BIN) and
# its image; one cluster at a time on a machine. STEPS="STEP..." runs those of chart_test.py only. KEEP=1 holds the last cluster, and the lock, until Enter.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
[ "$(id -u)" = 0 ] || { echo "run.sh: needs root: network namespaces, mounts, cgroups" >&2; exit 77; }
cache=${KL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/warren-cluster}
"$here/prepare.sh"

bin=${WARREN_BIN:-$root/build/dev/bin}
programs=(warren warren-agent warren-cni warren-controller warren-ztunnel)
if [ -z "${WARREN_BIN:-}" ]; then
  (cd "$root" && cmake --preset dev >/dev/null && cmake --build --preset dev --target "${programs[@]}" >/dev/null)
fi

export WARREN=$bin/warren
work=$(mktemp -d /tmp/warren-cluster-XXXXXX)
export KL_RUN=$work/run KL_IMAGES=$work/images
mkdir -p "$KL_IMAGES"
ln -s "$cache"/images/*.tar "$KL_IMAGES/"
"$root/tools/image.py" --bin "$bin" --name docker.io/warren/warren:test --out "$KL_IMAGES/warren.tar"

exec 9>/tmp/cluster.lock
flock -w 1800 9 || { echo "run.sh: another cluster is up on this machine (/tmp/cluster.lock)" >&2; exit 1; }

modes=("$@")
[ ${#modes[@]} -gt 0 ] || modes=(hybrid v2)
status=0
for mode in "${modes[@]}"; do
  case $mode in hybrid) export KL_CGROUP=;; v2) export KL_CGROUP=v2;; *) echo "run.sh: no cgroup layout '$mode'; hybrid or v2" >&2; exit 2;; esac
  echo "== cgroups: $mode"
  # The lock is ours, not the cluster's programs'.
  if "$here/cluster.sh" up 2 9>&- && KUBECONFIG=$KL_RUN/pki/admin.kubeconfig PATH=$cache/bin:$PATH \
    timeout 900 python3 "$here/chart_test.py" "$root" ${STEPS:-} 9>&-; then :; else status=1; fi
  # Under the lock all the while: the subnet is fixed, and another cluster would take this one's network away.
  if [ "${KEEP:-}" = 1 ] && [ "$mode" = "${modes[-1]}" ]; then
    read -rp "kept: export KUBECONFIG=$KL_RUN/pki/admin.kubeconfig KL_RUN=$KL_RUN; Enter ends it " || true
  fi
  "$here/cluster.sh" down 9>&-
done
rm -rf "$work"
exit $status
