// SPDX-License-Identifier: Apache-2.0
#include "agent/node/mesh_file_resources.h"

#include "agent/xds/client.h"
#include "policy/mesh_proto.h"
#include "policy/mesh_yaml.h"
#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"

#include <utility>
#include <variant>

namespace warren::node {

base::Result<MeshFileResources::Change> MeshFileResources::change(std::string_view text, std::string_view name) {
    policy::TextPool pool;
    const policy::Batch batch = TRY(policy::mesh_from_yaml(text, name, pool));
    Bytes addresses, policies;
    for (const policy::WorkloadRef& workload : batch.workloads) {
        istio::workload::Address message;
        policy::to_proto(*workload, *message.mutable_workload());
        addresses[workload->uid.str()] = message.SerializeAsString();
    }
    for (const policy::ServiceRef& service : batch.services) {
        istio::workload::Address message;
        policy::to_proto(*service, *message.mutable_service());
        addresses[service->key.str()] = message.SerializeAsString();
    }
    for (const auto& one : batch.policies) {
        const auto* spec = std::get_if<policy::PolicySpec>(&one);
        if (spec == nullptr) continue;  // a file with a policy that does not read was refused whole
        istio::security::Authorization message;
        policy::to_proto(*spec, message);
        policies[spec->key.str()] = message.SerializeAsString();
    }
    Change made;
    made.addresses_ = diff(addresses_, std::move(addresses));
    made.policies_ = diff(policies_, std::move(policies));
    return made;
}

MeshFileResources::Change::Part MeshFileResources::diff(Bytes& known, Bytes now) {
    Change::Part part;
    for (const auto& [name, bytes] : now) {
        const auto before = known.find(name);
        if (before == known.end() || before->second != bytes) part.changed.emplace_back(name, bytes);
    }
    for (const auto& [name, bytes] : known) {
        if (!now.contains(name)) part.removed.push_back(name);
    }
    known = std::move(now);
    return part;
}

xds::Update MeshFileResources::Change::update(std::string_view type_url, const Part& part) {
    xds::Update update;
    update.type_url = type_url;
    for (const auto& [name, bytes] : part.changed) {
        update.resources.push_back({name, {}, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}});
    }
    update.removed.assign(part.removed.begin(), part.removed.end());
    return update;
}

xds::Update MeshFileResources::Change::addresses() const { return update(xds::kAddressType, addresses_); }
xds::Update MeshFileResources::Change::policies() const { return update(xds::kAuthorizationType, policies_); }

}  // namespace warren::node
