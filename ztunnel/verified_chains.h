// SPDX-License-Identifier: Apache-2.0
// Chains that were verified before: whoever connects again with the same certificates under the same anchors need not have their signatures
// verified again (75 us, a tenth of a handshake). Remembered are chains that passed, by the digests of all that was presented, with the
// time in which all their certificates are valid; revocation is no part of it and is looked up each time, as are names. One for each role
// of a TLS context, whose anchors never change. Thread-safe.
#pragma once

#include "ztunnel/certificate_text.h"

#include <array>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>

namespace warren::ztunnel {

class VerifiedChains {
  public:
    static constexpr size_t kMost = 1024;  // chains; then all are forgotten

    // True when what ctx presents passed before and is valid now: ctx has its verified chain, as X509_verify_cert leaves it.
    bool recall(X509_STORE_CTX* ctx, time_t now = std::time(nullptr));
    // Behind X509_verify_cert that returned 1.
    void remember(X509_STORE_CTX* ctx);

  private:
    using Digest = std::array<unsigned char, 32>;
    struct Passed {
        X509ChainPtr issuers;  // the verified chain above the leaf
        time_t not_before = 0, not_after = 0;
    };
    // Of the leaf and what was sent with it; false when it cannot be taken.
    static bool digest_of(X509_STORE_CTX* ctx, Digest& digest);

    std::mutex mutex_;
    std::map<Digest, std::shared_ptr<const Passed>> passed_;
};

}  // namespace warren::ztunnel
