// SPDX-License-Identifier: Apache-2.0
#include "agent/node/ranges.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace warren::node {

namespace {

base::Cidr host(base::IpAddr ip) {
    const auto made = base::Cidr::make(ip, ip.bits());
    return made ? *made : base::Cidr();
}

std::vector<base::Cidr> addresses_of(const MeshView& view) {
    std::vector<base::Cidr> out;
    for (const Member& m : view.members())
        for (const auto& ip : {m.pod.v4, m.pod.v6})
            if (ip) out.push_back(host(*ip));
    return out;
}

std::vector<policy::Text> networks_of(const MeshView& view) {
    std::vector<policy::Text> out{view.settings().network};
    for (const Member& m : view.members())
        if (m.record && std::find(out.begin(), out.end(), m.record->network) == out.end()) out.push_back(m.record->network);
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace

Ranges::Ranges(std::vector<base::Cidr> configured, size_t most_prefixes)
    : configured_(std::move(configured)), most_prefixes_(most_prefixes), followed_(std::make_shared<const policy::Snapshot>()) {
    std::sort(configured_.begin(), configured_.end());
    configured_.erase(std::unique(configured_.begin(), configured_.end()), configured_.end());
}

bool Ranges::ours(const policy::Text& network) const { return std::find(networks_.begin(), networks_.end(), network) != networks_.end(); }

bool Ranges::configured(const base::Cidr& prefix) const {
    return std::any_of(configured_.begin(), configured_.end(), [&](const base::Cidr& c) {
        return c.is_v4() == prefix.is_v4() && c.length() <= prefix.length() && c.contains(prefix.first());
    });
}

void Ranges::count(base::Cidr prefix, bool more) {
    if (configured(prefix)) return;
    if (more) {
        dirty_ = ++counts_[prefix] == 1 || dirty_;
        return;
    }
    const auto found = counts_.find(prefix);
    if (found == counts_.end() || --found->second > 0) return;
    counts_.erase(found);
    dirty_ = true;
}

// A host network workload has its node's address, which the tunnel does not look up (contract 5.1).
void Ranges::count(const policy::Workload& workload, bool more) {
    if (workload.network_mode == policy::NetworkMode::HostNetwork || !ours(workload.network)) return;
    for (const base::IpAddr ip : workload.addresses) count(host(ip), more);
}

void Ranges::count(const policy::Service& service, bool more) {
    for (const policy::NetworkAddress& vip : service.vips)
        if (ours(vip.network)) count(host(vip.ip), more);
    for (const policy::NetworkCidr& c : service.cidr_vips)
        if (ours(c.network)) count(c.cidr, more);
}

void Ranges::follow(const MeshView& view) {
    if (auto networks = networks_of(view); networks != networks_) {
        networks_ = std::move(networks);
        counts_.clear();
        dirty_ = true;
        pods_.clear();
        followed_ = std::make_shared<const policy::Snapshot>();
    }
    const auto now = view.shared_snapshot();
    now->each_changed_workload(*followed_, [&](const policy::Workload* before, const policy::Workload* after) {
        if (after != nullptr) count(*after, true);
        if (before != nullptr) count(*before, false);
    });
    now->each_changed_service(*followed_, [&](const policy::ServiceEntry* before, const policy::ServiceEntry* after) {
        if (before != nullptr && after != nullptr && before->service == after->service) return;
        if (after != nullptr) count(*after->service, true);
        if (before != nullptr) count(*before->service, false);
    });
    followed_ = now;
    std::vector<base::Cidr> pods = addresses_of(view);
    for (const base::Cidr& p : pods) count(p, true);
    for (const base::Cidr& p : pods_) count(p, false);
    pods_ = std::move(pods);
}

RangesChange Ranges::update(const MeshView& view) {
    if (configured_.empty()) return {};
    follow(view);
    if (!std::exchange(dirty_, false)) return {};
    usable_ = wanted() <= most_prefixes_;
    std::vector<base::Cidr> next;
    if (usable_) {
        next = configured_;
        for (const auto& [prefix, users] : counts_) next.push_back(prefix);
        std::sort(next.begin(), next.end());
    }
    RangesChange out;
    std::set_difference(next.begin(), next.end(), written_.begin(), written_.end(), std::back_inserter(out.added));
    std::set_difference(written_.begin(), written_.end(), next.begin(), next.end(), std::back_inserter(out.removed));
    written_ = std::move(next);
    return out;
}

}  // namespace warren::node
