// SPDX-License-Identifier: Apache-2.0
// What a node shows when a control plane asks who it is, and whom it trusts besides the roots it was configured with. Values of any
// thread; the keys are secrets, wiped with their owner and never logged. Where they come from: join.h.
#pragma once

#include "base/bytes.h"
#include "base/result.h"

#include <functional>
#include <string>

namespace warren::xds {

// A chain, leaf first, and its key, PEM. Empty: nothing is shown.
struct ClientCertificate {
    std::string chain_pem, key_pem;
    [[nodiscard]] bool none() const { return chain_pem.empty(); }
};

struct NodeProof {
    ClientCertificate certificate;
    std::string more_roots = {};  // PEM; those of a control plane that changes its root

    NodeProof() = default;
    NodeProof(NodeProof&&) = default;
    NodeProof& operator=(NodeProof&&) = default;
    ~NodeProof() { base::wipe(certificate.key_pem); }
};
// Asked before each connection; may block. An error keeps the connection from being made.
using NodeProofSource = std::function<base::Result<NodeProof>()>;

}  // namespace warren::xds
