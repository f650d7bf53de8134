// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/node_authorizer.h"

#include "agent/cluster/node_name.h"
#include "base/bytes.h"

#include <mutex>

namespace warren::cluster {

namespace {
base::Error denied(std::string why) { return {base::Errc::Denied, 0, "", std::move(why)}; }

// Policies compare the text of an identity: one with an empty part or with control characters is nobody's.
bool whole(const policy::Identity& identity) {
    return !identity.trust_domain().empty() && !identity.ns().empty() && !identity.service_account().empty();
}
}  // namespace

void NodeWorkloads::add(std::string_view node, const policy::Identity& identity) {
    const std::unique_lock lock(mutex_);
    ++nodes_[std::string(node)][identity.principal().str()];
}

void NodeWorkloads::remove(std::string_view node, const policy::Identity& identity) {
    const std::unique_lock lock(mutex_);
    const auto counts = nodes_.find(node);
    if (counts == nodes_.end()) return;
    const auto count = counts->second.find(identity.principal().str());
    if (count == counts->second.end()) return;
    if (--count->second == 0) counts->second.erase(count);
    if (counts->second.empty()) nodes_.erase(counts);
}

bool NodeWorkloads::runs(std::string_view node, const policy::Identity& identity) const {
    const std::shared_lock lock(mutex_);
    const auto counts = nodes_.find(node);
    return counts != nodes_.end() && counts->second.contains(identity.principal().str());
}

size_t NodeWorkloads::nodes() const {
    const std::shared_lock lock(mutex_);
    return nodes_.size();
}

base::Result<Subject> NodeAuthorizer::node_itself(const CallerIdentity& caller, std::string_view wanted) const {
    const bool bootstrap = caller.kind == CallerKind::Bootstrap;
    std::string name = caller.node;
    if (!wanted.empty()) {
        name = TRY(node_of_uri(wanted, parts_.trust_domain));
        if (bootstrap ? !matches_pattern(caller.node, name) : name != caller.node)
            return denied(caller.name + " is for node " + base::quoted(caller.node) + ", not " + base::quoted(name));
    } else if (name.find('*') != std::string::npos) {
        return base::invalid("ImpersonatedIdentity: the token is good for several nodes; say which (" +
                             node_uri(parts_.trust_domain, "NAME") + ")");
    }
    if (parts_.node_revoked && parts_.node_revoked(name)) return denied("node " + name + " is revoked");
    return Subject{Purpose::Node, node_uri(parts_.trust_domain, name), {}};
}

base::Result<std::string> NodeAuthorizer::node_of(const CallerIdentity& caller) const {
    if (caller.kind == CallerKind::Node) return caller.node;
    const std::string account = std::string(caller.identity.ns()) + "/" + std::string(caller.identity.service_account());
    if (!parts_.trusted_accounts.contains(account)) return denied("service account " + account + " may not ask for others");
    if (caller.pod_name.empty() || caller.pod_uid.empty()) return denied("the token is not bound to a pod");
    const auto node = parts_.pods != nullptr ? parts_.pods->node_of(caller) : std::nullopt;
    if (!node) return denied("no pod " + base::quoted(caller.pod_name) + " of this account and UID is known");
    return *node;
}

base::Result<Subject> NodeAuthorizer::authorize(const CallerIdentity& caller, std::string_view wanted) const {
    const bool for_node = wanted.empty() || is_node_uri(wanted);
    switch (caller.kind) {
        case CallerKind::Bootstrap:
            if (!for_node) return denied("a bootstrap token buys a node's certificate only; join with it first");
            return node_itself(caller, wanted);
        case CallerKind::Node:
            if (for_node) return node_itself(caller, wanted);
            break;
        case CallerKind::Kubernetes:
            if (wanted.empty()) return Subject{Purpose::Workload, caller.identity.uri(), {}};
            break;
        case CallerKind::Anonymous:
            if (wanted.empty()) return base::invalid("ImpersonatedIdentity: not there, and the caller has no identity of its own");
            break;
    }
    const auto identity = policy::Identity::parse(wanted);
    if (!identity || !whole(*identity))
        return base::invalid("ImpersonatedIdentity " + base::quoted(wanted) + " is not spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT");
    if (identity->trust_domain() != parts_.trust_domain)
        return denied(base::quoted(wanted) + " is not of trust domain " + parts_.trust_domain);
    const Subject subject{Purpose::Workload, identity->uri(), {}};
    if (caller.kind == CallerKind::Anonymous) return subject;
    const std::string node = TRY(node_of(caller));
    if (parts_.node_revoked && parts_.node_revoked(node)) return denied("node " + node + " is revoked");
    if (parts_.workloads == nullptr || !parts_.workloads->runs(node, *identity))
        return denied("no workload of " + base::quoted(wanted) + " is known to run on node " + base::quoted(node));
    return subject;
}

}  // namespace warren::cluster
