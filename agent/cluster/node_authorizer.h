// SPDX-License-Identifier: Apache-2.0
// NodeAuthorizer: which identity may this caller have? (Kubernetes contract 4.3, and stricter: the trust domain counts.) A node has
// exactly the identities of the workloads that run on it, and its own; a bootstrap token buys one node's certificate; a Kubernetes service
// account its own identity, and a trusted one the identities of the node its pod runs on. Any thread; the views outlive it.
//
// Denied is temporary as often as not: a pod was scheduled a moment ago and its record is on the way. Clients retry (contract 2.5).
#pragma once

#include "agent/cluster/caller.h"

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <unordered_map>

namespace warren::cluster {

class WorkloadsOnNode {
  public:
    virtual ~WorkloadsOnNode() = default;
    [[nodiscard]] virtual bool runs(std::string_view node, const policy::Identity& identity) const = 0;
};

// The node that the caller's pod runs on, when there is a pod of that name in its namespace with that UID and service account.
class CallerPods {
  public:
    virtual ~CallerPods() = default;
    [[nodiscard]] virtual std::optional<std::string> node_of(const CallerIdentity& caller) const = 0;
};

// WorkloadsOnNode fed workload by workload: several of one identity on one node are counted. A change is seen by the next question. Any
// thread.
class NodeWorkloads final : public WorkloadsOnNode {
  public:
    void add(std::string_view node, const policy::Identity& identity);
    void remove(std::string_view node, const policy::Identity& identity);
    [[nodiscard]] bool runs(std::string_view node, const policy::Identity& identity) const override;
    [[nodiscard]] size_t nodes() const;

  private:
    using Counts = std::unordered_map<std::string, size_t>;
    mutable std::shared_mutex mutex_;
    std::map<std::string, Counts, std::less<>> nodes_;
};

struct NodeAuthorizerParts {
    std::string trust_domain;
    const WorkloadsOnNode* workloads = nullptr;
    const CallerPods* pods = nullptr;        // may be null: no Kubernetes, then no account may impersonate
    std::set<std::string> trusted_accounts;  // "ns/sa" (CA_TRUSTED_NODE_ACCOUNTS)
    std::function<bool(std::string_view)> node_revoked = {};
};

class NodeAuthorizer {
  public:
    explicit NodeAuthorizer(NodeAuthorizerParts parts) : parts_(std::move(parts)) {}
    // wanted: ImpersonatedIdentity, empty when the caller asks for itself. What the certificate is to say; Denied; or Invalid when wanted
    // is no identity.
    [[nodiscard]] base::Result<Subject> authorize(const CallerIdentity& caller, std::string_view wanted) const;

    // For whose workloads the caller speaks, if for any: its own node's.
    [[nodiscard]] base::Result<std::string> node_of(const CallerIdentity& caller) const;

  private:
    base::Result<Subject> node_itself(const CallerIdentity& caller, std::string_view wanted) const;
    const NodeAuthorizerParts parts_;
};

}  // namespace warren::cluster
