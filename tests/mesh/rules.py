# SPDX-License-Identifier: Apache-2.0
"""The packet rules that a stock ambient node agent sets in a pod (data-plane contract 8.5, 8.6): capture by REDIRECT, exemption by mark,
and the policy route that leads an application's replies for a foreign source address back to the tunnel's transparent socket."""
from netns import ip_batch

TUNNEL, REPLY = "0x539/0xfff", "0x111/0xfff"
PROBE = {4: "169.254.7.127/32", 6: "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128"}
LOOPBACK = {4: "127.0.0.1/32", 6: "::1/128"}


def restore_text(family, dns):
    loop, probe = LOOPBACK[family], PROBE[family]
    raw = [
        "*raw",
        f"-A PREROUTING -p udp --sport 53 -m mark ! --mark {TUNNEL} -j CT --zone 1",
        f"-A OUTPUT -p udp --dport 53 -m mark --mark {TUNNEL} -j CT --zone 1",
        "COMMIT",
    ]
    mangle = [
        "*mangle",
        f"-A PREROUTING -m mark --mark {TUNNEL} -j CONNMARK --set-xmark {REPLY}",
        f"-A OUTPUT -m connmark --mark {REPLY} -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
        "COMMIT",
    ]
    capture_dns = [
        f"-A OUTPUT ! -o lo -p udp --dport 53 -m mark ! --mark {TUNNEL} -j REDIRECT --to-ports 15053",
        f"-A OUTPUT ! -d {loop} -p tcp --dport 53 -m mark ! --mark {TUNNEL} -j REDIRECT --to-ports 15053",
    ]
    nat = [
        "*nat",
        f"-A PREROUTING -s {probe} -p tcp -j ACCEPT",
        f"-A PREROUTING ! -d {loop} -p tcp ! --dport 15008 -m mark ! --mark {TUNNEL} -j REDIRECT --to-ports 15006",
        f"-A OUTPUT -d {probe} -p tcp -j ACCEPT",
        *(capture_dns if dns else []),
        f"-A OUTPUT -p tcp -m mark --mark {REPLY} -j ACCEPT",
        f"-A OUTPUT ! -d {loop} -o lo -j ACCEPT",
        f"-A OUTPUT ! -d {loop} -p tcp -m mark ! --mark {TUNNEL} -j REDIRECT --to-ports 15001",
        "COMMIT",
    ]
    return "\n".join([*(raw if dns else []), *mangle, *nat]) + "\n"


def redirect(pod, dns=False):
    """From now on the pod's TCP goes through the tunnel's ports, and with dns its name questions too."""
    # -w: the lock of iptables is one file for all namespaces of the host.
    pod.run("iptables-restore", "-w", "20", "--noflush", text=restore_text(4, dns))
    pod.run("ip6tables-restore", "-w", "20", "--noflush", text=restore_text(6, dns))
    ip_batch([f"rule add fwmark {REPLY} pref 32764 lookup 100", "route add local 0.0.0.0/0 dev lo table 100",
              f"-6 rule add fwmark {REPLY} pref 32764 lookup 100", "-6 route add local ::/0 dev lo table 100"], pod.netns)
