#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# node-enter.sh K NODEDIR RUN BIN PREFIX: run inside the node's network namespace; makes the rest of the node
set -eu
k=$1 N=$2 RUN=$3 BIN=$4 P=$5
# Own cgroup in every hierarchy: it becomes the root of the node's cgroup namespace.
mine=$(cat /proc/$$/cgroup)   # read once: the loop changes it
while IFS=: read -r id ctl path; do
  case $ctl in
    "") d=/sys/fs/cgroup/unified$path;;
    name=systemd) d=/sys/fs/cgroup/systemd$path;;
    *) d=/sys/fs/cgroup/$ctl$path;;
  esac
  [ -d "$d" ] || continue
  d=${d%/}/$P-n$k
  # what a killed node left: cadvisor spends 3 s on each such cgroup before kubelet becomes Ready
  [ -d "$d" ] && find "$d" -mindepth 1 -depth -type d -exec rmdir {} \; 2>/dev/null || true
  mkdir -p "$d"; echo "$d" >> "$RUN/pid/cgroups-n$k"
  if [ "$ctl" = cpuset ]; then
    cat "${d%/*}/cpuset.cpus" > "$d/cpuset.cpus"; cat "${d%/*}/cpuset.mems" > "$d/cpuset.mems"; echo 1 > "$d/cgroup.clone_children"
  fi
  echo $$ > "$d/cgroup.procs"
done <<< "$mine"
exec unshare --mount --pid --uts --ipc --cgroup --fork --kill-child "$(dirname "$0")/node-init.sh" "$k" "$N" "$RUN" "$BIN"
