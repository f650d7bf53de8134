# SPDX-License-Identifier: Apache-2.0
"""The harness itself, without a tunnel: what it builds works, and leaves nothing behind."""
import os
import socket
import subprocess
import unittest

import apps
from lab import Lab
from rules import redirect
from world import PODS


class Harness(unittest.TestCase):
    def setUp(self):
        self.lab = Lab(PODS)
        self.addCleanup(self.lab.close)

    def test_pods_reach_each_other_over_both_families(self):
        client, server, near = (self.lab.pods[name] for name in ("client", "server", "near"))
        for pod in (server, near):
            listener = apps.Server(pod, 7000)
            self.addCleanup(listener.close)
            for ip in (pod.v4, pod.v6, "::ffff:" + pod.v4):
                self.assertEqual(apps.call(client, ip, 7000), "answered", ip)
            self.assertEqual([ip for ip, _ in listener.peers], [client.v4, client.v6, client.v4])

    def test_two_labs_with_equal_addresses_do_not_meet(self):
        other = Lab(PODS)
        self.addCleanup(other.close)
        listener = apps.Server(other.pods["server"], 7000)
        self.addCleanup(listener.close)
        self.assertEqual(apps.call(self.lab.pods["client"], self.lab.pods["server"].v4, 7000), "refused")
        self.assertEqual(apps.call(other.pods["client"], other.pods["server"].v4, 7000), "answered")

    def test_the_packet_rules_lead_to_the_tunnels_ports(self):
        client, plain, server = (self.lab.pods[name] for name in ("client", "plain", "server"))
        redirect(client)
        redirect(server, dns=True)
        greet = {port: apps.named(str(port)) for port in (15001, 15006, 15008)}
        for pod in (client, server):
            for port, handler in greet.items():
                self.addCleanup(apps.Server(pod, port, handler).close)
        own = apps.Server(client, 7001, apps.named("own"))
        self.addCleanup(own.close)
        cases = [  # from, to, port, who answers
            (client, server.v4, 7000, "15001"), (client, server.v6, 7000, "15001"), (client, "::ffff:" + server.v4, 7000, "15001"),
            (client, "10.77.99.1", 80, "15001"), (client, "fd77:99::1", 80, "15001"),
            (plain, server.v4, 7000, "15006"), (plain, server.v6, 7000, "15006"), (plain, server.v4, 15008, "15008"),
            (client, client.v4, 7001, "own"), (client, client.v6, 7001, "own"), (client, "127.0.0.1", 7001, "own"), (client, "::1", 7001, "own"),
        ]
        for source, ip, port, who in cases:
            with self.subTest(source=source.name, ip=ip, port=port):
                with apps.connect(source, ip, port) as connection:
                    self.assertEqual(apps.read_line(connection), who)

    def test_name_questions_are_led_to_the_tunnel_only_with_dns(self):
        for name, dns in (("client", False), ("server", True)):
            pod = self.lab.pods[name]
            redirect(pod, dns)
            listener = pod.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.addCleanup(listener.close)
            listener.bind(("127.0.0.1", 15053))
            listener.settimeout(5 if dns else 0.3)
            asker = pod.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.addCleanup(asker.close)
            asker.sendto(b"question", ("10.77.0.1", 53))
            if dns:
                self.assertEqual(listener.recv(100), b"question")
            else:
                self.assertRaises(TimeoutError, listener.recv, 100)

    def test_a_marked_socket_keeps_a_foreign_source_address(self):
        """As the tunnel dials the application: transparent, marked; the answer comes back by the policy route."""
        server, client = self.lab.pods["server"], self.lab.pods["client"]
        redirect(server)
        listener = apps.Server(server, 7000)
        self.addCleanup(listener.close)
        for family, source, target, level, option in ((socket.AF_INET, client.v4, server.v4, socket.SOL_IP, 19),
                                                      (socket.AF_INET6, client.v6, server.v6, socket.IPPROTO_IPV6, 75)):
            dial = server.socket(family)
            self.addCleanup(dial.close)
            dial.settimeout(5)
            dial.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x539)
            dial.setsockopt(level, option, 1)
            dial.bind((source, 0))
            dial.connect((target, 7000))
            apps.ask(dial)
            self.assertEqual(listener.peers[-1][0], source)

    def test_a_closed_lab_leaves_nothing_behind(self):
        prefix = self.lab.prefix
        sleeper = self.lab.pods["client"].start("sleep", "1000")
        self.assertIn(prefix, subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout)
        self.lab.close()
        self.assertNotIn(prefix, subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout)
        self.assertIsNotNone(sleeper.poll())
        self.assertFalse(os.path.exists(f"/proc/{sleeper.pid}"))
