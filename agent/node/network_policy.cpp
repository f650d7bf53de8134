// SPDX-License-Identifier: Apache-2.0
#include "agent/node/network_policy.h"

#include <algorithm>
#include <utility>

namespace warren::node {

namespace {

using Direction = NetworkPolicy::Direction;
using Rule = NetworkPolicy::Rule;

// Pairs of pods are asked one by one on the agent's loop: at the most, the ten thousand pairs of a hundred pods take some 70 ms.
constexpr size_t kMostWeight = 1000;

void add(Ports& to, PortRange range) {
    if (range.first <= range.last) to.push_back(range);
}

void normalize(Ports& ports) {
    std::sort(ports.begin(), ports.end());
    Ports out;
    for (const PortRange& next : ports) {
        if (!out.empty() && uint32_t{next.first} <= uint32_t{out.back().last} + 1)
            out.back().last = std::max(out.back().last, next.last);
        else
            out.push_back(next);
    }
    ports = std::move(out);
}

Ports both(const Ports& a, const Ports& b) {
    Ports out;
    for (const PortRange& x : a)
        for (const PortRange& y : b) add(out, {std::max(x.first, y.first), std::min(x.last, y.last)});
    normalize(out);
    return out;
}

size_t weight_of(const LabelSelector& selector) {
    size_t n = 1;
    for (const LabelSelector::Expression& e : selector.all) n += 1 + e.values.size();
    return n;
}

bool is_open(const Rule& rule) { return rule.any_peer && rule.any_port; }

bool admits(const Rule& rule, const PodNetwork& owner, const PodNetwork& other) {
    return rule.any_peer || std::any_of(rule.peers.begin(), rule.peers.end(), [&](const NetworkPolicy::Peer& peer) {
               const bool space = peer.namespaces ? peer.namespaces->matches(other.ns_labels) : owner.ns == other.ns;
               return space && peer.pods.matches(other.labels);
           });
}

// The ports that the rules of one direction of `owner` leave open towards `other`; names are those of `destination`.
Ports allowed(const std::vector<NetworkPolicyRef>& policies, Direction NetworkPolicy::* direction, const PodNetwork& owner,
              const PodNetwork& other, const PodNetwork& destination) {
    Ports out;
    for (const NetworkPolicyRef& policy : policies)
        for (const Rule& rule : ((*policy).*direction).rules) {
            if (!admits(rule, owner, other)) continue;
            if (rule.any_port) return {PortRange{}};
            for (const NetworkPolicy::Port& port : rule.ports) {
                if (port.name.empty()) {
                    add(out, port.range);
                } else if (const auto named = destination.ports.find(port.name); named != destination.ports.end()) {
                    add(out, {named->second, named->second});
                }
            }
        }
    normalize(out);
    return out;
}

void select(PodNetwork& pod, const std::vector<NetworkPolicyRef>& policies, Direction NetworkPolicy::* direction,
            std::vector<NetworkPolicyRef>& to) {
    size_t weight = 0;
    to.clear();
    for (const NetworkPolicyRef& policy : policies) {
        const Direction& side = (*policy).*direction;
        if (!side.governed || !policy->pods.matches(pod.labels)) continue;
        if (std::any_of(side.rules.begin(), side.rules.end(), is_open)) return to.clear();
        weight += side.weight();
        to.push_back(policy);
    }
    if (weight <= kMostWeight) return;
    // One and the same each time: a pod whose policies did not change has not changed.
    static const NetworkPolicyRef kShut = std::make_shared<const NetworkPolicy>(
        NetworkPolicy{.ns = "", .name = "more than the agent looks at", .pods = {}, .ingress = {true, {}}, .egress = {true, {}}});
    to.assign(1, kShut);
}

}  // namespace

bool all_ports(const Ports& ports) { return ports.size() == 1 && ports.front() == PortRange{}; }

size_t NetworkPolicy::Direction::weight() const {
    size_t n = 0;
    for (const Rule& rule : rules) {
        n += 1 + rule.ports.size();
        for (const Peer& peer : rule.peers) n += weight_of(peer.pods) + (peer.namespaces ? weight_of(*peer.namespaces) : 0);
    }
    return n;
}

PodNetwork select_policies(PodNetwork pod, const std::vector<NetworkPolicyRef>& policies) {
    select(pod, policies, &NetworkPolicy::ingress, pod.ingress);
    select(pod, policies, &NetworkPolicy::egress, pod.egress);
    return pod;
}

OpenPorts open_ports(const PodNetwork& from, const PodNetwork& to) {
    OpenPorts out;
    if (!to.ingress.empty()) {
        Ports in = allowed(to.ingress, &NetworkPolicy::ingress, to, from, to);
        out.ingress = !all_ports(in);
        out.ports = std::move(in);
    }
    if (!from.egress.empty()) {
        const Ports through = allowed(from.egress, &NetworkPolicy::egress, from, to, to);
        out.egress = !all_ports(through);
        out.ports = both(out.ports, through);
    }
    return out;
}

}  // namespace warren::node
