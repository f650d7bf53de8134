// SPDX-License-Identifier: Apache-2.0
// What the conversion says, as the resources that an xDS server publishes (Kubernetes contract 2.2, 5.2): names, aliases, groups, bytes and
// versions. A version is a hash of the bytes and nothing else, so it is the same in every replica and after every restart: a node that
// comes back is sent what changed while it was away. Only resources whose content changed are made anew; all others are shared with the
// snapshot before. One thread.
#pragma once

#include "agent/cluster/convert.h"
#include "agent/xds/server.h"
#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace warren::cluster {

inline constexpr std::string_view kAddressType = "type.googleapis.com/istio.workload.Address";
inline constexpr std::string_view kWorkloadType = "type.googleapis.com/istio.workload.Workload";  // clients of former times
inline constexpr std::string_view kAuthorizationType = "type.googleapis.com/istio.security.Authorization";
// What an on-demand client subscribes to for all services at once.
inline constexpr std::string_view kServicesGroup = "warren:services";

class MeshResources {
  public:
    explicit MeshResources(bool with_workload_type);

    struct Changes {
        size_t set = 0, removed = 0;
        std::vector<std::string> refused;  // "NAME: WHY": resources that cannot be sent; their former version stays
    };
    Changes update(Outputs outputs);
    // To publish: copies cost a few reference counts.
    [[nodiscard]] const xds::Snapshot& snapshot() const { return sets_; }
    [[nodiscard]] std::vector<std::string> types() const;  // in the order of a push

  private:
    const bool with_workload_type_;
    xds::Snapshot sets_;
};

// The messages again, for people who look. What does not parse is left out.
[[nodiscard]] Outputs outputs_of(const xds::Snapshot& snapshot);
// What an on-demand client of a node is subscribed to without asking: the workloads of its node (contract 5.3).
[[nodiscard]] std::vector<std::string> implied_names(const xds::NodeInfo& node, std::string_view type_url);
// 16 hex digits of the SHA-256 of the bytes.
[[nodiscard]] std::string content_version(std::string_view bytes);

}  // namespace warren::cluster
