# SPDX-License-Identifier: Apache-2.0
"""The shop: which pods there are, on which node, and what runs in them. Its services and policies are the files in shop/, as for a cluster.

    node n1   load    a load generator          node n2   catalog   PostgreSQL
              web     the front end                       assets    nginx
              cart    redis                               old-3     not in the mesh
              payment takes the tunnel on the same node too
              batch   of another team, allowed nothing
              old-1, old-2   not in the mesh
"""
import dataclasses
import glob
import ipaddress
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
NODES = ("n1", "n2")
BULK = 9000  # where a bulk.py of the throughput comparison listens
NAME_SERVER = "10.77.99.53"  # nobody has it: the mesh answers names


@dataclasses.dataclass(frozen=True)
class Pod:
    name: str
    namespace: str
    node: str
    index: int
    mesh: bool = True

    @property
    def v4(self):
        return f"10.77.{self.node[1:]}.{self.index}"

    @property
    def v6(self):
        return f"fd77:{self.node[1:]}::{self.index}"

    @property
    def identity(self):
        return f"spiffe://cluster.local/ns/{self.namespace}/sa/{self.name}"

    def workload(self):
        """As the controller reads it."""
        return {"name": self.name, "namespace": self.namespace, "serviceAccount": self.name, "node": self.node, "mesh": self.mesh,
                "addresses": [self.v4, self.v6], "labels": {"app": self.name}}

    def enrolment(self, netns):
        """As the agent reads it."""
        return {"name": self.name, "namespace": self.namespace, "serviceAccount": self.name, "netns": f"/run/netns/{netns}",
                "uid": f"Kubernetes//Pod/{self.namespace}/{self.name}", "addresses": [self.v4, self.v6]}


PODS = {pod.name: pod for pod in (
    Pod("load", "shop", "n1", 2), Pod("web", "shop", "n1", 3), Pod("cart", "shop", "n1", 4), Pod("payment", "shop", "n1", 5),
    Pod("batch", "ops", "n1", 6), Pod("catalog", "shop", "n2", 7), Pod("assets", "shop", "n2", 8),
    Pod("old-1", "old", "n1", 9, False), Pod("old-2", "old", "n1", 10, False), Pod("old-3", "old", "n2", 11, False))}
ENCRYPTED = "shop/payment=encrypted"

NGINX = """daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 8080; listen [::]:8080; root {folder}/www; }}
}}
"""
SQL = "CREATE TABLE products (name text, price int);\nINSERT INTO products VALUES ('lamp', 40), ('chair', 120), ('table', 310);\n"


def postgres_programs():
    """The folder of initdb and postgres, newest version; None when there is none."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
    return pathlib.Path(found[-1]).parent if found else None


def program(name, *arguments):
    return [sys.executable, "-B", str(HERE / "apps" / f"{name}.py"), *map(str, arguments)]


def applications(lab, rate):
    """(pod, command, user or None), in the order of their start. Prepares the folders."""
    yield "cart", ["redis-server", "--port", "6379", "--bind", "*", "-::*", "--protected-mode", "no", "--save", "", "--appendonly", "no",
                   "--dir", lab.pod_folder("cart")], None
    yield "assets", ["nginx", "-c", _nginx(lab.pod_folder("assets"))], None
    data = lab.pod_folder("catalog") / "data"
    yield "catalog", [postgres_programs() / "postgres", "-D", data], "postgres"
    yield "web", program("web"), None
    for pod in ("cart", "payment", "assets", "old-2", "old-3"):
        yield pod, program("bulk", "serve", BULK), None
    yield "load", program("load", "http://web/", rate, lab.pod_folder("load") / "load.json"), None


def _nginx(folder):
    www = folder / "www"
    www.mkdir(exist_ok=True)
    (www / "banner.txt").write_text("everything must go\n")
    (folder / "conf").write_text(NGINX.format(folder=folder))
    return folder / "conf"


def make_database(folder, run):
    """The files of PostgreSQL, made once, without a server. run(command, text): as the user who will own them."""
    shutil.chown(folder, "postgres")
    programs, data = postgres_programs(), folder / "data"
    run([programs / "initdb", "-D", data, "-A", "trust", "-U", "shop", "--locale=C", "-E", "UTF8", "--no-sync", "--wal-segsize=1"], None)
    with open(data / "postgresql.auto.conf", "a", encoding="ascii") as conf:
        conf.write("listen_addresses = '*'\nunix_socket_directories = ''\nfsync = off\nmax_connections = 300\nshared_buffers = 16MB\n"
                   "dynamic_shared_memory_type = mmap\nlogging_collector = off\nmax_wal_size = 16MB\nmin_wal_size = 4MB\n")
    with open(data / "pg_hba.conf", "a", encoding="ascii") as hba:
        hba.write("host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n")
    run([programs / "postgres", "--single", "-D", data, "postgres"], SQL)


def pod_of(address):
    """The pod that has the address, or None."""
    wanted = ipaddress.ip_address(address)
    return next((pod for pod in PODS.values() if wanted in (ipaddress.ip_address(pod.v4), ipaddress.ip_address(pod.v6))), None)
