# SPDX-License-Identifier: Apache-2.0
"""Nodes and pods as network namespaces: two nodes on one wire, each pod a veth behind its node, IPv4 and IPv6 side by side.

    10.77.0.<n>, fd77::<n>              node n                 10.77.<n>.<i>, fd77:<n>::<i>        its pods
    10.77.99.<i>, fd77:99::<i>          service addresses; nobody owns them, only a tunnel can reach them

Names are unique per process and lab, and nothing is made in the host's namespace, so labs run side by side with equal addresses.
"""
import atexit
import ipaddress
import itertools
import os
import subprocess

from netns import Netns, ip_batch

_numbers = itertools.count(1)
_living = set()


class Node(Netns):
    def __init__(self, netns, number):
        super().__init__(netns)
        self.number = number
        self.name = f"n{number}"
        self.v4, self.v6 = f"10.77.0.{number}", f"fd77::{number}"


class Pod(Netns):
    """account: the service account. In a mesh unless plain."""

    namespace = "default"

    def __init__(self, netns, name, node, index, account, plain):
        super().__init__(netns)
        self.name, self.node, self.account, self.plain = name, node, account, plain
        self.v4, self.v6 = f"10.77.{node.number}.{index}", f"fd77:{node.number}::{index}"
        self.uid = f"Kubernetes//Pod/{self.namespace}/{name}"
        self.identity = f"spiffe://cluster.local/ns/{self.namespace}/sa/{account}"

    def address(self, family):
        return {4: self.v4, 6: self.v6}[family]


class Lab:
    """pods: (name, node number, account or None for a pod outside the mesh)."""

    def __init__(self, pods, nodes=2):
        self.prefix = f"wrt{os.getpid()}-{next(_numbers)}-"
        self.names = []
        self.nodes, self.pods = {}, {}
        _living.add(self)
        try:
            self._make(pods, nodes)
        except BaseException:
            self.close()
            raise

    def _make(self, pods, nodes):
        self.names = [f"n{n}" for n in range(1, nodes + 1)] + [name for name, _, _ in pods]
        ip_batch([f"netns add {self.prefix}{name}" for name in self.names])
        for number in range(1, nodes + 1):
            self.nodes[f"n{number}"] = Node(f"{self.prefix}n{number}", number)
        for index, (name, node, account) in enumerate(pods, start=2):
            self.pods[name] = Pod(self.prefix + name, name, self.nodes[f"n{node}"], index, account or "none", account is None)
        for netns in [*self.nodes.values(), *self.pods.values()]:
            # What nodes run by default. The host's own default is inherited, and may be one that paces every local hop.
            netns.sysctl("net.ipv4.tcp_congestion_control", "cubic")
        for node in self.nodes.values():
            node.sysctl("net.ipv4.ip_forward", "1")
            node.sysctl("net.ipv6.conf.all.forwarding", "1")
            # Else a node asks nobody for a neighbour before its link-local addresses are a second or two old.
            node.sysctl("net.ipv6.conf.default.accept_dad", "0")
        links = [f"link add eth0 netns {pod.netns} type veth peer name v-{pod.name} netns {pod.node.netns}" for pod in self.pods.values()]
        if nodes == 2:
            links.append(f"link add wire netns {self.nodes['n1'].netns} type veth peer name wire netns {self.nodes['n2'].netns}")
        ip_batch(links)
        for pod in self.pods.values():
            self._make_pod(pod)
        for node in self.nodes.values():
            self._make_node(node)

    @staticmethod
    def _make_pod(pod):
        gate4, gate6 = f"10.77.{pod.node.number}.1", f"fd77:{pod.node.number}::1"
        ip_batch([
            "link set lo up", f"addr add {pod.v4}/32 dev eth0", f"addr add {pod.v6}/128 dev eth0 nodad", "link set eth0 up",
            f"route add {gate4} dev eth0 scope link", f"route add default via {gate4} src {pod.v4}",
            f"-6 route add {gate6} dev eth0", f"-6 route add default via {gate6} src {pod.v6}",
        ], pod.netns)

    def _make_node(self, node):
        lines = ["link set lo up"]
        if len(self.nodes) == 2:
            lines += ["link set wire up", f"addr add {node.v4}/24 dev wire", f"addr add {node.v6}/64 dev wire nodad"]
            other = 3 - node.number
            lines += [f"route add 10.77.{other}.0/24 via 10.77.0.{other}", f"-6 route add fd77:{other}::/64 via fd77::{other}"]
        for pod in self.pods.values():
            if pod.node is node:
                link = f"v-{pod.name}"
                lines += [
                    f"link set {link} up", f"addr add 10.77.{node.number}.1/32 dev {link}", f"addr add fd77:{node.number}::1/128 dev {link} nodad",
                    f"route add {pod.v4} dev {link}", f"-6 route add {pod.v6} dev {link}",
                ]
        ip_batch(lines, node.netns)

    def new_namespace(self, pod):
        """The pod again in another namespace without links, as after a restart of its sandbox."""
        name = f"{pod.name}-again"
        ip_batch([f"netns add {self.prefix}{name}"])
        self.names.append(name)
        again = Pod(self.prefix + name, pod.name, pod.node, int(ipaddress.ip_address(pod.v4)) & 0xFF, pod.account, pod.plain)
        ip_batch(["link set lo up", f"addr add {pod.v4}/32 dev lo", f"addr add {pod.v6}/128 dev lo nodad"], again.netns)
        self.pods[name] = again
        return again

    def close(self):
        _living.discard(self)
        for netns in [*self.pods.values(), *self.nodes.values()]:
            netns.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", self.prefix + name], capture_output=True, check=False)
        self.names, self.pods, self.nodes = [], {}, {}


@atexit.register
def _close_all():
    for lab in list(_living):
        lab.close()
