// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/service_table.h"

#include <algorithm>
#include <utility>

namespace warren::cluster {

void ServiceTable::put(bool from_service, const std::string& object, std::vector<ServiceInfo> infos) {
    const std::string id = (from_service ? 's' : 'e') + object;
    std::vector<Info> next;
    for (ServiceInfo& info : infos) next.push_back(std::make_shared<const ServiceInfo>(std::move(info)));
    const auto held = by_object_.find(id);
    if (held != by_object_.end()) {
        for (const Info& old : held->second) {
            const auto same = std::find_if(next.begin(), next.end(), [&](const Info& info) { return info->same_as(*old); });
            if (same != next.end()) {
                *same = old;
                continue;
            }
            std::erase(by_host_[old->sent.hostname()], old);
            dirty_hosts_.insert(old->sent.hostname());
        }
    }
    for (const Info& info : next) {
        if (held != by_object_.end() && std::find(held->second.begin(), held->second.end(), info) != held->second.end()) continue;
        by_host_[info->sent.hostname()].push_back(info);
        dirty_hosts_.insert(info->sent.hostname());
    }
    if (!next.empty())
        by_object_.insert_or_assign(id, std::move(next));
    else if (held != by_object_.end())
        by_object_.erase(held);
}

void ServiceTable::clear() { *this = ServiceTable(); }

void ServiceTable::replace(Difference& difference) {
    const auto selects = [](const Settled& s) { return s.info && !s.info->selector.empty(); };
    if (selects(difference.before))
        selecting_.remove(difference.before.info->sent.namespace_(), difference.before.info->selector, difference.before.info.get());
    if (selects(difference.after))
        selecting_.add(difference.after.info->sent.namespace_(), difference.after.info->selector, difference.after.info.get());
    if (difference.after.info)
        settled_.insert_or_assign(difference.key, difference.after);
    else
        settled_.erase(difference.key);
}

void ServiceTable::settle_host(const std::string& host, std::vector<Difference>& to) {
    const auto candidates = by_host_.find(host);
    std::vector<std::string> keys;
    std::map<std::string, Settled> next;
    if (candidates != by_host_.end()) {
        std::vector<Info> order = candidates->second;
        std::sort(order.begin(), order.end(), [](const Info& a, const Info& b) { return a->before(*b); });
        bool found_canonical = false;
        for (const Info& info : order) {
            if (next.contains(info->key())) continue;
            const bool visible = info->sent.visibility() == istio::workload::Service::PUBLIC;
            const bool first = visible && !std::exchange(found_canonical, found_canonical || visible);
            next.emplace(info->key(), Settled{info, info->from_service || first});
            keys.push_back(info->key());
        }
        if (order.empty()) by_host_.erase(candidates);
    }
    for (const std::string& key : keys_of_host_[host])
        if (!next.contains(key)) next.emplace(key, Settled{});
    for (auto& [key, after] : next) {
        const auto held = settled_.find(key);
        Difference difference{key, held == settled_.end() ? Settled{} : held->second, after};
        if (difference.before.info == after.info && difference.before.canonical == after.canonical) continue;
        replace(difference);
        to.push_back(std::move(difference));
    }
    if (keys.empty())
        keys_of_host_.erase(host);
    else
        keys_of_host_.insert_or_assign(host, std::move(keys));
}

std::vector<ServiceTable::Difference> ServiceTable::settle() {
    std::vector<Difference> out;
    for (const std::string& host : std::exchange(dirty_hosts_, {})) settle_host(host, out);
    return out;
}

const ServiceInfo* ServiceTable::find(std::string_view key) const {
    const auto found = settled_.find(key);
    return found == settled_.end() ? nullptr : found->second.info.get();
}

}  // namespace warren::cluster
