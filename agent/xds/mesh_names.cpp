// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/mesh_names.h"

#include "base/bytes.h"
#include "base/ip.h"
#include "proto/workload.pb.h"

namespace warren::xds {
namespace {

std::string node_group(std::string_view node) { return "node:" + std::string(node); }

// Nothing for what is no address.
std::string alias(const istio::workload::NetworkAddress& address) {
    const auto ip = base::IpAddr::from_bytes(base::as_bytes(address.address()));
    if (!ip) return {};
    std::string out = address.network() + "/" + ip->to_string();
    if (address.has_length() && address.length() < ip->bits()) out += "/" + std::to_string(address.length());
    return out;
}

}  // namespace

OtherNames other_names(const istio::workload::Workload& workload) {
    OtherNames out;
    for (const std::string& bytes : workload.addresses())
        if (const auto ip = base::IpAddr::from_bytes(base::as_bytes(bytes)))
            out.aliases.push_back(workload.network() + "/" + ip->to_string());
    if (!workload.hostname().empty()) out.aliases.push_back(workload.namespace_() + "/" + workload.hostname());
    for (const auto& [service, ports] : workload.services()) out.groups.push_back(service);
    if (!workload.node().empty()) out.groups.push_back(node_group(workload.node()));
    return out;
}

OtherNames other_names(const istio::workload::Service& service) {
    OtherNames out;
    for (const auto& address : service.addresses())
        if (std::string name = alias(address); !name.empty()) out.aliases.push_back(std::move(name));
    out.groups.emplace_back(kServicesGroup);
    return out;
}

OtherNames other_names(std::string_view type_url, const Resource& resource, std::string_view node) {
    istio::workload::Address address;
    if (type_url != kAddressType || !address.ParseFromArray(resource.body.data(), static_cast<int>(resource.body.size()))) return {};
    if (address.has_workload()) {
        OtherNames out = other_names(address.workload());
        if (!node.empty() && address.workload().node() != node) std::erase(out.groups, node_group(address.workload().node()));
        return out;
    }
    if (address.has_service()) return other_names(address.service());
    return {};
}

std::vector<std::string> implied_names(const NodeInfo& node, std::string_view type_url) {
    const auto name = node.metadata.find("NODE_NAME");
    if (type_url == kAuthorizationType || name == node.metadata.end() || name->second.empty()) return {};
    return {node_group(name->second)};
}

}  // namespace warren::xds
