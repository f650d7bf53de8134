// SPDX-License-Identifier: Apache-2.0
// EnrolmentStore: what enrolment must remember over a restart beside the maps of bpf/abi.h: the next id (ids are never given twice, or a
// forgotten verdict or an open connection of a pod that left would count for its successor) and for each namespace whose pod it is. Two
// small maps of the agent's own, pinned with the others; no program reads them. One thread.
#pragma once

#include "agent/node/digest.h"
#include "agent/node/maps.h"
#include "agent/node/pins.h"
#include "agent/node/pod_source.h"
#include "agent/node/typed_map.h"
#include "base/fd.h"
#include "base/result.h"

#include <cstdint>

namespace warren::node {

// Names a pod's identity without its text: uid, name, namespace, account. Two pods that differ in one of them never share an id.
using PodDigest = Digest;
[[nodiscard]] PodDigest digest_of(const Pod& pod);

struct PodOwner {
    PodDigest digest;
    uint32_t id;
    uint32_t pad;
    friend bool operator==(const PodOwner&, const PodOwner&) = default;
};

class EnrolmentStore {
  public:
    // Ids found in the maps' rows are taken as given, should the store have been lost.
    static base::Result<EnrolmentStore> open(const Pins& pins, const Maps& maps);

    // Exhausted after four billion pods.
    base::Result<uint32_t> next_id();
    [[nodiscard]] const TypedMap<wr_u64, PodOwner>& owners() const { return owners_; }  // by cookie of the namespace

  private:
    base::Fd ids_fd_, owners_fd_;
    TypedMap<wr_u32, wr_u64> ids_;
    TypedMap<wr_u64, PodOwner> owners_;
};

}  // namespace warren::node
