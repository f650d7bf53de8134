// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/relay.h"

#include "base/log.h"

#include <algorithm>
#include <set>
#include <utility>

namespace warren::xds {

namespace {

const base::log::Area kLog("xds");

}  // namespace

Relay::Relay(RelayOptions options, Server& server, Handler* next)
    : options_(std::move(options)), server_(server), next_(next), outstanding_(options_.types) {
    for (const std::string& type : options_.types) sets_.try_emplace(type);
}

std::vector<Rejection> Relay::apply(const Update& update) {
    std::vector<Rejection> rejections;
    if (next_ != nullptr) rejections = next_->apply(update);
    const auto set = sets_.find(update.type_url);
    if (set == sets_.end()) return rejections;
    keep(set->second, update, rejections);
    uint64_t resources = 0, bytes = 0;
    for (const auto& [type, held] : sets_) {
        resources += held.size();
        bytes += held.bytes();
    }
    resources_ = resources;
    bytes_ = bytes;
    if (outstanding_.empty()) publish();
    return rejections;
}

void Relay::keep(ResourceSet& set, const Update& update, std::vector<Rejection>& rejections) {
    std::set<std::string, std::less<>> rejected;
    for (const Rejection& rejection : rejections) rejected.insert(rejection.name);
    for (const Resource& resource : update.resources) {
        if (rejected.contains(resource.name)) continue;
        OtherNames names;
        if (options_.names) names = options_.names(update.type_url, resource);
        const auto kept = set.set({resource.name, resource.version, resource.body, std::move(names.aliases), std::move(names.groups)});
        if (!kept) rejections.push_back({std::string(resource.name), kept.error().message()});
    }
    for (const auto name : update.removed) set.erase(name);
}

void Relay::publish() {
    if (const auto published = server_.publish(sets_); !published) {
        WARREN_LOG(kLog, base::log::Level::Error, "cannot publish to the node's tunnel", {"reason", published.error().message()});
        return;
    }
    publishing_ = true;
}

void Relay::synced(std::string_view type_url) {
    if (next_ != nullptr) next_->synced(type_url);
    if (std::erase(outstanding_, type_url) > 0 && outstanding_.empty()) publish();
}

void Relay::connected() {
    if (next_ != nullptr) next_->connected();
}

void Relay::disconnected(Termination reason, std::string_view detail) {
    if (next_ != nullptr) next_->disconnected(reason, detail);
}

}  // namespace warren::xds
