// SPDX-License-Identifier: Apache-2.0
// How a node outside of Kubernetes becomes known to the control plane: a bootstrap token buys it a certificate of its own
// (spiffe://<trust domain>/node/<name>) through the ordinary CreateCertificate call, and that certificate renews itself. The channels to
// the control plane then show it (ChannelOptions::certificate). Used by the agent and by a tunnel that runs without an agent.
//
// Blocking functions of any thread; one caller per file. The key is made here, never leaves the node, lives in the file (0600) and in
// memory, and is wiped with its owner. Errors name the setting or the file; Denied is the control plane's refusal.
#pragma once

#include "agent/xds/auth_source.h"
#include "agent/xds/channel.h"
#include "base/clock.h"
#include "base/result.h"

#include <chrono>
#include <string>
#include <vector>

namespace warren::xds {

struct JoinOptions {
    std::string address;           // CA_ADDRESS
    std::string alternative_host;  // ALT_CA_HOSTNAME
    RootSource roots;              // to know the control plane by, at the first time
    TokenSource token;             // the bootstrap token
    std::string node;
    std::string trust_domain = "cluster.local";
    std::string cluster_id = {};
    std::chrono::seconds lifetime{0};  // asked for; 0: the control plane's default
};

struct NodeCredential {
    std::string chain_pem;  // leaf and intermediates
    std::string key_pem;
    std::string roots_pem;  // that came with it: those of the control plane, also of one that changes its root
    base::WallTime not_before{}, not_after{};

    NodeCredential() = default;
    NodeCredential(NodeCredential&&) = default;
    NodeCredential& operator=(NodeCredential&&) = default;
    ~NodeCredential();
    // Half of the life (data-plane contract 2.5).
    [[nodiscard]] base::WallTime renew_at() const { return not_before + (not_after - not_before) / 2; }
    [[nodiscard]] ClientCertificate certificate() const { return {chain_pem, key_pem}; }
};

// One call. With the certificate it has, when there is one; else with the token.
[[nodiscard]] base::Result<NodeCredential> request_node_credential(const JoinOptions& options, const NodeCredential* current,
                                                                   std::chrono::steady_clock::time_point deadline);

// What is needed now: the one of the file while it is young; renewed with itself from half of its life on (it goes on serving while that
// fails and it is valid); asked for with the token when there is none that is valid. Changes are in the file when it returns.
struct Joined {
    NodeCredential credential;
    bool changed = false;
    std::string renewal_error;  // the old one is served on
};
[[nodiscard]] base::Result<Joined> join(const JoinOptions& options, const std::string& path, const base::Clock& clock,
                                        std::chrono::steady_clock::time_point deadline);

// One file, written beside and renamed: key, chain, then the roots after a line of their own. NotFound when there is none.
[[nodiscard]] base::Result<void> save_node_credential(const NodeCredential& credential, const std::string& path);
[[nodiscard]] base::Result<NodeCredential> load_node_credential(const std::string& path, const std::string& uri);

// A fresh P-256 key and a request for it.
struct KeyAndRequest {
    std::string key_pem, csr_pem;
};
[[nodiscard]] base::Result<KeyAndRequest> make_node_request();
// Does the chain's leaf say `uri`, and belong to the key? Fills in the times.
[[nodiscard]] base::Result<void> check_node_credential(NodeCredential& credential, const std::string& uri);
[[nodiscard]] std::string node_uri_of(const JoinOptions& options);

}  // namespace warren::xds
