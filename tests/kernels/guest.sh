#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The first process of the guest that run.sh boots: a node of two pods with a real agent and a real tunnel, then tests/bpf. Speaks to the
# host over the serial console: "ok" or "FAILED" and a sentence for each thing looked at, and at the end WARREN PASSED or WARREN FAILED.
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t bpf bpf /sys/fs/bpf
mount -t devtmpfs dev /dev
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs run /run
mkdir -p /dev/shm /run/netns
for module in veth inet_diag tcp_diag mptcp tcp_bbr; do [ ! -f /lib/modules/$module.ko ] || insmod /lib/modules/$module.ko; done
kernel=$(uname -r)
echo "KERNEL $kernel"
failed=0

check() { # SENTENCE COMMAND...
    local sentence=$1
    shift
    if "$@"; then echo "ok $sentence"; else echo "FAILED $sentence: $*"; failed=1; fi
}
within() { # SECONDS COMMAND...: the first success
    local end=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -le $end ] || return 1
        sleep 0.1
    done
}
status() { curl -s -m 5 http://127.0.0.1:15030/status | tr -d ' \n'; }
status_has() { status | grep -q -- "$1"; }
counter_is() { status_has "\"$1\":$2[,}]"; }
counter() { status | grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d: -f2; }
in_pod() { ip netns exec "$1" "${@:2}"; }
ask() { [ "$(in_pod "$1" curl -s -m 10 "http://$2/")" = answer ]; }
refused() { in_pod "$1" curl -s -m 10 "http://$2/" && return 1 || [ $? = 7 ]; } # 7: it could not connect

make_node() {
    ip link set lo up
    sysctl -qw net.ipv4.ip_forward=1
    local name number
    for name in a b; do
        [ $name = a ] && number=2 || number=3
        ip netns add $name
        ip link add eth0 netns $name type veth peer name v-$name
        ip addr add 10.77.1.1/32 dev v-$name
        ip link set v-$name up
        ip route add 10.77.1.$number dev v-$name
        ip -n $name link set lo up
        ip -n $name addr add 10.77.1.$number/32 dev eth0
        ip -n $name link set eth0 up
        ip -n $name route add 10.77.1.1 dev eth0
        ip -n $name route add default via 10.77.1.1
    done
    echo -n answer >/www/index.html
    for number in 7000 7001 7002; do in_pod b httpd -p $number -h /www; done
    cat >/etc/pods.yaml <<'END'
pods:
- {name: a, namespace: default, serviceAccount: a, uid: Kubernetes//Pod/default/a, netns: /run/netns/a, addresses: [10.77.1.2]}
- {name: b, namespace: default, serviceAccount: b, uid: Kubernetes//Pod/default/b, netns: /run/netns/b, addresses: [10.77.1.3]}
END
}

write_mesh() { # PORT...: denied at b
    local name number ports=$*
    {
        echo "workloads:"
        for name in a b; do
            [ $name = a ] && number=2 || number=3
            cat <<END
- uid: Kubernetes//Pod/default/$name
  name: $name
  namespace: default
  serviceAccount: $name
  trustDomain: cluster.local
  workloadIps: [10.77.1.$number]
  protocol: HBONE
  node: n1
  network: ""
  clusterId: Kubernetes
  status: Healthy
  services: {}
  authorizationPolicies: [$([ $name = a ] || echo default/closed)]
END
        done
        echo "services: []"
        echo "policies:"
        echo "- {name: closed, namespace: default, scope: WorkloadSelector, action: Deny, dryRun: false, rules: [[[{destinationPorts: [${ports// /, }]}]]]}"
    } >/etc/mesh.new
    mv /etc/mesh.new /etc/mesh.yaml
}

start_agent() { # same-node mode
    warren-agent --instance k --node-name n1 --mesh-file /etc/mesh.yaml --pods-file /etc/pods.yaml --same-node-mode "$1" --node-netns /proc/1/ns/net >>/tmp/agent.log 2>&1 &
    agent=$!
    within 30 status_has '"pods"' || { cat /tmp/agent.log; return 1; }
}

start_tunnel() {
    echo "nameserver 127.0.0.1" >/etc/resolv.conf # it wants one; nobody is asked
    mkdir -p /sys/fs/cgroup/k-tunnel
    (echo 0 >/sys/fs/cgroup/k-tunnel/cgroup.procs &&
        NODE_NAME=n1 PROXY_MODE=shared CA_ADDRESS= WARREN_LOCAL_CA=/ca INPOD_UDS=/run/k/zds.sock WARREN_FLOW_SOCKET=/run/k/feed.sock \
            XDS_ADDRESS=unix:/run/k/xds.sock exec warren-ztunnel >/tmp/tunnel.log 2>&1) &
    within 30 curl -s -f -m 5 -o /dev/null http://127.0.0.1:15021/healthz/ready || { cat /tmp/tunnel.log; return 1; }
}

captured() { [ "$(status | grep -o '"state":"captured"' | wc -l)" = 2 ]; }

# What this kernel lacks is said, and what stands in for it is used.
check_features() {
    case $kernel in
        6.1.*)
            check "6.1 has no bpf_sock_destroy, and status says what is used instead" status_has '"name":"sock_destroy","available":false,"used":false,"required":false,"why_not":"needsLinux6.5;netlinkisusedinstead"'
            check "netlink ends connections" status_has '"name":"netlink_destroy","available":true,"used":true,'
            ;;
        *)
            check "bpf_sock_destroy is used" status_has '"name":"sock_destroy","available":true,"used":true,'
            check "netlink is not" status_has '"name":"netlink_destroy","available":true,"used":false,'
            ;;
    esac
}

check_direct() {
    check "an allowed connection of one node is answered" ask a 10.77.1.3:7000
    check "and went straight" counter_is connect_direct 1
    check "announced and taken" counter_is announced_taken 1
    check "a denied one is refused" refused a 10.77.1.3:7001
    check "at connect" counter_is connect_denied 1
    check "its record names the policy" within 10 eval 'curl -s "http://127.0.0.1:15030/flows?limit=10" | grep -q default/closed'
}

# An open connection whose verdict goes: ended, by whatever this kernel has.
check_judged() {
    in_pod a bash -c 'exec 3<>/dev/tcp/10.77.1.3/7002; cat <&3; echo >/tmp/ended' >/dev/null 2>&1 &
    check "a connection is open" within 5 counter_is connect_direct 2
    check "and stays" [ ! -e /tmp/ended ]
    write_mesh 7001 7002
    check "a policy that comes to deny it ends it" within 10 [ -e /tmp/ended ]
    check "which was the agent" status_has '"ended":1,'
    check "a new one is refused" refused a 10.77.1.3:7002
    check "what is allowed goes on" ask a 10.77.1.3:7000
}

check_tunnel() {
    check "plaintext from outside of the mesh is the tunnel's, which passes it on" eval '[ "$(curl -s -m 10 http://10.77.1.3:7000/)" = answer ]'
    check "by way of 15006" [ "$(counter inbound_plaintext)" -ge 1 ] # a slow guest sends its SYN again
    kill -KILL $agent
    wait $agent 2>/dev/null
    check "without an agent the allowed is answered" ask a 10.77.1.3:7000
    check "and the denied refused" refused a 10.77.1.3:7001
    start_agent encrypted
    check "a new agent takes over what is there" within 30 captured
    within 30 status_has '"connected":\[{' || true
    local before
    before=$(counter connect_tunnel)
    check "where encryption is demanded it is answered through the tunnel" within 30 ask a 10.77.1.3:7000
    check "captured at connect" eval "[ \"\$(counter connect_tunnel)\" -gt ${before:-0} ]"
    check "and came as HBONE" eval '[ "$(counter inbound_hbone)" -ge 1 ]'
}

end_to_end() {
    make_node
    write_mesh 7001
    check "the agent starts and every program loads" start_agent direct
    check "a tunnel starts" start_tunnel
    [ $failed = 0 ] || return
    check "both pods are captured" within 30 captured
    within 30 eval '[ "$(counter verdict_pairs)" -ge 2 ]'
    check_features
    check_direct
    check_judged
    check_tunnel
    if [ $failed = 1 ]; then status; tail -n 30 /tmp/agent.log; tail -n 30 /tmp/tunnel.log; fi
    kill -TERM $agent
    check "uninstalling leaves no pin" eval 'within 10 warren-agent uninstall --instance k --node-name n1 --mesh-file /etc/mesh.yaml --pods-file /etc/pods.yaml && [ ! -e /sys/fs/bpf/warren/k ]'
}

end_to_end
grep -q warren_quick=1 /proc/cmdline || check "tests/bpf passes" env WARREN_BPF_BULK_MIB=16 WARREN_BPF_SLOW=1 bpf_test --use-colour no -d yes "$(cat /etc/tests)"
if [ $failed = 0 ]; then echo "WARREN PASSED"; else echo "WARREN FAILED"; fi
poweroff -f
