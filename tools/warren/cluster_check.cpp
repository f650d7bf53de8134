// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/cluster_check.h"

#include "tools/warren/cluster_status.h"
#include "tools/warren/kubectl.h"

#include <charconv>
#include <map>
#include <set>
#include <utility>

namespace warren::tools {
namespace {

using Version = std::pair<unsigned, unsigned>;

constexpr Version kLeastKubernetes{1, 26}, kLeastKernel{5, 15};

// "6.1.0-25-cloud-amd64", "1" and "32+"
unsigned leading_number(std::string_view text) {
    unsigned out = 0;
    (void)std::from_chars(text.data(), text.data() + text.size(), out);
    return out;
}

Version version_of(std::string_view text) {
    const size_t dot = text.find('.');
    return {leading_number(text), dot == std::string_view::npos ? 0 : leading_number(text.substr(dot + 1))};
}

std::string joined(const std::set<std::string>& names) {
    constexpr size_t kNamed = 5;
    std::string out;
    size_t n = 0;
    for (const std::string& name : names) {
        if (n++ == kNamed) return out + " and " + std::to_string(names.size() - kNamed) + " more";
        out += (out.empty() ? "" : ", ") + name;
    }
    return out;
}

void not_looked_at(const char* area, const base::Error& why, Findings& to) {
    to.push_back({Severity::Note, area, "not looked at: " + why.message(), "give this user leave to list them"});
}

template <class Check>
void look(const Context& context, const char* area, const char* path, Findings& to, Check&& check) {
    if (const auto answer = kube_get(context, path))
        check(*answer, to);
    else
        not_looked_at(area, answer.error(), to);
}

void check_gateway_api(const Json& groups, Findings& to) {
    for (const Json& group : list_at(groups, "groups"))
        if (text_at(group, "name") == "gateway.networking.k8s.io") return;
    to.push_back({Severity::Note, "waypoints", "this cluster has no Gateway API definitions: waypoints cannot be used",
                  "install them if you want waypoints; they are picked up when they appear"});
}

// The mesh that is there.
void check_mesh(const Context& context, Findings& to) {
    const auto opened = Cluster::open(context);
    if (!opened) {
        const bool none = opened.error().code == base::Errc::NotFound;
        return to.push_back({none ? Severity::Note : Severity::Error, "mesh", opened.error().message(), ""});
    }
    const Cluster& cluster = **opened;
    for (const MeshPod& pod : cluster.pods())
        if (!pod.ready)
            to.push_back({Severity::Error, "mesh", "pod " + pod.ns + "/" + pod.name + " on node " + pod.node + " is not ready: " + pod.why,
                          "kubectl -n " + pod.ns + " describe pod " + pod.name + ", and its logs"});
    std::set<std::string> fine;
    for (const auto& [node, status] : ask_agents(context, cluster)) {
        if (!status) {
            to.push_back({Severity::Error, "mesh", "node " + node + ": " + status.error().message(), ""});
        } else if (const Json& broken = list_at(at(*status, "kernel"), "unrepaired"); !broken.empty()) {
            to.push_back({Severity::Error, "mesh", "node " + node + ": kernel hooks are broken: " + text_of(broken.front()),
                          "warren --on-node " + node + " status"});
        } else {
            fine.insert(node);
        }
    }
    if (!fine.empty()) to.push_back({Severity::Ok, "mesh", "agents answer on " + joined(fine), ""});
}

}  // namespace

void check_version(const Json& version, Findings& to) {
    const Version is{leading_number(text_at(version, "major")), leading_number(text_at(version, "minor"))};
    const std::string what = "Kubernetes " + text_at(version, "gitVersion");
    if (is < kLeastKubernetes)
        to.push_back({Severity::Error, "kubernetes", what + " is older than 1.26", "upgrade the cluster"});
    else
        to.push_back({Severity::Ok, "kubernetes", what, ""});
}

void check_nodes(const Json& nodes, Findings& to) {
    std::map<std::string, std::set<std::string>> old, foreign;
    size_t fit = 0;
    for (const Json& node : list_at(nodes, "items")) {
        const std::string name = text_at(at(node, "metadata"), "name");
        const Json& info = at(node, {"status", "nodeInfo"});
        const std::string os = text_at(info, "operatingSystem"), kernel = text_at(info, "kernelVersion");
        if (os != "linux")
            foreign[os].insert(name);
        else if (version_of(kernel) < kLeastKernel)
            old[kernel].insert(name);
        else
            ++fit;
    }
    for (const auto& [kernel, names] : old)
        to.push_back({Severity::Error, "nodes", "Linux " + kernel + " on " + joined(names) + " is older than 5.15",
                      "give these nodes a newer kernel, or keep Warren off them (nodeSelector of the chart)"});
    for (const auto& [os, names] : foreign)
        to.push_back({Severity::Note, "nodes", joined(names) + " run " + os + ": the mesh is for Linux nodes alone", ""});
    if (fit != 0) to.push_back({Severity::Ok, "nodes", std::to_string(fit) + " with Linux 5.15 or later", ""});
}

void check_others(const Json& daemon_sets, Findings& to) {
    bool found = false;
    for (const Json& set : list_at(daemon_sets, "items")) {
        const Json &meta = at(set, "metadata"), &labels = at(meta, "labels");
        if (text_at(labels, "app.kubernetes.io/part-of") == "warren") continue;
        const std::string name = text_at(meta, "namespace") + "/" + text_at(meta, "name");
        const std::string app = text_at(labels, "app"), k8s_app = text_at(labels, "k8s-app");
        if (k8s_app == "istio-cni-node") {
            found = true;
            to.push_back({Severity::Error, "conflicts", "DaemonSet " + name + " is a stock node agent: two would fight over the pods",
                          "uninstall istio-cni, or install Warren with agent.settings.redirection=off"});
        } else if (app == "ztunnel" || k8s_app == "ztunnel") {
            found = true;
            to.push_back({Severity::Error, "conflicts", "DaemonSet " + name + " is a stock node tunnel: both would take the pods",
                          "uninstall it: Warren's takes its place"});
        } else if (k8s_app == "cilium") {
            found = true;
            to.push_back({Severity::Warning, "conflicts",
                          "DaemonSet " + name + ": where Cilium replaces kube-proxy its connect hooks draw the endpoint before ours",
                          "set socketLB.hostNamespaceOnly=true in Cilium, and cni.exclusive=false"});
        }
    }
    if (!found) to.push_back({Severity::Ok, "conflicts", "no other node agent or tunnel", ""});
}

Findings check_before_install(const Context& context) {
    Findings out;
    const auto version = kube_get(context, "/version");
    if (!version) {
        out.push_back({Severity::Error, "kubernetes", version.error().message(),
                       "see whether `kubectl version` works; --kubeconfig and --context name another cluster"});
        return out;
    }
    check_version(*version, out);
    look(context, "nodes", "/api/v1/nodes", out, check_nodes);
    look(context, "conflicts", "/apis/apps/v1/daemonsets", out, check_others);
    look(context, "waypoints", "/apis", out, check_gateway_api);
    return out;
}

Findings check_whole_cluster(const Context& context) {
    Findings out = check_before_install(context);
    if (out.front().severity != Severity::Error) check_mesh(context, out);
    return out;
}

}  // namespace warren::tools
