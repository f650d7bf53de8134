// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/verified_chains.h"

#include <algorithm>
#include <limits>

#include <openssl/sha.h>

namespace warren::ztunnel {

namespace {

bool seconds_of(const ASN1_TIME* time, time_t& seconds) {
    std::tm fields{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &fields) != 1) return false;
    seconds = ::timegm(&fields);
    return true;
}

// A stack of its own, a reference to each.
X509ChainPtr share(const STACK_OF(X509) * chain, int first) {
    X509ChainPtr shared(sk_X509_new_null());
    for (int i = first; shared && i < sk_X509_num(chain); ++i) {
        X509* certificate = sk_X509_value(chain, i);
        if (X509_up_ref(certificate) != 1) return nullptr;
        X509Ptr owner(certificate);
        if (sk_X509_push(shared.get(), certificate) <= 0) return nullptr;
        (void)owner.release();
    }
    return shared;
}

}  // namespace

bool VerifiedChains::digest_of(X509_STORE_CTX* ctx, Digest& digest) {
    const STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(ctx);
    std::string all;
    auto add = [&all](X509* certificate) {
        unsigned char one[SHA256_DIGEST_LENGTH];
        unsigned int size = 0;
        if (certificate == nullptr || X509_digest(certificate, EVP_sha256(), one, &size) != 1) return false;
        all.append(reinterpret_cast<const char*>(one), size);
        return true;
    };
    if (!add(X509_STORE_CTX_get0_cert(ctx))) return false;
    for (int i = 0; i < sk_X509_num(sent); ++i)
        if (!add(sk_X509_value(sent, i))) return false;
    return SHA256(reinterpret_cast<const unsigned char*>(all.data()), all.size(), digest.data()) != nullptr;
}

bool VerifiedChains::recall(X509_STORE_CTX* ctx, time_t now) {
    Digest digest;
    if (!digest_of(ctx, digest)) return false;
    std::shared_ptr<const Passed> passed;
    {
        const std::lock_guard lock(mutex_);
        const auto found = passed_.find(digest);
        if (found == passed_.end()) return false;
        passed = found->second;
        if (now < passed->not_before || now >= passed->not_after) {
            passed_.erase(found);
            return false;
        }
    }
    X509* leaf = X509_STORE_CTX_get0_cert(ctx);
    X509ChainPtr chain = share(passed->issuers.get(), 0);
    if (!chain || X509_up_ref(leaf) != 1) return false;
    X509Ptr owner(leaf);
    if (sk_X509_unshift(chain.get(), leaf) <= 0) return false;
    (void)owner.release();
    X509_STORE_CTX_set0_verified_chain(ctx, chain.release());
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return true;
}

void VerifiedChains::remember(X509_STORE_CTX* ctx) {
    const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(ctx);
    Digest digest;
    if (chain == nullptr || !digest_of(ctx, digest)) return;
    auto passed = std::make_shared<Passed>();
    passed->not_before = std::numeric_limits<time_t>::min();
    passed->not_after = std::numeric_limits<time_t>::max();
    for (int i = 0; i < sk_X509_num(chain); ++i) {
        time_t from = 0, to = 0;
        const X509* certificate = sk_X509_value(chain, i);
        if (!seconds_of(X509_get0_notBefore(certificate), from) || !seconds_of(X509_get0_notAfter(certificate), to)) return;
        passed->not_before = std::max(passed->not_before, from);
        passed->not_after = std::min(passed->not_after, to);
    }
    passed->issuers = share(chain, 1);
    if (!passed->issuers) return;
    const std::lock_guard lock(mutex_);
    if (passed_.size() >= kMost) passed_.clear();
    passed_[digest] = std::move(passed);
}

}  // namespace warren::ztunnel
