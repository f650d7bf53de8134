#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cluster.sh up [NODES] | down | node-stop K | node-start K | exec K COMMAND...    A real Kubernetes cluster, one network/mount/pid/cgroup namespace per node.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
CACHE=${KL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/warren-cluster}; BIN=${KL_BIN:-$CACHE/bin}; export PATH=$BIN:$PATH KL_IMAGES=${KL_IMAGES:-$CACHE/images}
RUN=${KL_RUN:-$CACHE/run}          # keys, kubeconfigs, logs, node trees
P=${KL_PREFIX:-kl}                # prefix of network namespaces and links
NET=172.31.77                     # node network; host is .1, node k is .(10+k)
SVC=10.96
POD=10.244
NET6=fd00:31:77 SVC6=fd00:10:96 POD6=fd00:10:244   # the same in IPv6: every node, pod and dual-stack service has both
CLUSTER=cluster.local
t0=$(date +%s.%N)
say() { printf '[%6.1f] %s\n' "$(echo "$(date +%s.%N) - $t0" | bc)" "$*"; }

pki() {
  mkdir -p "$RUN/pki"; cd "$RUN/pki"
  [ -f ca.crt ] && return
  key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
  key ca; openssl req -x509 -new -key ca.key -subj /CN=kl-ca -days 3650 -out ca.crt -addext keyUsage=critical,keyCertSign,digitalSignature
  key fp-ca; openssl req -x509 -new -key fp-ca.key -subj /CN=kl-front-proxy-ca -days 3650 -out fp-ca.crt -addext keyUsage=critical,keyCertSign,digitalSignature
  crt() { # name subject san ca
    key "$1"
    { echo "keyUsage=critical,digitalSignature,keyEncipherment"; echo "extendedKeyUsage=clientAuth,serverAuth"; [ -n "$3" ] && echo "subjectAltName=$3"; } > "$1.ext" || true
    openssl req -new -key "$1.key" -subj "$2" | openssl x509 -req -CA "${4:-ca}.crt" -CAkey "${4:-ca}.key" -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  }
  crt apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.$CLUSTER,DNS:localhost,IP:127.0.0.1,IP:$SVC.0.1,IP:$NET.11"
  crt admin /O=system:masters/CN=admin ""
  crt kcm /CN=system:kube-controller-manager ""
  crt sched /CN=system:kube-scheduler ""
  crt proxy /CN=system:kube-proxy ""
  crt apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client ""
  crt front-proxy /CN=front-proxy-client "" fp-ca
  for k in 1 2 3; do crt n$k "/O=system:nodes/CN=system:node:n$k" "DNS:n$k,IP:$NET.$((10+k))"; done
  openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  for u in admin kcm sched proxy n1 n2 n3; do
    cat > $u.kubeconfig <<E
apiVersion: v1
kind: Config
clusters: [{name: kl, cluster: {server: "https://$NET.11:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $u, user: {client-certificate-data: $(base64 -w0 $u.crt), client-key-data: $(base64 -w0 $u.key)}}]
contexts: [{name: kl, context: {cluster: kl, user: $u}}]
current-context: kl
E
  done
}

net() { # nodes
  ip link add ${P}br0 type bridge; ip addr add $NET.1/24 dev ${P}br0; ip addr add $NET6::1/64 dev ${P}br0 nodad; ip link set ${P}br0 up
  for k in $(seq "$1"); do
    ip netns add $P-n$k
    ip link add ${P}v$k type veth peer name eth0 netns $P-n$k
    ip link set ${P}v$k master ${P}br0 up
    N="ip -n $P-n$k"
    $N link set lo up; $N addr add $NET.$((10+k))/24 dev eth0; $N addr add $NET6::$((10+k))/64 dev eth0 nodad; $N link set eth0 up
    $N route add default via $NET.1
    ip netns exec $P-n$k sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    for j in $(seq "$1"); do [ $j = $k ] || { $N route add $POD.$j.0/24 via $NET.$((10+j)); $N -6 route add $POD6:$j::/64 via $NET6::$((10+j)); }; done
  done
}

bg() { # name, netns, command...: start in the background, note its pid
  local name=$1 ns=$2; shift 2
  setsid nsenter --net=/run/netns/$ns "$@" > "$RUN/log/$name.log" 2>&1 < /dev/null &
  echo $! > "$RUN/pid/$name"
}

control_plane() {
  local K=$RUN/pki
  rm -rf "$RUN/etcd"; mkdir -p "$RUN/etcd"
  bg etcd $P-n1 etcd --data-dir "$RUN/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380
  bg apiserver $P-n1 "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --advertise-address=$NET.11 --bind-address=0.0.0.0 --secure-port=6443 \
    --client-ca-file="$K/ca.crt" --tls-cert-file="$K/apiserver.crt" --tls-private-key-file="$K/apiserver.key" \
    --kubelet-client-certificate="$K/apiserver-kubelet.crt" --kubelet-client-key="$K/apiserver-kubelet.key" --kubelet-certificate-authority="$K/ca.crt" \
    --kubelet-preferred-address-types=InternalIP --allow-privileged=true --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-account-issuer=https://kubernetes.default.svc.$CLUSTER --service-account-key-file="$K/sa.pub" --service-account-signing-key-file="$K/sa.key" \
    --service-cluster-ip-range=$SVC.0.0/16,$SVC6::/112 --requestheader-client-ca-file="$K/fp-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group --requestheader-username-headers=X-Remote-User \
    --proxy-client-cert-file="$K/front-proxy.crt" --proxy-client-key-file="$K/front-proxy.key" --enable-aggregator-routing=true ${KL_APISERVER_FLAGS:-}
  for i in $(seq 600); do
    [ "$(curl -sk --cacert "$K/ca.crt" --cert "$K/admin.crt" --key "$K/admin.key" https://$NET.11:6443/readyz 2>/dev/null)" = ok ] && break; sleep 0.1
  done
  say "kube-apiserver ready"
  bg kcm $P-n1 "$BIN/kube-controller-manager" --kubeconfig="$K/kcm.kubeconfig" --authentication-kubeconfig="$K/kcm.kubeconfig" --authorization-kubeconfig="$K/kcm.kubeconfig" \
    --service-account-private-key-file="$K/sa.key" --root-ca-file="$K/ca.crt" --cluster-signing-cert-file="$K/ca.crt" --cluster-signing-key-file="$K/ca.key" \
    --use-service-account-credentials=true --leader-elect=false --allocate-node-cidrs=false --bind-address=127.0.0.1 \
    --kube-api-qps=500 --kube-api-burst=500 --node-monitor-period=1s --node-monitor-grace-period=12s --concurrent-deployment-syncs=5
  bg sched $P-n1 "$BIN/kube-scheduler" --kubeconfig="$K/sched.kubeconfig" --authentication-kubeconfig="$K/sched.kubeconfig" --authorization-kubeconfig="$K/sched.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
}

node() { # k
  local k=$1 N=$RUN/n$1
  mkdir -p $N/{containerd,kubelet,cni,log-pods,log-containers,cni-conf,cni-bin,etc}
  "$HERE/node-conf.sh" "$k" "$N" "$RUN" "$BIN" $NET $POD $SVC $CLUSTER $POD6
  # the node's cgroup in every hierarchy, below the caller's own for memory
  setsid nsenter --net=/run/netns/$P-n$k "$HERE/node-enter.sh" "$k" "$N" "$RUN" "$BIN" $P > "$RUN/log/n$k-init.log" 2>&1 < /dev/null &
  echo $! > "$RUN/pid/n$k"
}

up() {
  local n=${1:-1}
  mkdir -p "$RUN"/{log,pid}
  pki; say "keys made"
  net "$n"; say "network made"
  for k in $(seq "$n"); do node $k; done
  control_plane
  export KUBECONFIG=$RUN/pki/admin.kubeconfig
  "$BIN/kubectl" create clusterrolebinding kl-proxy --clusterrole=system:node-proxier --user=system:kube-proxy >/dev/null
  for k in $(seq "$n"); do
    for i in $(seq 600); do "$BIN/kubectl" get node n$k >/dev/null 2>&1 && break; sleep 0.2; done
    "$BIN/kubectl" patch node n$k -p "{\"spec\":{\"podCIDR\":\"$POD.$k.0/24\",\"podCIDRs\":[\"$POD.$k.0/24\",\"$POD6:$k::/64\"]}}" >/dev/null
  done
  say "nodes registered"
  "$BIN/kubectl" wait --for=condition=Ready node --all --timeout=120s >/dev/null
  say "nodes Ready"
  "$BIN/kubectl" apply -f <(sed "s#@BIN@#$BIN#" "$HERE/coredns.yaml") >/dev/null
  "$BIN/kubectl" -n kube-system rollout status deploy/coredns --timeout=60s >/dev/null
  say "CoreDNS ready"
}

ours() { grep -qaF "$RUN" "/proc/$1/cmdline" 2>/dev/null; }   # a pid file may be stale and the number reused
down() {
  local f p c
  for f in kcm sched apiserver etcd; do p=$(cat "$RUN/pid/$f" 2>/dev/null) && ours "$p" && kill -9 "$p" || true; done
  for f in "$RUN"/pid/n[0-9]; do [ -f "$f" ] || continue
    p=$(cat "$f"); for c in $(pgrep -P "$p"); do ours "$c" && kill -9 "$c" || true; done   # process 1 of the node: all the rest goes with it
    ours "$p" && kill -9 "$p" 2>/dev/null || true
  done
  sleep 1
  for k in 1 2 3; do ip netns del $P-n$k 2>/dev/null || true; ip link del ${P}v$k 2>/dev/null || true; done
  ip link del ${P}br0 2>/dev/null || true
  for d in $(cat "$RUN"/pid/cgroups-n* 2>/dev/null); do
    for i in $(seq 50); do [ -d "$d" ] || break; find "$d" -depth -type d -exec rmdir {} \; 2>/dev/null || true; [ -d "$d" ] && sleep 0.1; done
  done
  rm -rf "$RUN"/n[0-9] "$RUN/etcd" "$RUN/pid"
}
node_pid() { pgrep -P "$(cat "$RUN/pid/n$1")"; }
node_stop() { kill -9 "$(node_pid $1)"; }
node_exec() { local k=$1; shift; local p; p=$(node_pid $k); exec nsenter -t "$p" -m -p -n -i -u -C "$@"; }
case ${1:-} in node-start) node $2;; node-stop) node_stop $2;; exec) shift; node_exec "$@";; up) up "${2:-1}";; down) down;; *) sed -n 3p "$0"; exit 2;; esac
