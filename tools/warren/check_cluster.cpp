// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/check_cluster.h"

#include "agent/kube/client.h"
#include "agent/kube/kube_config.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <set>

namespace warren::tools {
namespace {

constexpr const char* kArea = "network policies";
constexpr uint64_t kTunnelPort = 15008;

bool requirement_holds(const Json& requirement, const Json& labels) {
    const std::string key = text_at(requirement, "key"), op = text_at(requirement, "operator");
    const bool has = labels.is_object() && labels.contains(key);
    if (op == "Exists") return has;
    if (op == "DoesNotExist") return !has;
    const Json& values = list_at(requirement, "values");
    const std::string value = has ? text_at(labels, key) : "";
    const bool among = has && std::any_of(values.begin(), values.end(), [&](const Json& one) { return text_of(one) == value; });
    return op == "NotIn" ? !among : among;
}

// metav1.LabelSelector: one with nothing in it selects everything.
bool selects(const Json& selector, const Json& labels) {
    for (const auto& [key, value] : object_at(selector, "matchLabels").items())
        if (!labels.is_object() || !labels.contains(key) || text_at(labels, key) != text_of(value)) return false;
    const Json& more = list_at(selector, "matchExpressions");
    return std::all_of(more.begin(), more.end(), [&](const Json& one) { return requirement_holds(one, labels); });
}

// Whether the policy has a say in that direction; without policyTypes: in Ingress, and in Egress when it has such rules.
bool governs(const Json& spec, const char* type, const char* rules) {
    const Json& types = list_at(spec, "policyTypes");
    if (types.empty()) return std::string_view(type) == "Ingress" || !list_at(spec, rules).empty();
    return std::any_of(types.begin(), types.end(), [&](const Json& one) { return text_of(one) == type; });
}

// A rule without peers and without ports lets everything through.
bool open_to_all(const Json& spec, const char* rules, const char* peers) {
    const Json& all = list_at(spec, rules);
    return std::any_of(all.begin(), all.end(),
                       [&](const Json& rule) { return list_at(rule, peers).empty() && list_at(rule, "ports").empty(); });
}

struct Direction {
    const char *type, *rules, *peers, *says;
};

// Whether some rule, towards anybody, lets TCP through on the tunnels' own port.
bool admits_tunnels(const Json& spec, const char* rules) {
    const auto covers = [](const Json& port) {
        if (const std::string protocol = text_at(port, "protocol"); !protocol.empty() && protocol != "TCP") return false;
        const uint64_t first = number_at(port, "port"), last = std::max(first, number_at(port, "endPort"));
        return at(port, "port").is_null() || (first <= kTunnelPort && kTunnelPort <= last);
    };
    const Json& all = list_at(spec, rules);
    return std::any_of(all.begin(), all.end(), [&](const Json& rule) {
        const Json& ports = list_at(rule, "ports");
        return ports.empty() || std::any_of(ports.begin(), ports.end(), covers);
    });
}

struct Restrictions {
    std::set<std::string> names;
    bool tunnels = false;  // some of them let 15008 through
    auto operator<=>(const Restrictions&) const = default;
};

// Of one pod in one direction: the policies that together leave something out. Each adds to what the others allow.
Restrictions restrictions(const Json& policies, const Json& pod, const Direction& direction) {
    Restrictions out;
    const Json& meta = object_at(pod, "metadata");
    for (const Json& policy : list_at(policies, "items")) {
        const Json &own = object_at(policy, "metadata"), &spec = object_at(policy, "spec");
        if (text_at(own, "namespace") != text_at(meta, "namespace") || !governs(spec, direction.type, direction.rules)) continue;
        if (!selects(object_at(spec, "podSelector"), object_at(meta, "labels"))) continue;
        if (open_to_all(spec, direction.rules, direction.peers)) return {};
        out.names.insert(text_at(own, "namespace") + "/" + text_at(own, "name"));
        out.tunnels = out.tunnels || admits_tunnels(spec, direction.rules);
    }
    return out;
}

bool may_go_direct(const Json& pod, const std::set<std::string>& captured) {
    const Json& meta = object_at(pod, "metadata");
    const std::string said = text_at(object_at(meta, "annotations"), "warren.dev/same-node");
    return (said.empty() || said == "direct") && captured.contains(text_at(meta, "namespace") + "/" + text_at(meta, "name"));
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

// automatic: the agent knows the policies and leads around what they would block.
Finding finding(const Restrictions& by, const std::string& says, const std::string& whom, bool automatic) {
    const std::string what = joined(by.names) + " restricts " + says + " " + whom + ": ";
    if (!automatic)
        return {
            Severity::Warning, kArea,
            what + "enforced, it blocks same-node connections that it does not allow on the applications' own ports",
            "have the agent know NetworkPolicies (docs/agent.md), allow these ports as well as 15008, or have such pods take the tunnel on "
            "the node too: annotate them warren.dev/same-node: encrypted"};
    const std::string led = "same-node connections that it does not allow on the applications' own ports take the tunnel by themselves";
    if (by.tunnels)
        return {Severity::Note, kArea, what + led, "nothing has to be done; to have them at native speed, allow these ports as well"};
    return {Severity::Warning, kArea, what + led + ", and no rule lets the tunnel through, here or between nodes",
            "allow TCP port 15008 between pods of the mesh"};
}

}  // namespace

void check_network_policies(const Json& policies, const Json& pods, const Json& status, Findings& to) {
    if (text_at(status, "same_node") != "direct") return;
    std::set<std::string> captured;
    for (const Json& pod : list_at(status, "pods"))
        if (text_at(pod, "state") == "captured") captured.insert(text_at(pod, "namespace") + "/" + text_at(pod, "name"));
    const bool automatic = flag_at(at(at(status, "kubernetes"), "network_policies"), "known");
    bool found = false;
    for (const Direction& direction :
         {Direction{"Ingress", "ingress", "from", "what reaches"}, Direction{"Egress", "egress", "to", "what leaves"}}) {
        std::map<Restrictions, std::set<std::string>> restricted;  // pods by the policies that restrict them
        for (const Json& pod : list_at(pods, "items")) {
            if (!may_go_direct(pod, captured)) continue;
            const Restrictions by = restrictions(policies, pod, direction);
            const Json& meta = object_at(pod, "metadata");
            if (!by.names.empty()) restricted[by].insert(text_at(meta, "namespace") + "/" + text_at(meta, "name"));
        }
        for (const auto& [by, whom] : restricted) to.push_back(finding(by, direction.says, joined(whom), automatic));
        found = found || !restricted.empty();
    }
    if (!found) to.push_back({Severity::Ok, kArea, "none restricts a pod that takes the same-node path", ""});
}

void check_cluster(const Context& context, const Json& status, Findings& to) {
    auto config = kube::find_config("", "", [](const char* name) -> const char* { return std::getenv(name); });
    if (!config) return;
    auto endpoint = kube::Endpoint::create(*std::move(config));
    if (!endpoint) return to.push_back({Severity::Note, kArea, "not looked at: " + endpoint.error().message(), ""});
    kube::Limits limits;
    limits.total = std::chrono::seconds(context.globals.timeout_s);
    kube::Client client(*endpoint, limits);
    const auto ask = [&client](const std::string& path) -> base::Result<Json> {
        return parse_json(TRY(client.get(path)), "the API server's answer");
    };
    const auto policies = ask("/apis/networking.k8s.io/v1/networkpolicies");
    const auto pods = policies ? ask("/api/v1/pods?fieldSelector=spec.nodeName%3D" + text_at(status, "node")) : policies;
    if (!pods)
        return to.push_back({Severity::Note, kArea, "not looked at: " + pods.error().message(),
                             "give this user leave to list networkpolicies and pods, or run check where KUBECONFIG names one who may"});
    check_network_policies(*policies, *pods, status, to);
}

}  // namespace warren::tools
