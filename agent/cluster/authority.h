// SPDX-License-Identifier: Apache-2.0
// Authority: the mesh's certificate authority (Kubernetes contract 4.4 to 4.6; data-plane contract 2.4, 4.4). Root and issuer are an
// operator's files, or self-made in the state folder and kept there:
//
//   state/state.json            which generations there are, which one signs, since when; the old file or the new one, never a part
//   state/generation-N/         ca-cert.pem ca-key.pem cert-chain.pem root-cert.pem root-key.pem (only read when made: may be taken away)
//   state/revoked               written by an operator (revocations.h); signed lists are made from it
//   state/issuers.pem           plugged-in issuers of the past: what they signed is still recognised
//
// A root is replaced without a connection dropped in three steps. Overlap: a second root goes into every bundle, the first still signs;
// long enough for every certificate to have been renewed with the new bundle beside it. Retiring: the second signs, the first is still
// trusted, until nothing it signed is left. Then the first is removed. With plugged-in files the operator makes the same steps: a reload
// whose issuer does not lead to a root that was already in the bundle is refused.
//
// Threads: sign, verify, trust, rotation, node_revoked from any; refresh and the rotation steps take turns among themselves and, over a
// lock file, with another process (the CLI) on the same state. Keys stay in OpenSSL's memory and are cleared with their last user. The
// clock outlives this. Errors: Invalid is the caller's input or the operator's file, by name; Internal and Unavailable are ours.
#pragma once

#include "agent/cluster/authority_types.h"
#include "base/result.h"

#include <memory>
#include <string_view>

namespace warren::cluster {

class Authority {
  public:
    [[nodiscard]] static base::Result<std::unique_ptr<Authority>> open(AuthorityOptions options, const base::Clock& clock);
    ~Authority();
    Authority(const Authority&) = delete;
    Authority& operator=(const Authority&) = delete;

    // Nothing but the key is taken from the request. lifetime: not positive: the default; above the most: Invalid; never past the issuer's
    // end. Counted from now; the certificate begins earlier by the back-dating.
    [[nodiscard]] base::Result<IssuedCertificate> sign(std::string_view csr_pem, const Subject& subject,
                                                       std::chrono::seconds lifetime) const;
    // A key and a certificate for it, for the control plane's own port. The key in PEM: wipe after use.
    struct Identity {
        std::string chain_pem, key_pem;
        base::WallTime not_before, not_after;
    };
    [[nodiscard]] base::Result<Identity> make_server(const std::vector<std::string>& dns, std::chrono::seconds lifetime) const;

    // Was it signed by this authority, is it valid now and not revoked? Denied, with the reason, when not.
    [[nodiscard]] base::Result<PeerCertificate> verify(std::string_view certificate_pem) const;
    [[nodiscard]] bool node_revoked(std::string_view node) const;

    [[nodiscard]] std::shared_ptr<const Trust> trust() const;
    [[nodiscard]] RotationState rotation() const;
    [[nodiscard]] const AuthorityOptions& options() const;

    // Looks at the files again, makes the steps of a rotation that are due (a self-made root begins one in the last fifth of its life) and
    // renews revocation lists. True: trust() or the issuer changed. An error leaves all as it was, and the
    // next look tries again. Every second or so.
    [[nodiscard]] base::Result<bool> refresh();

    // Self-made only. A new root goes into the bundle; Exists when a rotation is on.
    [[nodiscard]] base::Result<void> begin_rotation();
    // The next step at once, without waiting for its time: the new root signs; or the old one is no longer trusted.
    [[nodiscard]] base::Result<void> hasten_rotation();

  private:
    struct Impl;
    explicit Authority(std::unique_ptr<Impl> impl);
    const std::unique_ptr<Impl> impl_;
};

// root-cert.pem and ca-crl.pem (CRL_PATH of a tunnel; contract 4.6 for the names) in a folder that anybody may read, each in one step.
[[nodiscard]] base::Result<void> publish(const Trust& trust, const std::string& folder);

}  // namespace warren::cluster
