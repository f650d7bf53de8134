#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# node-init.sh K NODEDIR RUN BIN: process 1 of a node
set -u
k=$1 N=$2 RUN=$3 BIN=$4
hostname n$k
mount --make-rprivate /
mount -t proc proc /proc
# kubelet wants these values; give them without changing the machine's
for kv in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1; do
  f=$N/etc/$(echo ${kv%=*} | tr / .); echo ${kv#*=} > $f; mount --bind $f /proc/sys/${kv%=*}
done
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
if [ "${KL_CGROUP:-}" = v2 ]; then   # cgroup2 alone, without controllers (experiment)
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mkdir -p /sys/fs/cgroup/system; for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo $p > /sys/fs/cgroup/system/cgroup.procs || true; done 2>/dev/null
else
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
while IFS=: read -r id ctl path; do
  case $ctl in
    "") mkdir /sys/fs/cgroup/unified; mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified;;
    name=systemd) mkdir /sys/fs/cgroup/systemd; mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd;;
    *) mkdir /sys/fs/cgroup/$ctl; mount -t cgroup -o $ctl cgroup /sys/fs/cgroup/$ctl;;
  esac
done < /proc/self/cgroup
fi
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/netns /run/lock /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log/pods /var/log/containers /etc/cni/net.d /opt/cni/bin
b() { mount --bind "$1" "$2"; }
b $N/kubelet /var/lib/kubelet; b $N/containerd /var/lib/containerd; b $N/cni /var/lib/cni
b $N/log-pods /var/log/pods; b $N/log-containers /var/log/containers; b $N/cni-conf /etc/cni/net.d; b $N/cni-bin /opt/cni/bin
mount --make-rshared /
export PATH=$BIN:$PATH
keep() { # LOG COMMAND...: run it again whenever it ends, as systemd would
  local log=$1; shift
  ( while :; do "$@" >> "$log" 2>&1 < /dev/null || true; sleep 0.5; done ) &
}
keep $RUN/log/n$k-containerd.log containerd --config $N/etc/containerd.toml
for i in $(seq 600); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
for t in ${KL_IMAGES:-$(dirname "$0")/images}/*.tar; do ctr -n k8s.io images import --no-unpack $t > /dev/null; done
# In a cgroup of its own, as systemd starts it: the agent tells its probes from other processes' connections by that.
own=/sys/fs/cgroup/unified; [ -d $own ] || own=/sys/fs/cgroup
mkdir -p $own/system.slice/kubelet.service
in_own_cgroup() { echo $BASHPID > $own/system.slice/kubelet.service/cgroup.procs; exec "$@"; }
kubelet_alone() { ( in_own_cgroup kubelet "$@" ); }
keep $RUN/log/n$k-kubelet.log kubelet_alone --config=$N/etc/kubelet.yaml --kubeconfig=$RUN/pki/n$k.kubeconfig --hostname-override=n$k --node-ip=$(ip -o addr show eth0 scope global | awk '{sub("/.*","",$4); print $4}' | paste -sd,) --v=${KL_V:-2}
keep $RUN/log/n$k-proxy.log kube-proxy --config=$N/etc/proxy.yaml --v=2
touch /run/started
while :; do wait -n || true; done   # reap what is left to process 1
