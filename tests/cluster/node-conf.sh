#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# node-conf.sh K NODEDIR RUN BIN NET POD SVC CLUSTER POD6: writes the configuration files of node K
set -eu
k=$1 N=$2 RUN=$3 BIN=$4 NET=$5 POD=$6 SVC=$7 CLUSTER=$8 POD6=$9
RUNC=runc; [ "${KL_CGROUP:-}" = v2 ] && RUNC=$(dirname "$0")/runc-nolimit
cat > $N/etc/containerd.toml <<E
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "kl/pause:1"
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "$RUNC"
E
cat > $N/etc/kubelet.yaml <<E
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
imageServiceEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $RUN/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $RUN/pki/n$k.crt
tlsPrivateKeyFile: $RUN/pki/n$k.key
clusterDNS: [$SVC.0.10]
clusterDomain: $CLUSTER
resolvConf: $N/etc/resolv.conf
failSwapOn: false
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
serializeImagePulls: false
nodeStatusUpdateFrequency: 4s
nodeLeaseDurationSeconds: 10
syncFrequency: 10s
protectKernelDefaults: true
E
: > $N/etc/resolv.conf
cat > $N/etc/proxy.yaml <<E
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $RUN/pki/proxy.kubeconfig}
hostnameOverride: n$k
mode: ${KL_PROXY_MODE:-nftables}
clusterCIDR: $POD.0.0/16,$POD6::/48
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 0.0.0.0:10256
bindAddress: $NET.$((10+k))
E
cat > $N/cni-conf/10-kl.conflist <<E
{"cniVersion": "0.4.0", "name": "kl", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$POD.$k.0/24"}], [{"subnet": "$POD6:$k::/64"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
]}
E
cp -n /usr/lib/cni/* $N/cni-bin/
