// SPDX-License-Identifier: Apache-2.0
// AddressBook: which local pod has an address (wr_addrs), and who may claim it. Declared addresses come from the pod's owner; found ones
// from its namespace, where the pod itself may have added them: a found address never displaces another pod's, a declared one does, and
// between two that declare it the later pod has it (an address given to a new pod before the old one's removal is heard, trap 29).
// Removing a pod removes only the rows that still name it. One thread: the only writer of the map.
#pragma once

#include "agent/node/maps.h"
#include "base/ip.h"
#include "base/result.h"

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace warren::node {

class AddressBook {
  public:
    explicit AddressBook(const TypedMap<wr_addr, wr_local>& map) : map_(map) {}

    struct Claim {
        wr_local local;  // namespace, id, flags
        std::span<const base::IpAddr> declared, found;
    };
    // Exactly these addresses from now on for this namespace; new rows are written before old ones go. Returns what it has, declared
    // ones first. After an error some may be written and release() still removes them.
    base::Result<std::vector<base::IpAddr>> claim(const Claim& claim);
    base::Result<void> release(uint64_t netns);
    // Rows of the map that nobody here has claimed (an earlier agent's, of pods that are gone) and that keep() does not ask for.
    template <class Keep>
    base::Result<size_t> sweep(Keep keep);

    [[nodiscard]] bool is_free(base::IpAddr address) const { return !owners_.contains(address); }
    [[nodiscard]] uint64_t refused() const { return refused_; }  // found addresses that belong to another pod

  private:
    struct Owner {
        wr_local local{};
        bool declared = false;
    };
    base::Result<void> give(base::IpAddr address, const Owner& owner);

    const TypedMap<wr_addr, wr_local>& map_;
    std::unordered_map<base::IpAddr, Owner> owners_;
    std::unordered_map<uint64_t, std::vector<base::IpAddr>> of_pod_;
    uint64_t refused_ = 0;
};

template <class Keep>
base::Result<size_t> AddressBook::sweep(Keep keep) {
    size_t removed = 0;
    for (const auto& [address, local] : TRY(map_.rows())) {
        if (of_pod_.contains(local.netns) || keep(local.netns)) continue;
        if (TRY(map_.erase(address))) ++removed;
    }
    return removed;
}

}  // namespace warren::node
