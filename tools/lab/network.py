# SPDX-License-Identifier: Apache-2.0
"""Two nodes on one wire, each pod a veth behind its node, IPv4 and IPv6 side by side. Nothing is made in the machine's own namespace.

    10.77.0.<n>, fd77::<n>         node n            10.77.<n>.<i>, fd77:<n>::<i>    its pods
    10.77.<n>.250, fd77:<n>::250   spare<n>: home of a tunnel that succeeds another, as the pod of a new one in a cluster
    10.77.99.<i>                   services; nobody owns them
"""
import shop
from kernel import ip_batch, sysctl


def spare(node):
    return f"spare{node[1:]}"


def build(place):
    homes = [*shop.PODS, *(spare(node) for node in shop.NODES)]
    names = [*shop.NODES, *homes]
    ip_batch([f"netns add {place.netns(name)}" for name in names])
    for name in names:
        # What nodes run by default. The machine's own is inherited, and may be one that paces every local hop.
        sysctl(place.netns(name), "net.ipv4.tcp_congestion_control", "cubic")
    for node in shop.NODES:
        sysctl(place.netns(node), "net.ipv4.ip_forward", "1")
        sysctl(place.netns(node), "net.ipv6.conf.all.forwarding", "1")
        sysctl(place.netns(node), "net.ipv6.conf.default.accept_dad", "0")
    wire = f"link add wire netns {place.netns('n1')} type veth peer name wire netns {place.netns('n2')}"
    ip_batch([wire, *(f"link add eth0 netns {place.netns(home)} type veth peer name {link(home)} netns {place.netns(node_of(home))}" for home in homes)])
    for home in homes:
        _home(place, home)
    for node in shop.NODES:
        _node(place, node, [home for home in homes if node_of(home) == node])


def node_of(home):
    return shop.PODS[home].node if home in shop.PODS else f"n{home[-1]}"


def link(home):
    """The node's end of a pod's link."""
    return f"v-{home}"


def addresses(home):
    if home in shop.PODS:
        return shop.PODS[home].v4, shop.PODS[home].v6
    number = home[-1]
    return f"10.77.{number}.250", f"fd77:{number}::250"


def _home(place, home):
    number, (v4, v6) = node_of(home)[1:], addresses(home)
    gate4, gate6 = f"10.77.{number}.1", f"fd77:{number}::1"
    ip_batch(["link set lo up", f"addr add {v4}/32 dev eth0", f"addr add {v6}/128 dev eth0 nodad", "link set eth0 up",
              f"route add {gate4} dev eth0 scope link", f"route add default via {gate4} src {v4}",
              f"-6 route add {gate6} dev eth0", f"-6 route add default via {gate6} src {v6}"], place.netns(home))


def _node(place, node, homes):
    number = int(node[1:])
    other = 3 - number
    lines = ["link set lo up", "link set wire up", f"addr add 10.77.0.{number}/24 dev wire", f"addr add fd77::{number}/64 dev wire nodad",
             f"route add 10.77.{other}.0/24 via 10.77.0.{other}", f"-6 route add fd77:{other}::/64 via fd77::{other}"]
    for home in homes:
        v4, v6 = addresses(home)
        lines += [f"link set {link(home)} up", f"addr add 10.77.{number}.1/32 dev {link(home)}",
                  f"addr add fd77:{number}::1/128 dev {link(home)} nodad", f"route add {v4} dev {link(home)}", f"-6 route add {v6} dev {link(home)}"]
    ip_batch(lines, place.netns(node))
