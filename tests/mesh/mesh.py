# SPDX-License-Identifier: Apache-2.0
"""The mesh as the local file of data-plane contract 10.3, in JSON, which is YAML. Rewritten while tunnels watch it."""
import json
import os


def presence():
    return {"Presence": []}


def exact(text):
    return {"Exact": text}


def principal(pod):
    """A pod's identity as policies write it."""
    return exact(pod.identity.removeprefix("spiffe://"))


# Whoever has no identity is refused: what a control plane makes of "mutual TLS only" (contract 6.7).
STRICT_RULES = [[[{"notPrincipals": [presence()]}]]]


class Mesh:
    def __init__(self, path):
        self.path = str(path)
        self.workloads, self.services, self.policies = {}, {}, {}
        self.generation = 0

    def pod(self, pod, **more):
        self.workloads[pod.name] = {
            "uid": pod.uid, "name": pod.name, "namespace": pod.namespace, "serviceAccount": pod.account, "trustDomain": "cluster.local",
            "workloadIps": [pod.v4, pod.v6], "protocol": "HBONE", "node": pod.node.name, "network": "", "clusterId": "Kubernetes",
            "canonicalName": pod.name, "workloadName": pod.name, "workloadType": "deployment",
            "status": "Healthy", "services": {}, "authorizationPolicies": [], **more,
        }
        return self.workloads[pod.name]

    def service(self, name, number, pods, ports, **more):
        """A service with addresses 10.77.99.number and fd77:99::number; ports: {service port: target port}."""
        hostname = f"{name}.default.svc.cluster.local"
        self.services[name] = {"name": name, "namespace": "default", "hostname": hostname,
                               "vips": [f"/10.77.99.{number}", f"/fd77:99::{number}"], "ports": ports, **more}
        for pod in pods:
            self.workloads[pod.name]["services"][f"default/{hostname}"] = ports
        return self.services[name]

    def policy(self, name, action, rules, scope="WorkloadSelector", pods=()):
        """rules: OR of (AND of (OR of match)). pods: whose list names it."""
        self.policies[name] = {"name": name, "namespace": "default", "scope": scope, "action": action, "dryRun": False, "rules": rules}
        for pod in pods:
            self.workloads[pod.name]["authorizationPolicies"].append(f"default/{name}")
        return self.policies[name]

    def write(self):
        """In one step: a reader sees the old or the new file. Returns the workload name by which a dump shows that it was read."""
        self.generation += 1
        marker = f"generation-{self.generation}"
        stamp = {"uid": "lab//generation", "name": marker, "namespace": "lab", "workloadIps": ["192.0.2.1"], "services": {}}
        text = json.dumps({"workloads": [*self.workloads.values(), stamp], "services": list(self.services.values()),
                           "policies": list(self.policies.values())}, indent=1)
        self.write_text(text)
        return marker

    def write_text(self, text):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(self.path + ".new", self.path)
