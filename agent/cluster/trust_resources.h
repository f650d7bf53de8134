// SPDX-License-Identifier: Apache-2.0
// The revocation lists of a trust as the xDS resource that agents ask for (proto/trust.proto). None while nothing was ever revoked. Pure.
#pragma once

#include "agent/cluster/authority_types.h"
#include "agent/xds/server.h"
#include "base/result.h"

namespace warren::cluster {

// To publish: the one type, whole. Invalid: lists that no resource can carry.
[[nodiscard]] base::Result<xds::Snapshot> revocation_resources(const Trust& trust);

}  // namespace warren::cluster
