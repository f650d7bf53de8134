// SPDX-License-Identifier: Apache-2.0
// From the authority's files to one immutable snapshot of it: who signs, who is recognised, what all trust, what is revoked. Blocking;
// called by whoever refreshes the authority, one at a time. Private to the certificate service (it shows OpenSSL).
#pragma once

#include "agent/cluster/authority_state.h"
#include "agent/cluster/issuer.h"
#include "agent/cluster/revocations.h"
#include "agent/cluster/state_file.h"

#include <memory>
#include <vector>

namespace warren::cluster {

struct AuthoritySnapshot {
    std::vector<std::shared_ptr<const Issuer>> issuers;  // with keys: of every generation in use, or the plugged-in one
    size_t signing = 0;
    std::vector<X509Ptr> recognised;  // issuers whose leafs are still ours: those above, and plugged-in ones of the past
    std::shared_ptr<const Trust> trust;
    Revocations revoked;
    RotationState rotation;
    base::WallTime lists_due{};  // when the revocation lists are to be signed again; zero: there are none
};

// What the files look like from outside: equal marks, nothing to do.
using AuthorityMarks = std::vector<FileMark>;
[[nodiscard]] AuthorityMarks marks_of(const AuthorityOptions& options);

// before: null at the start. Then a plugged-in issuer must lead to a root that was in the bundle before.
[[nodiscard]] base::Result<std::shared_ptr<const AuthoritySnapshot>> load_authority(const AuthorityOptions& options,
                                                                                    const AuthoritySnapshot* before, base::WallTime now);

}  // namespace warren::cluster
