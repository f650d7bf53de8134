// SPDX-License-Identifier: Apache-2.0
#include "agent/node/resource_names.h"

#include "base/ip.h"
#include "proto/workload.pb.h"

#include <cstdint>
#include <string>

namespace warren::node {
namespace {

void add_address(xds::OtherNames& to, const std::string& network, const std::string& bytes) {
    const auto ip = base::IpAddr::from_bytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    if (ip) to.aliases.push_back(network + "/" + ip->to_string());
}

}  // namespace

xds::OtherNames other_names(std::string_view type_url, const xds::Resource& resource) {
    xds::OtherNames names;
    istio::workload::Address address;
    if (type_url != xds::kAddressType || !address.ParseFromArray(resource.body.data(), static_cast<int>(resource.body.size()))) {
        return names;
    }
    if (address.has_workload()) {
        const auto& workload = address.workload();
        for (const std::string& ip : workload.addresses()) add_address(names, workload.network(), ip);
        if (!workload.hostname().empty()) names.aliases.push_back(workload.namespace_() + "/" + workload.hostname());
    } else if (address.has_service()) {
        for (const auto& vip : address.service().addresses()) add_address(names, vip.network(), vip.address());
        names.groups.emplace_back(kServicesGroup);
    }
    return names;
}

}  // namespace warren::node
