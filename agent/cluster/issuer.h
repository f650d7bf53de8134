// SPDX-License-Identifier: Apache-2.0
// Issuer: one signing certificate with its key and its way up to a root, checked. Immutable; any thread signs with it. Private to the
// certificate service (it shows OpenSSL). Kubernetes contract 4.5 for the files of a plugged-in one.
#pragma once

#include "agent/cluster/certificate_text.h"

#include <memory>
#include <string>
#include <vector>

namespace warren::cluster {

struct Issuer {
    X509Ptr certificate;
    KeyPtr key;
    std::vector<std::string> chain;  // PEM, between the leafs and the roots: the certificate itself unless it is a root, and those above
    base::WallTime not_after;        // of the first that expires on the way up, the issuer itself included
    base::WallTime root_not_after;
};

struct IssuerFiles {
    std::string certificate, key, chain, roots;  // PEM texts; chain may be empty; the key is wiped by load_issuer
};
// The key is the certificate's, the certificate may sign, and leads to one of the roots. Errors name the file by istio's name.
[[nodiscard]] base::Result<std::shared_ptr<const Issuer>> load_issuer(IssuerFiles& files, base::WallTime now);

// From a folder with ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem.
[[nodiscard]] base::Result<IssuerFiles> read_issuer_files(const std::string& folder);

// A root and an intermediate under it, as the files of a folder that did not exist: complete or not there.
struct NewIssuer {
    std::string folder, trust_domain;
    int generation = 1;
    bool rsa = false;
    unsigned rsa_bits = 2048;
    base::WallTime not_before, not_after;
};
[[nodiscard]] base::Result<void> create_issuer(const NewIssuer& wanted);

// Do two bundles have a root in common, and does a bundle hold the one an issuer leads to?
[[nodiscard]] bool share_a_root(const std::string& a_pem, const std::string& b_pem);
[[nodiscard]] bool leads_to(const Issuer& issuer, const std::string& roots_pem, base::WallTime now);

}  // namespace warren::cluster
