// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/type_state.h"

#include "proto/xds.pb.h"

#include <algorithm>
#include <unordered_set>

namespace warren::xds {

TypeState::Held::Held(std::string_view name, std::string_view version)
    : memory_(std::make_unique_for_overwrite<char[]>(sizeof(Sizes) + name.size() + version.size())) {
    const Sizes sizes{static_cast<uint32_t>(name.size()), static_cast<uint32_t>(version.size())};  // a response is at most 2 GiB
    std::memcpy(memory_.get(), &sizes, sizeof sizes);
    name.copy(memory_.get() + sizeof sizes, name.size());
    version.copy(memory_.get() + sizeof sizes + name.size(), version.size());
}

void TypeState::begin(envoy::service::discovery::v3::DeltaDiscoveryRequest& request, bool omit_versions) {
    answered_ = false;
    omitted_ = omit_versions && !on_demand_;
    request.set_type_url(type_url_);
    if (on_demand_) {
        // Together: subscribed to nothing (contract 3.1).
        request.add_resource_names_subscribe("*");
        request.add_resource_names_unsubscribe("*");
    }
    if (omitted_) return;
    auto& listed = *request.mutable_initial_resource_versions();
    for (const Held& held : versions_) listed[std::string(held.name())] = std::string(held.version());
}

void TypeState::hold(std::string_view name, std::string_view version) {
    if (const auto at = versions_.find(name); at != versions_.end()) {
        if (at->version() == version) return;
        versions_.erase(at);
    }
    versions_.emplace(name, version);
}

std::vector<std::string> TypeState::vanished(const Response& response) const {
    std::vector<std::string> gone;
    if (answered_ || on_demand_ || (rejected_.empty() && !omitted_)) return gone;
    std::unordered_set<std::string_view> there;
    for (const Resource& resource : response.resources) there.insert(resource.name);
    for (const Rejection& refused : response.refused) there.insert(refused.name);
    for (const std::string& name : rejected_)
        if (!there.contains(name)) gone.push_back(name);
    const auto unlisted = static_cast<std::ptrdiff_t>(gone.size());
    if (omitted_)
        for (const Held& held : versions_)
            if (!there.contains(held.name())) gone.emplace_back(held.name());
    std::sort(gone.begin() + unlisted, gone.end());
    return gone;
}

void TypeState::commit(const Update& update, const std::vector<Rejection>& rejections) {
    answered_ = true;
    std::unordered_set<std::string_view> refused;
    for (const Rejection& rejection : rejections) refused.insert(rejection.name);
    for (const Rejection& rejection : update.refused) refused.insert(rejection.name);
    versions_.reserve(versions_.size() + (versions_.empty() ? update.resources.size() : 0));
    for (const Resource& resource : update.resources) {
        if (refused.contains(resource.name)) continue;
        hold(resource.name, resource.version);
        if (rejected_.empty()) continue;
        if (const auto at = rejected_.find(resource.name); at != rejected_.end()) rejected_.erase(at);
    }
    if (!on_demand_)
        for (const std::string_view name : refused)
            if (!name.empty() && !versions_.contains(name)) rejected_.emplace(name);
    for (const std::string_view name : update.removed) {
        forget(name);
        if (const auto at = rejected_.find(name); at != rejected_.end()) rejected_.erase(at);
    }
}

}  // namespace warren::xds
