// SPDX-License-Identifier: Apache-2.0
// The certificate store (cert_store.h) over any CertSigner: how it is made, and what only its owner calls. Rules in cert_table.h, threads
// here: one scheduler, and signing threads started as they are needed, eight at most.
//
// Lifetimes: signer, clock and every loop that asks outlive the store. The destructor fails whoever waits, and waits for calls in flight:
// at most CertStoreOptions::call_timeout, less when the signer is told to stop before (CaClient::stop). Answers are called on their loop,
// never inside request().
#pragma once

#include "ztunnel/cert_store.h"
#include "ztunnel/cert_table.h"

namespace warren::ztunnel {

struct CertStoreOptions {
    size_t signing_threads = 8;  // calls in flight at most
    std::chrono::milliseconds call_timeout = std::chrono::seconds(10);
    CertLimits limits;
    bool renewal_jitter = true;
    std::shared_ptr<const RevocationList> revoked;  // the first one
};

struct CertStoreStats : CertCounts {
    uint64_t answers_lost = 0;   // the loop that asked took no more tasks
    uint64_t trust_changes = 0;  // times on_trust_change was called
    size_t identities = 0;
    size_t in_flight = 0;
    size_t threads = 0;
    size_t most_in_flight = 0;
};

// How a context is made; called on the store's threads, several at once.
using ContextFactory = std::function<CertOutcome(CredentialPtr, std::shared_ptr<const RevocationList>)>;

class OwnedCertStore : public CertStore {
  public:
    // Makes every context anew and tells on_trust_change of each; null: none is in force. Any thread; the work is the scheduler's.
    virtual void set_revocation_list(std::shared_ptr<const RevocationList> revoked) = 0;
    // Fetches the identity's certificate again, if it is known: the files it comes from have changed.
    virtual void renew(const policy::Identity& identity) = 0;
    // After a step of a clock that does not move by itself.
    virtual void wake() = 0;
    [[nodiscard]] virtual CertStoreStats stats() const = 0;
};

[[nodiscard]] std::unique_ptr<OwnedCertStore> make_cert_store(CertSigner& signer, const base::Clock& clock, ContextFactory make_context,
                                                              const CertStoreOptions& options);

[[nodiscard]] inline std::unique_ptr<OwnedCertStore> make_cert_store(CertSigner& signer, const base::Clock& clock, TlsSettings settings,
                                                                     const CertStoreOptions& options) {
    auto factory = [settings = std::move(settings)](CredentialPtr credential, std::shared_ptr<const RevocationList> revoked) {
        return TlsContext::create(std::move(credential), std::move(revoked), settings);
    };
    return make_cert_store(signer, clock, ContextFactory(std::move(factory)), options);
}

}  // namespace warren::ztunnel
