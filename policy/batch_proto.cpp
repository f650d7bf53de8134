// SPDX-License-Identifier: Apache-2.0
#include "policy/batch_proto.h"

#include <utility>
#include <variant>

namespace warren::policy {
namespace {

PolicyRefusal unreadable(const RefusedResource& resource, TextPool& pool) {
    PolicyRefusal refusal;
    refusal.key = pool.intern(resource.name);
    refusal.ns = pool.intern(std::string_view(resource.name).substr(0, resource.name.find('/')));
    refusal.reason = resource.reason;
    return refusal;
}

}  // namespace

void read_addresses(ResourceReader& reader, std::span<const ResourceBytes> resources, Batch& batch, std::vector<RefusedResource>& refused) {
    for (const ResourceBytes& resource : resources) {
        auto read = reader.address(resource.body);
        if (!read)
            refused.push_back({std::string(resource.name), read.error().message()});
        else if (auto* workload = std::get_if<WorkloadRef>(&*read))
            batch.workloads.push_back(std::move(*workload));
        else
            batch.services.push_back(std::move(std::get<ServiceRef>(*read)));
    }
}

void read_policies(ResourceReader& reader, TextPool& pool, std::span<const ResourceBytes> resources, Batch& batch,
                   std::vector<RefusedResource>& refused) {
    for (const RefusedResource& one : refused) {
        if (!one.name.empty()) batch.policies.emplace_back(unreadable(one, pool));
    }
    for (const ResourceBytes& resource : resources) {
        auto read = reader.policy(resource.name, resource.body);
        if (const auto* refusal = std::get_if<PolicyRefusal>(&read)) refused.push_back({std::string(resource.name), refusal->reason});
        std::visit([&](auto& one) { batch.policies.emplace_back(std::move(one)); }, read);
    }
}

}  // namespace warren::policy
