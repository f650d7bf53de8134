# SPDX-License-Identifier: Apache-2.0
"""Programs as they are, from Debian's packages."""
import hashlib
import random
import shutil

from waiting import eventually
from world import MeshCase

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 8080; listen [::]:8080; root {folder}/www; location = /who {{ default_type text/plain; return 200 "$remote_addr\\n"; }} }}
}}
"""


def need(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        raise AssertionError(f"missing: {', '.join(missing)}; tools/install_packages.sh installs them")


class Programs(MeshCase):
    def prepare(self):
        w = self.world
        w.mesh.service("web", 1, [w.pods.server], {"80": 8080})
        w.mesh.service("store", 2, [w.pods.server], {"6379": 6379})

    def start_nginx(self):
        need("nginx", "curl")
        w = self.world
        folder = w.folder / "nginx"
        (folder / "www").mkdir(parents=True)
        for path in (w.folder, folder, folder / "www"):
            path.chmod(0o755)  # its worker is another user
        data = random.Random(1).randbytes(8 << 20)
        (folder / "www" / "big").write_bytes(data)
        (folder / "www" / "small").write_text("small\n")
        (folder / "conf").write_text(NGINX.format(folder=folder))
        w.pods.server.start("nginx", "-c", str(folder / "conf"), log=folder / "log")
        eventually(lambda: w.pods.server.run("curl", "-s", "http://127.0.0.1:8080/small", check=False) == "small\n", "nginx")
        return hashlib.sha256(data).hexdigest()

    def curl(self, *arguments):
        return self.world.pods.client.run("curl", "-sS", "--fail", "--max-time", "20", *arguments)

    def test_curl_reads_files_from_nginx(self):
        w, digest = self.world, self.start_nginx()
        for host in (w.pods.server.v4 + ":8080", f"[{w.pods.server.v6}]:8080", "10.77.99.1", "[fd77:99::1]"):
            out = w.folder / "got"
            self.curl("-g", "-o", str(out), f"http://{host}/big")
            self.assertEqual(hashlib.sha256(out.read_bytes()).hexdigest(), digest, host)
        self.assertEqual(self.curl("http://10.77.99.1/who"), w.pods.client.v4 + "\n")
        self.assertEqual(self.curl("-g", "http://[fd77:99::1]/who"), w.pods.client.v6 + "\n")
        lines = w.n2.wait_access(6, direction="inbound", src_identity=w.pods.client.identity)
        self.assertFalse([line for line in lines if "error" in line], lines)

    def test_curl_uses_one_connection_for_many_requests_and_many_for_many(self):
        self.start_nginx()
        url = "http://10.77.99.1/small?[1-100]"
        self.assertEqual(self.curl(url), "small\n" * 100)
        self.assertEqual(len(self.world.n1.wait_access(1, direction="outbound")), 1)
        self.assertEqual(self.curl("--parallel", "--parallel-max", "20", "-H", "Connection: close", url), "small\n" * 100)
        self.assertGreaterEqual(len(self.world.n1.wait_access(101, direction="outbound")), 101)

    def test_redis_stores_and_finds(self):
        need("redis-server", "redis-cli")
        w = self.world
        w.pods.server.start("redis-server", "--port", "6379", "--bind", "*", "-::*", "--protected-mode", "no", "--save", "", "--dir", str(w.folder))
        eventually(lambda: w.pods.server.run("redis-cli", "ping", check=False) == "PONG\n", "redis")

        def cli(*words, text=None):
            return w.pods.client.run("redis-cli", "-h", "10.77.99.2", *words, text=text)

        self.assertEqual(cli("set", "key", "value"), "OK\n")
        self.assertEqual(cli("get", "key"), "value\n")
        big = "x" * (4 << 20)
        self.assertEqual(cli("-x", "set", "big", text=big), "OK\n")
        self.assertEqual(cli("get", "big"), big + "\n")
        pipe = "".join(f"*3\r\n$3\r\nSET\r\n$6\r\n{i:06}\r\n$1\r\n1\r\n" for i in range(10_000))
        self.assertIn("errors: 0, replies: 10000", cli("--pipe", text=pipe))
        self.assertEqual(cli("dbsize"), "10002\n")
        lines = w.n1.wait_access(6, direction="outbound", dst_service="store.default.svc.cluster.local")
        self.assertFalse([line for line in lines if "error" in line], lines)
