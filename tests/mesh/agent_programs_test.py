# SPDX-License-Identifier: Apache-2.0
"""Programs as they are, under warren-agent: over the same-node path and over the tunnel, with what runtimes do to sockets: sendfile, splice,
connects that do not block, pipelines. A runtime that the machine lacks is a skip."""
import hashlib
import os
import random
import shutil
import subprocess
import unittest

from agent_test import ByAgent
from programs_test import NGINX, need
from waiting import eventually

SIZE = 8 << 20

GO_PROXY = """
package main

import ("io"; "net"; "os")

// io.Copy between TCP connections is splice(2).
func main() {
	l, err := net.Listen("tcp", ":9000")
	if err != nil { panic(err) }
	for {
		c, err := l.Accept()
		if err != nil { panic(err) }
		go func() {
			s, err := net.Dial("tcp", os.Args[1])
			if err != nil { c.Close(); return }
			go func() { io.Copy(s, c); s.(*net.TCPConn).CloseWrite() }()
			io.Copy(c, s)
			c.Close()
			s.Close()
		}()
	}
}
"""

NODE_CLIENT = """
const http = require('http'), hash = require('crypto').createHash('sha256');
http.get(process.argv[1], r => {
  const peer = [r.socket.remoteAddress, r.socket.remotePort];
  r.on('data', d => hash.update(d)).on('end', () => console.log(hash.digest('hex'), ...peer));
});
"""


class Programs(ByAgent):
    def start_nginx(self, pod):
        need("nginx", "curl")
        folder = self.world.folder / f"nginx-{pod.name}"
        (folder / "www").mkdir(parents=True)
        for path in (self.world.folder, folder, folder / "www"):
            path.chmod(0o755)  # its worker is another user
        data = random.Random(pod.name).randbytes(SIZE)
        (folder / "www" / "big").write_bytes(data)
        (folder / "www" / "small").write_text("small\n")
        (folder / "conf").write_text(NGINX.format(folder=folder).replace("http {", "http { sendfile on;"))
        pod.start("nginx", "-c", str(folder / "conf"), log=folder / "log")
        eventually(lambda: pod.run("curl", "-s", "http://127.0.0.1:8080/small", check=False) == "small\n", "nginx")
        return hashlib.sha256(data).hexdigest()

    def ways(self):
        """(pod, counter that must move): direct, and by the tunnel."""
        self.wait_rows()
        return ((self.world.pods.near, "connect_direct"), (self.world.pods.server, "connect_tunnel"))

    def counted(self, counter, action):
        before = self.agent.counters()
        result = action()
        after = self.agent.counters()
        self.assertGreater(after[counter], before[counter])
        other = "connect_tunnel" if counter == "connect_direct" else "connect_direct"
        self.assertEqual(after[other], before[other])
        return result

    def test_curl_reads_what_nginx_sends_by_sendfile(self):
        w = self.world
        for pod, counter in self.ways():
            digest = self.start_nginx(pod)
            for host in (f"{pod.v4}:8080", f"[{pod.v6}]:8080"):
                out = w.folder / "got"
                self.counted(counter, lambda: w.pods.client.run("curl", "-sS", "--fail", "-g", "--max-time", "20", "-o", str(out), f"http://{host}/big"))
                self.assertEqual(hashlib.sha256(out.read_bytes()).hexdigest(), digest, host)
            self.assertEqual(w.pods.client.run("curl", "-sS", f"http://{pod.v4}:8080/who"), w.pods.client.v4 + "\n")
            many = self.counted(counter, lambda: w.pods.client.run("curl", "-sS", "--parallel", "--parallel-max", "20", "-H", "Connection: close",
                                                                   f"http://{pod.v4}:8080/small?[1-100]"))
            self.assertEqual(many, "small\n" * 100)

    def test_redis_answers_commands_bulk_and_pipelines(self):
        need("redis-server", "redis-cli")
        w = self.world
        pipe = "".join(f"*3\r\n$3\r\nSET\r\n$6\r\n{i:06}\r\n$1\r\n1\r\n" for i in range(10_000))
        for pod, counter in self.ways():
            pod.start("redis-server", "--port", "6379", "--bind", "*", "-::*", "--protected-mode", "no", "--save", "", "--dir", str(w.folder))
            eventually(lambda: pod.run("redis-cli", "ping", check=False) == "PONG\n", "redis")

            def cli(*words, text=None):
                return self.counted(counter, lambda: w.pods.client.run("redis-cli", "-h", pod.v4, *words, text=text))

            big = "x" * (4 << 20)
            self.assertEqual(cli("-x", "set", "big", text=big), "OK\n")
            self.assertEqual(cli("get", "big"), big + "\n")
            self.assertIn("errors: 0, replies: 10000", cli("--pipe", text=pipe))

    def test_a_go_proxy_splices_from_one_path_to_the_other(self):
        if not shutil.which("go"):
            raise unittest.SkipTest("go is not installed")
        w = self.world
        digest = self.start_nginx(w.pods.server)
        (w.folder / "go").mkdir()
        (w.folder / "go" / "proxy.go").write_text(GO_PROXY)
        subprocess.run(["go", "build", "-o", "proxy", "proxy.go"], cwd=w.folder / "go", check=True, timeout=80,
                       env={**os.environ, "GO111MODULE": "off", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"})
        self.wait_rows()
        w.pods.near.start(str(w.folder / "go" / "proxy"), f"{w.pods.server.v4}:8080", log=w.folder / "go" / "log")
        eventually(lambda: ":2328 " in w.pods.near.run("cat", "/proc/net/tcp6"), "the proxy listens")
        before = self.agent.counters()
        for _ in range(3):
            out = w.folder / "got"
            w.pods.client.run("curl", "-sS", "--fail", "--max-time", "20", "-o", str(out), f"http://{w.pods.near.v4}:9000/big")
            self.assertEqual(hashlib.sha256(out.read_bytes()).hexdigest(), digest)
        after = self.agent.counters()
        for counter in ("connect_direct", "connect_tunnel"):
            self.assertEqual(after[counter] - before[counter], 3, counter)

    def test_node_connects_without_blocking_and_sees_the_peer_it_asked_for(self):
        if not shutil.which("node"):
            raise unittest.SkipTest("node is not installed")
        w = self.world
        for pod, counter in self.ways():
            digest = self.start_nginx(pod)
            for host, peer in ((pod.v4, pod.v4), (f"[{pod.v6}]", pod.v6)):
                said = self.counted(counter, lambda: w.pods.client.run("node", "-e", NODE_CLIENT, f"http://{host}:8080/big"))
                self.assertEqual(said.split(), [digest, peer, "8080"])
