// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/trust_resources.h"

#include "agent/cluster/mesh_resources.h"
#include "agent/xds/update.h"
#include "base/bytes.h"
#include "proto/trust.pb.h"

namespace warren::cluster {

base::Result<xds::Snapshot> revocation_resources(const Trust& trust) {
    xds::Snapshot out;
    xds::ResourceSet& set = out.try_emplace(std::string(xds::kRevocationType), false).first->second;
    if (trust.revocations_pem.empty()) return out;
    warren::trust::v1::RevocationLists message;
    message.set_pem(trust.revocations_pem);
    const std::string body = message.SerializeAsString();
    TRY(set.set({"revocation-lists", content_version(body), base::as_bytes(body)}));
    return out;
}

}  // namespace warren::cluster
