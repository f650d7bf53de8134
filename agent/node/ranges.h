// SPDX-License-Identifier: Apache-2.0
// Ranges: what may need the tunnel (wr_ranges). The configured ranges of pods and services, and every address of the mesh outside them:
// static entries, remote workloads, this node's own pods. Whatever is in none of them is a stranger to the mesh and passes at native
// speed; inside them an address that nobody has heard of yet goes to the tunnel. Without configured ranges, or with more addresses than
// the map holds, no set of prefixes is safe and everything goes to the tunnel (usable() is false, WR_CONFIG_RANGES off).
//
// An update costs what changed in the mesh, not its size. Owned by one thread; keeps the snapshot it has followed alive.
#pragma once

#include "agent/node/mesh_view.h"

#include <cstddef>
#include <map>
#include <vector>

namespace warren::node {

struct RangesChange {
    std::vector<base::Cidr> added;  // to be written first
    std::vector<base::Cidr> removed;
};

class Ranges {
  public:
    explicit Ranges(std::vector<base::Cidr> configured, size_t most_prefixes = 65'536);

    // To what the view shows. While the ranges are not usable nothing is in the map.
    RangesChange update(const MeshView& view);

    [[nodiscard]] bool usable() const { return usable_; }
    [[nodiscard]] const std::vector<base::Cidr>& prefixes() const { return written_; }  // sorted
    [[nodiscard]] size_t wanted() const { return configured_.size() + counts_.size(); }

  private:
    void follow(const MeshView& view);
    void count(base::Cidr prefix, bool more);
    void count(const policy::Workload& workload, bool more);
    void count(const policy::Service& service, bool more);
    [[nodiscard]] bool ours(const policy::Text& network) const;
    [[nodiscard]] bool configured(const base::Cidr& prefix) const;

    std::vector<base::Cidr> configured_;
    size_t most_prefixes_;
    std::vector<policy::Text> networks_;   // whose addresses count: the node's, and those of its pods' records
    std::map<base::Cidr, size_t> counts_;  // outside the configured ranges: how many have it
    std::vector<base::Cidr> pods_;
    std::shared_ptr<const policy::Snapshot> followed_;
    std::vector<base::Cidr> written_;
    bool usable_ = false;
    bool dirty_ = true;  // prefixes came or went since they were last written
};

}  // namespace warren::node
