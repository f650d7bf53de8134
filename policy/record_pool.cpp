// SPDX-License-Identifier: Apache-2.0
#include "policy/record_pool.h"

#include "policy/index_key.h"

#include <algorithm>
#include <utility>

namespace warren::policy {

size_t RecordPool::Hash::operator()(const List& list) const noexcept {
    uint64_t hash = list.size();
    for (const WorkloadService& service : list) {
        hash = hash_pair(hash, service.service.hash());
        for (const PortPair port : service.ports) hash = hash_pair(hash, uint64_t{port.service_port} << 16 | port.target_port);
    }
    return hash;
}

Array<WorkloadService> RecordPool::share(List services) {
    if (services.empty()) return services;
    if (lists_.size() >= sweep_at_) {
        // Only this thread gives references to what nobody else holds, so "unique" cannot change under us.
        std::erase_if(lists_, [](const List& list) { return list.unique(); });
        sweep_at_ = std::max<size_t>(64, lists_.size() * 2);
    }
    return *lists_.insert(std::move(services)).first;
}

}  // namespace warren::policy
