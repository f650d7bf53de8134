# SPDX-License-Identifier: Apache-2.0
"""The tunnel's process: readiness, drain, deadlines, pods that leave, a node agent that goes away, dedicated mode."""
import socket

import apps
import dns
from tunnel import ADMIN, READINESS, Tunnel, listens
from waiting import Stopwatch, eventually
from world import MeshCase


class Drain(MeshCase):
    settings = {"env": {"CONNECTION_TERMINATION_DEADLINE": "20s"}}

    def prepare(self):
        self.world.server(self.world.pods.server, 7000)

    def check_drain(self, tunnel, pod, ask_to_end):
        """An open connection goes on, a new one is refused, the process ends as soon as the last one has."""
        w = self.world
        connection = w.connect(w.pods.client, w.pods.server.v4, 7000)
        apps.ask(connection)
        ask_to_end()
        eventually(lambda: not listens(pod, 15001) and not listens(pod, 15008), "closed listeners")
        apps.ask(connection)
        self.assertIn(apps.call(w.pods.client, w.pods.server.v4, 7000), ("refused", "reset"))
        apps.ask(connection)
        self.assertTrue(tunnel.running())
        connection.close()
        took = Stopwatch()
        tunnel.wait_exit()
        self.assertLess(took.seconds(), 5)

    def test_sigterm_at_the_clients_node_lets_open_connections_finish(self):
        """test_shutdown_drain"""
        self.check_drain(self.world.n1, self.world.pods.client, self.world.n1.terminate)

    def test_sigterm_at_the_servers_node_lets_open_connections_finish(self):
        self.check_drain(self.world.n2, self.world.pods.server, self.world.n2.terminate)

    def test_quitquitquit_drains_as_sigterm_does(self):
        """test_quit_lifecycle"""
        w = self.world
        self.check_drain(w.n1, w.pods.client, lambda: self.assertEqual(w.n1.http("/quitquitquit", ADMIN, "POST")[0], 200))

    def test_an_idle_tunnel_ends_at_once(self):
        """test_shutdown_lifecycle"""
        w = self.world
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        took = Stopwatch()
        w.n1.terminate()
        w.n2.terminate()
        w.n1.wait_exit()
        w.n2.wait_exit()
        self.assertLess(took.seconds(), 2)


class Deadline(MeshCase):
    settings = {"env": {"CONNECTION_TERMINATION_DEADLINE": "1s"}}

    def test_the_deadline_cuts_what_has_not_finished(self):
        """test_shutdown_forced_drain"""
        w = self.world
        w.server(w.pods.server, 7000)
        connection = w.connect(w.pods.client, w.pods.server.v4, 7000)
        apps.ask(connection)
        w.n1.terminate()
        took = Stopwatch()
        self.assertGreater(w.n1.wait_exit(), 0.7)
        self.assertLess(took.seconds(), 3)
        self.assertIn(apps.end_of(connection), ("reset", "closed"))
        self.assertIn("drain", w.n1.access(direction="outbound")[0]["error"])


class Pods(MeshCase):
    def test_a_pod_that_is_deleted_is_cut_at_once(self):
        """test_server_shutdown: Both as a client and as a server; other pods of the node go on."""
        w = self.world
        w.server(w.pods.server, 7000)
        w.server(w.pods.client, 7000)
        outgoing = w.connect(w.pods.client, w.pods.server.v4, 7000)
        incoming = w.connect(w.pods.other, w.pods.client.v4, 7000)
        plain = w.connect(w.pods.plain, w.pods.client.v4, 7000)
        beside = w.connect(w.pods.near, w.pods.server.v4, 7000)
        for connection in (outgoing, incoming, plain, beside):
            apps.ask(connection)
        took = Stopwatch()
        self.assertEqual(w.agents["n1"].delete(w.pods.client), "")
        for connection in (outgoing, incoming, plain):
            self.assertIn(apps.end_of(connection), ("reset", "closed"))
        self.assertLess(took.seconds(), 1)
        apps.ask(beside)
        self.assertFalse(listens(w.pods.client, 15008))
        self.assertEqual(w.n1.metric("workload_manager_active_proxy_count"), 1)
        for line in w.n1.wait_access(3):
            self.assertIn("error", line)

    def test_a_client_whose_server_node_dies_sees_a_reset(self):
        w = self.world
        w.server(w.pods.server, 7000)
        connection = w.connect(w.pods.client, w.pods.server.v4, 7000)
        apps.ask(connection)
        w.n2.kill()
        self.assertEqual(apps.end_of(connection), "reset")
        w.n1.wait_access(direction="outbound")

    def test_a_tunnel_that_starts_again_serves_as_before(self):
        w = self.world
        w.server(w.pods.server, 7000)
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        w.n2.terminate()
        w.n2.wait_exit()
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "reset")
        w.n2.start().wait_ready()
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")


class Readiness(MeshCase):
    def test_readiness_follows_the_node_agent_and_traffic_does_not(self):
        w = self.world
        w.server(w.pods.server, 7000)
        w.agents["n1"].away()
        eventually(lambda: not w.n1.ready(), "not ready")
        status, text = w.n1.http("/healthz/ready", READINESS)
        self.assertEqual((status, text), (500, "not ready, pending: workload proxy manager\n"))
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        w.agents["n1"].back()
        w.n1.wait_ready()
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        self.assertEqual(w.n1.metric("workload_manager_proxies_started_total"), 2)


class Dedicated(MeshCase):
    """client has a tunnel of its own, in its namespace, and no node agent."""

    settings = {"by_agent": False}

    def prepare(self):
        w = self.world
        w.enrolled.remove(w.pods.client)
        w.server(w.pods.server, 7000)
        w.server(w.pods.client, 7001)

    def test_a_dedicated_tunnel_serves_one_pod_both_ways(self):
        """cross_node_captured_dedicated, client_uncaptured_dedicated, server_uncaptured_dedicated"""
        w = self.world
        env = {**w.tunnel_env("n1"), "PROXY_MODE": "dedicated", "PROXY_WORKLOAD_INFO": "default/client/client", "PACKET_MARK": "1337"}
        tunnel = w.tunnels["client"] = Tunnel(w.pods.client, w.folder / "dedicated", env).start().wait_ready()
        for server, source in ((w.pods.server, w.pods.client), (w.pods.client, w.pods.other)):
            port = 7000 if server is w.pods.server else 7001
            for ip in (server.v4, server.v6):
                self.assertEqual(apps.call(source, ip, port), "answered", ip)
        self.assertEqual(len(tunnel.wait_access(2, direction="outbound", src_identity=w.pods.client.identity)), 2)
        self.assertEqual(len(tunnel.wait_access(2, direction="inbound", src_identity=w.pods.other.identity)), 2)
        # It asks for its own pod's certificate alone, whoever else is on the node (contract 2.5).
        self.assertEqual({one["identity"] for one in tunnel.config_dump()["certificates"]}, {w.pods.client.identity})


class NamesAlone(Dedicated):
    test_a_dedicated_tunnel_serves_one_pod_both_ways = None

    def test_without_the_proxy_it_answers_names_and_takes_no_connection(self):
        """ENABLE_PROXY=false (contract 10.2)"""
        w = self.world
        w.mesh.service("web", 1, [w.pods.server], {"80": 7000})
        w.change()
        env = {**w.tunnel_env("n1"), "PROXY_MODE": "dedicated", "PROXY_WORKLOAD_INFO": "default/client/client", "PACKET_MARK": "1337",
               "ENABLE_PROXY": "false", "ISTIO_META_DNS_CAPTURE": "true"}
        tunnel = w.tunnels["client"] = Tunnel(w.pods.client, w.folder / "dedicated", env).start().wait_ready()
        packet = dns.question("web.default.svc.cluster.local", dns.A)
        with w.pods.client.socket(kind=socket.SOCK_DGRAM) as asker:
            asker.settimeout(30)
            asker.connect(("127.0.0.1", 15053))
            asker.sendall(packet)
            self.assertEqual(dns.parse(asker.recv(65535))[1], {"10.77.99.1"})
        for port in (15001, 15006, 15008):
            self.assertFalse(listens(w.pods.client, port), port)
        self.assertEqual(tunnel.config_dump()["certificates"], [])
        self.assertFalse(tunnel.config_dump()["config"]["proxy"])


class BusyPorts(Dedicated):
    test_a_dedicated_tunnel_serves_one_pod_both_ways = None

    def test_conflicting_bind_error(self):
        """inbound, inbound_plaintext, outbound, admin: a port that is taken ends the start, and the log names it."""
        w = self.world
        env = {**w.tunnel_env("n1"), "PROXY_MODE": "dedicated", "PROXY_WORKLOAD_INFO": "default/client/client", "PACKET_MARK": "1337"}
        for port in (15008, 15006, 15001, 15000):
            blocker = apps.Server(w.pods.client, port)
            tunnel = Tunnel(w.pods.client, w.folder / f"busy-{port}", env).start()
            eventually(lambda t=tunnel: t.process.poll() is not None, lambda t=tunnel: t.log_tail())
            self.assertNotEqual(tunnel.process.returncode, 0, port)
            self.assertIn(str(port), tunnel.log_tail(3))
            blocker.close()


class CertificateFiles(Dedicated):
    test_a_dedicated_tunnel_serves_one_pod_both_ways = None

    def test_a_dedicated_tunnel_lives_on_certificate_files_and_reads_renewed_ones(self):
        w = self.world
        files = w.folder / "files"
        files.mkdir()

        def issue(name):
            chain, key = w.ca.issue(w.pods.client.identity, name)
            for source, target in ((chain, "chain.pem"), (key, "key.pem"), (w.ca.certificate, "roots.pem")):
                (files / "new").write_bytes(source.read_bytes())
                (files / "new").rename(files / target)

        issue("first")
        env = {**w.tunnel_env("n1"), "PROXY_MODE": "dedicated", "PROXY_WORKLOAD_INFO": "default/client/client", "PACKET_MARK": "1337",
               "WARREN_LOCAL_CA": "", "WARREN_CERT_CHAIN": str(files / "chain.pem"), "WARREN_CERT_KEY": str(files / "key.pem"),
               "WARREN_CERT_ROOTS": str(files / "roots.pem")}
        tunnel = w.tunnels["client"] = Tunnel(w.pods.client, w.folder / "dedicated", env).start().wait_ready()
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v4, 7000), "answered")
        self.assertEqual(apps.call(w.pods.other, w.pods.client.v6, 7001), "answered")
        issued = tunnel.metric("warren_certificate_events_total", event="issued")
        self.assertEqual(issued, 1)
        issue("second")
        eventually(lambda: tunnel.metric("warren_certificate_events_total", event="issued") > issued, "the renewed files are read")
        self.assertEqual(apps.call(w.pods.client, w.pods.server.v6, 7000), "answered")


class SelfProxy(MeshCase):
    """The tunnel's own pod in the mesh (contract 4.10)."""

    def prepare(self):
        w = self.world
        self.node = w.lab.nodes["n2"]
        w.overrides["n2"] = {"POD_NAME": "tunnel-2", "POD_NAMESPACE": "default", "SERVICE_ACCOUNT": "tunnel"}
        record = w.mesh.pod(w.pods.server)
        w.mesh.workloads["tunnel-2"] = {**record, "uid": "Kubernetes//Pod/default/tunnel-2", "name": "tunnel-2", "serviceAccount": "tunnel",
                                        "workloadIps": [self.node.v4, self.node.v6], "canonicalName": "tunnel-2", "authorizationPolicies": []}
        w.mesh.policy("scrape", "Allow", [[[{"principals": [{"Exact": w.pods.client.identity.removeprefix("spiffe://")}]}]]])
        w.mesh.workloads["tunnel-2"]["authorizationPolicies"].append("default/scrape")

    def test_the_tunnels_metrics_are_scraped_through_the_mesh_under_policy(self):
        """test_hbone_metrics_access"""
        w = self.world

        def scrape(pod):
            try:
                with apps.connect(pod, self.node.v4, 15020) as connection:
                    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    return apps.read_to_end(connection).decode()
            except OSError:
                return "refused"

        self.assertIn("istio_build", scrape(w.pods.client))
        self.assertEqual(scrape(w.pods.near), "refused")
        self.assertEqual(len(w.n2.wait_access(2, direction="inbound", dst_workload="tunnel-2")), 2)
        self.assertFalse(listens(self.node, 15001))
        self.assertFalse(listens(self.node, 15006))


class Certificates(MeshCase):
    def identities(self, tunnel, state="Available"):
        return {one["identity"] for one in tunnel.config_dump()["certificates"] if one["state"] == state}

    def expect(self, *pods):
        eventually(lambda: self.identities(self.world.n1) == {pod.identity for pod in pods}, lambda: str(self.world.n1.config_dump()["certificates"]))

    def test_certificates_come_before_connections_and_go_with_the_last_workload(self):
        """test_prefetch_forget_certs: of this node's HBONE workloads, of nobody else's."""
        w, pods = self.world, self.world.pods
        self.expect(pods.client, pods.near)
        w.mesh.workloads["again"] = {**w.mesh.workloads["client"], "uid": "Kubernetes//Pod/default/again", "name": "again", "workloadIps": ["10.77.1.200"]}
        w.mesh.workloads["plaintext"] = {**w.mesh.workloads["client"], "uid": "Kubernetes//Pod/default/plaintext", "name": "plaintext",
                                         "serviceAccount": "plaintext", "protocol": "TCP", "workloadIps": ["10.77.1.201"]}
        w.change()
        first = self.serial(pods.client)
        gone = w.mesh.workloads.pop("client")
        w.change()
        self.expect(pods.client, pods.near)  # another one has that account
        self.assertEqual(self.serial(pods.client), first)
        w.mesh.workloads.pop("again")
        w.change()
        self.expect(pods.near)
        w.mesh.workloads["client"] = gone
        w.change()
        self.expect(pods.client, pods.near)
        self.assertNotEqual(self.serial(pods.client), first)

    def serial(self, pod):
        [found] = [one for one in self.world.n1.config_dump()["certificates"] if one["identity"] == pod.identity]
        return found["certChain"][0]["serialNumber"]


class LostRecord(MeshCase):
    """A node that is not reached any more is taken out of the mesh with its pods, which go on."""

    def test_what_goes_on_outlives_the_record_of_its_pod_and_still_heeds_policy(self):
        w, pods = self.world, self.world.pods
        w.server(pods.server, 7000)
        w.server(pods.server, 7001)
        through, plain, doomed = (w.connect(source, pods.server.v4, port) for source, port in
                                  ((pods.client, 7000), (pods.plain, 7000), (pods.client, 7001)))
        for connection in (through, plain, doomed):
            apps.ask(connection)
        w.mesh.workloads.pop("server")
        w.change()
        eventually(lambda: all(one["name"] != "server" for one in w.n2.config_dump()["workloads"]), "the record gone")
        for connection in (through, plain, doomed):
            apps.ask(connection)
        # It listed no policy; one of its whole namespace is about it all the same.
        w.mesh.policy("no-7001", "Deny", [[[{"destinationPorts": [7001]}]]], scope="Namespace")
        w.change()
        self.assertEqual(apps.end_of(doomed), "reset")
        for connection in (through, plain):
            apps.ask(connection)


class LateRecord(MeshCase):
    def prepare(self):
        self.record = self.world.mesh.workloads.pop("client")

    def test_a_connection_waits_for_the_record_of_its_own_pod(self):
        """test_wait_for_workload: The pod may be faster than the control plane (contract 5.2 step 2)."""
        w = self.world
        w.server(w.pods.server, 7000)
        connection = w.connect(w.pods.client, w.pods.server.v4, 7000)
        connection.sendall(b"ping")
        w.mesh.workloads["client"] = self.record
        w.change()
        self.assertEqual(apps.read_exactly(connection, 4), b"ping")
