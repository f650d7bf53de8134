// SPDX-License-Identifier: Apache-2.0
// The mesh of a Kubernetes cluster, asked from outside: which pods are its daemons, and ways to their admin ports, which listen on loopback
// inside (kubectl port-forward, made at the first question and kept until the end). Main's thread but for open_way.
#pragma once

#include "tools/warren/child.h"
#include "tools/warren/context.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace warren::tools {

struct MeshPod {
    enum class Part : uint8_t { Agent, Tunnel, Controller } part = Part::Agent;
    std::string ns, name, node, container;
    bool ready = false, restarted = false;
    std::string why;  // it is not ready
};

// Of a list of pods, as the API server gives it: those that are daemons of the mesh, of one node's tunnels the one that is ready first.
// Pods that are leaving are left out. Pure.
[[nodiscard]] std::vector<MeshPod> mesh_pods(const Json& pods);

// A way to one port, for as long as it lives.
struct Way {
    Child forwarder;
    std::string address;  // "127.0.0.1:PORT"
};
[[nodiscard]] base::Result<Way> open_way(const Context& context, const MeshPod& pod, const std::string& port);

class Cluster {
  public:
    // Lists the pods. An error when there are none of the mesh.
    static base::Result<std::unique_ptr<Cluster>> open(const Context& context);

    [[nodiscard]] const std::vector<MeshPod>& pods() const { return pods_; }
    [[nodiscard]] bool has_controller() const;
    [[nodiscard]] std::vector<std::string> nodes() const;  // that have an agent or a tunnel, by name
    // On --on-node, else on the first node that is ready, which is said once; the controller: any that is ready.
    [[nodiscard]] base::Result<const MeshPod*> pod(MeshPod::Part part);
    // Once a node was chosen: it is that.
    [[nodiscard]] bool is_chosen(const std::string& node) const { return node == node_; }
    // "127.0.0.1:PORT" that leads to where the daemon ("agent", "tunnel", "controller") listens by `address`.
    [[nodiscard]] base::Result<std::string> way_to(const std::string& daemon, const std::string& address);

  private:
    Cluster(const Context& context, std::vector<MeshPod> pods) : context_(context), pods_(std::move(pods)) {}
    [[nodiscard]] base::Result<std::string> chosen_node();

    const Context& context_;
    const std::vector<MeshPod> pods_;
    std::string node_;
    std::map<std::string, Way> ways_;  // by daemon and port
};

// Whether this run asks a cluster, decided at the first call: when --cluster or another option of its kind is given; else not, when options
// name a daemon or one listens here; else when kubectl knows a cluster, which is said. Null: the daemons of this machine.
[[nodiscard]] base::Result<Cluster*> cluster_of(const Context& context);
[[nodiscard]] bool asks_cluster(const Globals& globals);  // by its options

}  // namespace warren::tools
