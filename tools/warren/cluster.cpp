// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/cluster.h"

#include "tools/warren/http.h"
#include "tools/warren/kubectl.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

namespace warren::tools {
namespace {

using Part = MeshPod::Part;

// By label app; a stock istiod is no controller of ours, a stock tunnel is asked as ours is.
std::optional<Part> part_of(const Json& labels) {
    const std::string app = text_at(labels, "app");
    if (app == "warren-agent") return Part::Agent;
    if (app == "warren-ztunnel" || app == "ztunnel") return Part::Tunnel;
    if (app == "warren-controller" || (app == "istiod" && text_at(labels, "app.kubernetes.io/part-of") == "warren"))
        return Part::Controller;
    return std::nullopt;
}

void read_readiness(const Json& status, MeshPod& to) {
    for (const Json& condition : list_at(status, "conditions")) {
        if (text_at(condition, "type") != "Ready") continue;
        to.ready = text_at(condition, "status") == "True";
        to.why = text_at(condition, "message");
    }
    for (const Json& container : list_at(status, "containerStatuses")) {
        to.restarted = to.restarted || number_at(container, "restartCount") != 0;
        if (const std::string reason = text_at(at(container, {"state", "waiting"}), "reason"); !reason.empty()) to.why = reason;
    }
    if (to.ready) to.why.clear();
    if (!to.ready && to.why.empty()) to.why = "its pod is " + text_at(status, "phase");
}

constexpr const char* kNames[] = {"agent", "tunnel", "controller"};

std::string joined(const std::vector<std::string>& names) {
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
}

// Of the cluster to be asked because there is nobody to ask here; "" when there is somebody, or no cluster.
std::string context_of_kubectl(const Context& context) {
    const Globals& g = context.globals;
    const Globals usual;
    if (g.agent != usual.agent || g.tunnel != usual.tunnel || g.flows_socket != usual.flows_socket || !g.netns.empty()) return "";
    HttpAsk here;
    here.address = g.agent;
    here.path = "/";
    here.deadline = std::chrono::seconds(1);
    if (const auto reply = http_ask(here); reply || reply.error().code != base::Errc::Unavailable) return "";
    const auto name = output_of(context, kubectl(context, {"config", "current-context"}));
    return name ? name->substr(0, name->find('\n')) : "";
}

}  // namespace

std::vector<MeshPod> mesh_pods(const Json& pods) {
    std::vector<MeshPod> out;
    for (const Json& pod : list_at(pods, "items")) {
        const Json &meta = at(pod, "metadata"), &spec = at(pod, "spec"), &status = at(pod, "status");
        const auto part = part_of(at(meta, "labels"));
        if (!part || !at(meta, "deletionTimestamp").is_null()) continue;
        MeshPod one;
        one.part = *part;
        one.ns = text_at(meta, "namespace");
        one.name = text_at(meta, "name");
        one.node = text_at(spec, "nodeName");
        if (const Json& containers = list_at(spec, "containers"); !containers.empty()) one.container = text_at(containers.front(), "name");
        read_readiness(status, one);
        out.push_back(std::move(one));
    }
    std::sort(out.begin(), out.end(), [](const MeshPod& a, const MeshPod& b) {
        return std::tuple(a.node, a.part, !a.ready, a.name) < std::tuple(b.node, b.part, !b.ready, b.name);
    });
    return out;
}

base::Result<Way> open_way(const Context& context, const MeshPod& pod, const std::string& port) {
    const std::string name = pod.ns + "/" + pod.name + " port " + port;
    Child child = TRY(Child::start(
        kubectl(context, {"port-forward", "--address", "127.0.0.1", "-n", pod.ns, "pod/" + pod.name, ":" + port}), Child::Stderr::Kept));
    const auto first = child.line(std::chrono::steady_clock::now() + std::chrono::seconds(context.globals.timeout_s));
    if (!first) return base::Error{first.error().code, 0, "", "no way to " + name + ": " + first.error().message()};
    // "Forwarding from 127.0.0.1:40123 -> 15030"
    const std::string line = *first ? **first : "";
    const size_t from = line.find("127.0.0.1:");
    if (from == std::string::npos) {
        const std::string why = child.error();
        return base::Error{base::Errc::Unavailable, 0, "", "no way to " + name + ": " + (why.empty() ? line : why)};
    }
    return Way{std::move(child), line.substr(from, line.find(' ', from) - from)};
}

base::Result<std::unique_ptr<Cluster>> Cluster::open(const Context& context) {
    const std::string& ns = context.globals.mesh_namespace;
    const std::string path = (ns.empty() ? std::string("/api/v1") : "/api/v1/namespaces/" + url_escape(ns)) +
                             "/pods?labelSelector=" + url_escape("app in (warren-agent,warren-ztunnel,ztunnel,warren-controller,istiod)");
    std::vector<MeshPod> pods = mesh_pods(TRY(kube_get(context, path)));
    if (pods.empty())
        return base::Error{base::Errc::NotFound, 0, "",
                           "no pod of the mesh is " + (ns.empty() ? std::string("in this cluster") : "in namespace " + ns) +
                               "; `warren install` installs it, --context names another cluster"};
    return std::unique_ptr<Cluster>(new Cluster(context, std::move(pods)));
}

bool Cluster::has_controller() const {
    return std::any_of(pods_.begin(), pods_.end(), [](const MeshPod& pod) { return pod.part == Part::Controller; });
}

std::vector<std::string> Cluster::nodes() const {
    std::set<std::string> out;
    for (const MeshPod& pod : pods_)
        if (pod.part != Part::Controller && !pod.node.empty()) out.insert(pod.node);
    return {out.begin(), out.end()};
}

base::Result<std::string> Cluster::chosen_node() {
    if (!node_.empty()) return node_;
    const std::vector<std::string> all = nodes();
    if (const std::string& wanted = context_.globals.on_node; !wanted.empty()) {
        if (std::find(all.begin(), all.end(), wanted) == all.end())
            return base::Error{base::Errc::NotFound, 0, "",
                               "--on-node: no agent or tunnel runs on \"" + wanted + "\"; they run on " + joined(all)};
        return node_ = wanted;
    }
    const auto serves = [&](const std::string& node) {
        return std::all_of(pods_.begin(), pods_.end(),
                           [&](const MeshPod& pod) { return pod.node != node || pod.part == Part::Controller || pod.ready; });
    };
    if (all.empty()) return base::Error{base::Errc::NotFound, 0, "", "no node of this cluster has an agent or a tunnel"};
    const auto first = std::find_if(all.begin(), all.end(), serves);
    node_ = first == all.end() ? all.front() : *first;
    if (all.size() > 1) context_.note("asking node " + node_ + "; --on-node names another of " + joined(all));
    return node_;
}

base::Result<const MeshPod*> Cluster::pod(Part part) {
    const std::string node = part == Part::Controller ? "" : TRY(chosen_node());
    const MeshPod* found = nullptr;
    for (const MeshPod& pod : pods_)
        if (pod.part == part && (node.empty() || pod.node == node) && (found == nullptr || (pod.ready && !found->ready))) found = &pod;
    if (found != nullptr) return found;
    return base::Error{
        base::Errc::NotFound, 0, "",
        std::string("no ") + kNames[static_cast<size_t>(part)] + " runs " + (node.empty() ? "in this cluster" : "on node " + node)};
}

base::Result<std::string> Cluster::way_to(const std::string& daemon, const std::string& address) {
    const Part part = daemon == "agent" ? Part::Agent : daemon == "tunnel" ? Part::Tunnel : Part::Controller;
    const size_t colon = address.rfind(':');
    if (colon == std::string::npos || address.starts_with("unix:"))
        return base::invalid("the " + daemon + " of a cluster is asked by a port, not by " + address);
    const std::string port = address.substr(colon + 1), key = daemon + port;
    auto at = ways_.find(key);
    if (at == ways_.end()) at = ways_.emplace(key, TRY(open_way(context_, *TRY(pod(part)), port))).first;
    return at->second.address;
}

bool asks_cluster(const Globals& g) {
    return g.cluster || !g.kubeconfig.empty() || !g.kube_context.empty() || !g.mesh_namespace.empty() || !g.on_node.empty();
}

base::Result<Cluster*> cluster_of(const Context& context) {
    if (context.cluster_decided) return context.cluster.get();
    if (!asks_cluster(context.globals)) {
        const auto name = context_of_kubectl(context);
        if (name.empty()) {
            context.cluster_decided = true;
            return nullptr;
        }
        context.note("no agent on this machine: asking the cluster of context " + name);
    }
    context.cluster = TRY(Cluster::open(context));
    context.cluster_decided = true;
    return context.cluster.get();
}

}  // namespace warren::tools
