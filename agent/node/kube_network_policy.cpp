// SPDX-License-Identifier: Apache-2.0
#include "agent/node/kube_network_policy.h"

#include "agent/node/kube_json.h"

#include <utility>

namespace warren::node {

namespace {

using Operator = LabelSelector::Expression::Operator;
using Rule = NetworkPolicy::Rule;

base::Result<LabelSelector::Expression> read_expression(const Json& json) {
    LabelSelector::Expression e;
    e.key = TRY(read_text(json, "key"));
    const std::string op = TRY(read_text(json, "operator"));
    if (op == "In")
        e.op = Operator::In;
    else if (op == "NotIn")
        e.op = Operator::NotIn;
    else if (op == "Exists")
        e.op = Operator::Exists;
    else if (op == "DoesNotExist")
        e.op = Operator::DoesNotExist;
    else
        return base::invalid("operator \"" + op + "\" is none of In, NotIn, Exists, DoesNotExist");
    for (const Json& value : *TRY(read_array(json, "values"))) {
        if (!value.is_string()) return base::invalid("values has one that is not a string");
        e.values.push_back(value.get<std::string>());
    }
    return e;
}

base::Result<LabelSelector> read_selector(const Json& json) {
    if (!json.is_null() && !json.is_object()) return base::invalid("a selector is not an object");
    LabelSelector out;
    for (auto& [key, value] : TRY(read_strings(json, "matchLabels"))) out.all.push_back({Operator::In, key, {value}});
    for (const Json& one : *TRY(read_array(json, "matchExpressions"))) out.all.push_back(TRY(read_expression(one)));
    return out;
}

base::Result<uint16_t> read_number(const Json& json, const char* what) {
    const int64_t value = json.is_number_integer() ? json.get<int64_t>() : 0;
    if (value < 1 || value > 65535) return base::invalid(std::string(what) + " is no port");
    return static_cast<uint16_t>(value);
}

base::Result<void> read_port(const Json& json, Rule& to) {
    const std::string protocol = TRY(read_text(json, "protocol"));
    if (!protocol.empty() && protocol != "TCP") return {};
    const Json &port = member(json, "port"), &end = member(json, "endPort");
    if (port.is_null() && end.is_null()) {
        to.any_port = true;
        return {};
    }
    NetworkPolicy::Port out;
    if (port.is_string()) {
        out.name = port.get<std::string>();
        if (out.name.empty() || !end.is_null()) return base::invalid("port: a name has characters and no endPort");
    } else {
        out.range.first = TRY(read_number(port, "port"));
        out.range.last = end.is_null() ? out.range.first : TRY(read_number(end, "endPort"));
    }
    to.ports.push_back(std::move(out));
    return {};
}

// An address block, or what a later version has: nobody of whom we know.
base::Result<void> read_peer(const Json& json, Rule& to) {
    const Json &pods = member(json, "podSelector"), &spaces = member(json, "namespaceSelector");
    if (!member(json, "ipBlock").is_null() || (pods.is_null() && spaces.is_null())) return {};
    NetworkPolicy::Peer out;
    out.pods = TRY(read_selector(pods));
    if (!spaces.is_null()) out.namespaces = TRY(read_selector(spaces));
    to.peers.push_back(std::move(out));
    return {};
}

base::Result<std::vector<Rule>> read_rules(const Json& spec, const char* key, const char* peers_key) {
    std::vector<Rule> out;
    for (const Json& json : *TRY(read_array(spec, key))) {
        if (!json.is_object()) return base::invalid(std::string(key) + " has a rule that is not an object");
        Rule rule;
        const Json &peers = *TRY(read_array(json, peers_key)), &ports = *TRY(read_array(json, "ports"));
        rule.any_peer = peers.empty();
        rule.any_port = ports.empty();
        for (const Json& peer : peers) TRY(read_peer(peer, rule));
        for (const Json& port : ports) TRY(read_port(port, rule));
        out.push_back(std::move(rule));
    }
    return out;
}

// All pods of its namespace, both ways, and nothing is allowed.
const NetworkPolicyRef& shut() {
    static const NetworkPolicyRef kShut = std::make_shared<const NetworkPolicy>(
        NetworkPolicy{.ns = "", .name = "not read", .pods = {}, .ingress = {true, {}}, .egress = {true, {}}});
    return kShut;
}

}  // namespace

base::Result<NetworkPolicy> read_network_policy(std::string_view json) {
    const Json object = TRY(parse_object(json));
    const Json &metadata = member(object, "metadata"), &spec = member(object, "spec");
    if (!spec.is_object()) return base::invalid("spec is not an object");
    NetworkPolicy out;
    out.ns = TRY(read_name(metadata, "namespace"));
    out.name = TRY(read_name(metadata, "name"));
    out.pods = TRY(read_selector(member(spec, "podSelector")));
    out.ingress.rules = TRY(read_rules(spec, "ingress", "from"));
    out.egress.rules = TRY(read_rules(spec, "egress", "to"));
    const Json& types = *TRY(read_array(spec, "policyTypes"));
    // As the API server fills it in: in always, and out where there are such rules.
    out.ingress.governed = types.empty();
    out.egress.governed = types.empty() && !out.egress.rules.empty();
    for (const Json& type : types) {
        if (type == "Ingress")
            out.ingress.governed = true;
        else if (type == "Egress")
            out.egress.governed = true;
        else
            return base::invalid("policyTypes has one that is neither Ingress nor Egress");
    }
    return out;
}

base::Result<void> NetworkPolicies::put(const std::string& ns, const std::string& name, std::string_view json) {
    remove(ns, name);
    Kept& kept = by_namespace_[ns][name];
    ++size_;
    ++unread_;
    kept.policy = shut();
    if (size_ - unread_ >= limits_.policies || json.size() > limits_.bytes - bytes_)
        return base::Error{base::Errc::Exhausted, 0, "read", "more NetworkPolicies than the agent keeps"};
    kept.policy = std::make_shared<const NetworkPolicy>(TRY(read_network_policy(json)));
    kept.bytes = json.size();
    bytes_ += kept.bytes;
    --unread_;
    return {};
}

void NetworkPolicies::remove(const std::string& ns, const std::string& name) {
    const auto space = by_namespace_.find(ns);
    if (space == by_namespace_.end()) return;
    const auto found = space->second.find(name);
    if (found == space->second.end()) return;
    --size_;
    bytes_ -= found->second.bytes;
    if (found->second.bytes == 0) --unread_;
    space->second.erase(found);
    if (space->second.empty()) by_namespace_.erase(space);
}

PodNetworkRef NetworkPolicies::network_of(const KubePod& pod, const Labels& ns_labels) const {
    if (size_ == 0) return {};
    std::vector<NetworkPolicyRef> policies;
    if (const auto space = by_namespace_.find(pod.ns); space != by_namespace_.end())
        for (const auto& [name, kept] : space->second) policies.push_back(kept.policy);
    PodNetwork out{.ns = pod.ns, .labels = pod.labels, .ns_labels = ns_labels, .ports = pod.ports, .ingress = {}, .egress = {}};
    return {std::make_shared<const PodNetwork>(select_policies(std::move(out), policies))};
}

}  // namespace warren::node
