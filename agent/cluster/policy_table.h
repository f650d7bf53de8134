// SPDX-License-Identifier: Apache-2.0
// PolicyTable: the policies in force, what workloads name of them, and whose names a change may touch (Kubernetes contract 3.3, 3.6). An
// AuthorizationPolicy costs itself; a PeerAuthentication those of its namespace, one of the root namespace all of them. One thread; the
// settings outlive it.
#pragma once

#include "agent/cluster/convert_peer_authentication.h"
#include "agent/cluster/selector_index.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace warren::cluster {

// Workloads that may name other policies than before.
struct PolicyImpact {
    bool all = false;
    std::set<std::string, std::less<>> namespaces;
    SelectorIndex<bool> selectors;  // by namespace
    SelectorIndex<bool> anywhere;   // by "": of every namespace

    [[nodiscard]] bool concerns(const std::string& ns, const LabelMap& labels) const {
        return all || namespaces.contains(ns) || selectors.any(ns, labels) || anywhere.any("", labels);
    }
    [[nodiscard]] bool none() const { return !all && namespaces.empty() && selectors.empty() && anywhere.empty(); }
};

class PolicyTable {
  public:
    explicit PolicyTable(const Settings& settings) : settings_(settings) {}

    // In force after settle(). Null: the policy is gone, or does not count. False: there is nothing of it to enforce.
    bool put(const std::string& key, const AuthorizationPolicy* policy, Diagnostics& problems);
    void put_peer(const std::string& key, const PeerAuthentication* object);
    void clear();

    struct Settled {
        std::set<std::string> changed;               // names of authorizations
        std::map<std::string, std::string> clashes;  // "NS/NAME" of each PeerAuthentication whose policy name is taken: the error
        PolicyImpact impact;
    };
    Settled settle();

    // Null: there is none of that name.
    [[nodiscard]] const istio::security::Authorization* find(const std::string& name) const;
    // "namespace/name" of every policy that a workload with these labels names.
    [[nodiscard]] std::vector<std::string> names(const std::string& ns, const LabelMap& labels) const;

  private:
    struct Converted {
        istio::security::Authorization sent;
        std::optional<LabelMap> selector;  // of one that workloads name
    };
    struct Namespace {
        std::map<std::string, PeerAuthentication> objects;                                                      // by "NS/NAME"
        PeerModes modes;                                                                                        // borrows them
        std::map<std::string, std::pair<istio::security::Authorization, const PeerAuthentication*>> converted;  // by name
    };
    void touch(const std::string& ns, const LabelMap& selector);
    void settle_namespace(const std::string& ns);
    [[nodiscard]] const PeerModes& modes_of(std::string_view ns) const;

    const Settings& settings_;
    std::map<std::string, Converted> policies_;  // by "NS/NAME"
    SelectorIndex<std::string> selecting_;       // names of policies
    std::map<std::string, Namespace, std::less<>> peers_;
    PeerModes mesh_modes_;  // of a namespace without objects of its own
    istio::security::Authorization static_strict_;
    std::set<std::string> dirty_peers_;  // namespaces
    Settled next_;
};

}  // namespace warren::cluster
