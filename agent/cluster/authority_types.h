// SPDX-License-Identifier: Apache-2.0
// The values that go in and out of the certificate authority. Plain values, any thread; no OpenSSL.
#pragma once

#include "base/clock.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace warren::cluster {

enum class KeyKind : uint8_t { EcP256, Rsa2048, Rsa4096 };

struct AuthorityOptions {
    // A folder with ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem (Kubernetes contract 4.5); empty: self-made, in the state.
    std::string plugged_in;
    std::string state;  // a folder of the authority's own (0700): its keys when self-made; the list of revoked serials in either case
    std::string trust_domain = "cluster.local";
    KeyKind key = KeyKind::EcP256;                                    // of a self-made root and intermediate
    std::chrono::seconds default_lifetime = std::chrono::hours(24);   // asked for none
    std::chrono::seconds max_lifetime = std::chrono::hours(24 * 90);  // asking for more is an error
    std::chrono::seconds backdate = std::chrono::minutes(2);          // for peers whose clocks are behind
    std::chrono::seconds root_lifetime = std::chrono::hours(24 * 365 * 10);
    std::chrono::seconds overlap = std::chrono::hours(48);            // a new root is only trusted this long before it signs
    std::chrono::seconds list_lifetime = std::chrono::hours(24 * 7);  // of a revocation list; renewed at half of it
};

// What a certificate is for decides its extended key usage.
enum class Purpose : uint8_t {
    Workload,  // server and client
    Node,      // client: a node's own credential towards the control plane
    Server     // server: the control plane's port
};

struct Subject {
    Purpose purpose = Purpose::Workload;
    std::string uri;  // the one URI name; empty for a server
    std::vector<std::string> dns = {};
};

struct IssuedCertificate {
    std::vector<std::string> chain;  // PEM: leaf, intermediates one an element, the bundle of roots last (contract 2.4)
    std::string serial;              // upper-case hex
    base::WallTime not_before, not_after;
};

// A certificate that this authority signed, presented by a peer.
struct PeerCertificate {
    std::string uri;  // its one URI name
    std::string serial;
    base::WallTime not_after;
};

// What everyone in the mesh is to trust and not to trust. Immutable; a change makes a new one with a higher version.
struct Trust {
    uint64_t version = 0;
    std::string roots_pem;        // during a rotation the old and the new root
    std::string revocations_pem;  // signed lists, one per issuer; empty while nothing was ever revoked
};

// For the status page: where a root rotation stands.
struct RotationState {
    enum class Phase : uint8_t { Steady, Overlap, Retiring } phase = Phase::Steady;
    base::WallTime next_step{};  // when the new root begins to sign, or the old one leaves the bundle; zero when steady
    base::WallTime root_expires{}, issuer_expires{};
};

}  // namespace warren::cluster
