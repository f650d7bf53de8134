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
#include "agent/xds/node_proof.h"
#include "base/clock.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

namespace warren::xds {

// Of the certificate that there is.
enum class Renew : uint8_t {
    WhenDue,  // with itself, from half of its life on
    Now,      // with itself, whatever its age
    Anew,     // with the token: a control plane that lost its state, or whose clock says that ours has expired, knows it no more
};

struct JoinOptions {
    std::string address;           // CA_ADDRESS
    std::string alternative_host;  // ALT_CA_HOSTNAME
    RootSource roots;              // to know the control plane by, at the first time
    TokenSource token;             // the bootstrap token
    std::string node;
    std::string trust_domain = "cluster.local";
    std::string cluster_id = {};
    std::chrono::seconds lifetime{0};  // asked for; 0: the control plane's default
    Renew renew = Renew::WhenDue;      // of join()
    std::stop_token stop = {};         // ends a call under way
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
// fails and it is valid); asked for with the token when there is none that is valid. One that is not valid yet is that of a node whose
// clock is behind: whether it is valid, the control plane's clock says. Changes are in the file when it returns.
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

// From files that somebody else renews, such as the node agent's, where certificate and key are one file: the key, the chain, and the roots
// that came with it if they are there. An error when they do not belong together (one of them may be newer) or have expired.
[[nodiscard]] base::Result<NodeProof> load_node_proof(const std::string& certificate_path, const std::string& key_path,
                                                      const base::Clock& clock);

// The same for each connection. optional: without it, and a warning, while it cannot be read, for there is a token to show as well.
[[nodiscard]] NodeProofSource proof_from_files(std::string certificate_path, std::string key_path, bool optional, const base::Clock& clock);

// A fresh P-256 key and a request for it.
struct KeyAndRequest {
    std::string key_pem, csr_pem;
};
[[nodiscard]] base::Result<KeyAndRequest> make_node_request();
// Does the chain's leaf belong to the key? Its identity. Fills in the times.
[[nodiscard]] base::Result<std::string> read_node_credential(NodeCredential& credential);
// Does it say `uri` besides, and have roots?
[[nodiscard]] base::Result<void> check_node_credential(NodeCredential& credential, const std::string& uri);
[[nodiscard]] std::string node_uri_of(const JoinOptions& options);

}  // namespace warren::xds
