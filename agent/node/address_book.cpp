// SPDX-License-Identifier: Apache-2.0
#include "agent/node/address_book.h"

#include "agent/node/map_rows.h"

#include <algorithm>

namespace warren::node {

base::Result<void> AddressBook::give(base::IpAddr address, const Owner& owner) {
    TRY(map_.update(to_row(address), owner.local));
    owners_.insert_or_assign(address, owner);
    return {};
}

base::Result<std::vector<base::IpAddr>> AddressBook::claim(const Claim& claim) {
    const uint64_t netns = claim.local.netns;
    std::vector<base::IpAddr> has;
    const auto has_already = [&has](base::IpAddr a) { return std::find(has.begin(), has.end(), a) != has.end(); };
    const auto give_all = [&](std::span<const base::IpAddr> addresses, bool declared) -> base::Result<void> {
        for (const base::IpAddr address : addresses) {
            if (has_already(address)) continue;
            const auto owner = owners_.find(address);
            if (owner != owners_.end() && owner->second.local.netns != netns) {
                if (!declared) {
                    ++refused_;
                    continue;
                }
                std::erase(of_pod_[owner->second.local.netns], address);
            }
            TRY(give(address, {.local = claim.local, .declared = declared}));
            has.push_back(address);
            // At once: what an error leaves half done is still known to be this pod's.
            if (auto& mine = of_pod_[netns]; std::find(mine.begin(), mine.end(), address) == mine.end()) mine.push_back(address);
        }
        return {};
    };
    TRY(give_all(claim.declared, true));
    TRY(give_all(claim.found, false));
    for (const base::IpAddr old : of_pod_[netns]) {
        if (has_already(old)) continue;
        TRY(map_.erase(to_row(old)));
        owners_.erase(old);
    }
    of_pod_[netns] = has;
    return has;
}

base::Result<void> AddressBook::release(uint64_t netns) {
    const auto pod = of_pod_.find(netns);
    if (pod == of_pod_.end()) return {};
    for (const base::IpAddr address : pod->second) {
        TRY(map_.erase(to_row(address)));
        owners_.erase(address);
    }
    of_pod_.erase(pod);
    return {};
}

}  // namespace warren::node
