// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/publisher.h"

#include "base/log.h"
#include "policy/identity.h"

#include <malloc.h>

#include <algorithm>
#include <iterator>

namespace warren::cluster {

namespace {

using base::log::Level;

const base::log::Area kLog("publish");

// Objects of a large mesh are converted on the heap and gone again; the allocator keeps what it got unless it is told.
constexpr size_t kLargeMesh = 10'000;

template <class T>
std::vector<T> difference(const std::set<T>& a, const std::set<T>& b) {
    std::vector<T> out;
    std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
    return out;
}

}  // namespace

// A pod counts from when it is scheduled, before it has an address: its certificate is asked for while it starts (contract 4.3, check 5).
Publisher::Runs Publisher::runs_of(const Objects& objects) const {
    Runs out;
    for (const Pod& pod : objects.pods)
        if (!pod.node.empty() && pod.phase != "Failed")
            out.emplace(pod.node, policy::Identity(settings_.trust_domain, pod.meta.ns, pod.service_account).uri());
    return out;
}

void Publisher::publish(const Runs& next) {
    const auto each = [&](const std::vector<std::pair<std::string, std::string>>& list, auto&& fn) {
        for (const auto& [node, uri] : list)
            if (const auto identity = policy::Identity::parse(uri)) fn(node, *identity);
    };
    each(difference(next, runs_), [&](const std::string& node, const policy::Identity& who) { parts_.workloads->add(node, who); });
    if (auto done = parts_.server->publish(resources_.snapshot()); !done)
        WARREN_LOG(kLog, Level::Error, "cannot publish", {"error", done.error().message()});
    each(difference(runs_, next), [&](const std::string& node, const policy::Identity& who) { parts_.workloads->remove(node, who); });
}

void Publisher::changed(const Objects& objects, const std::vector<Change>&) {
    const base::MonoTime begin = parts_.clock->now();
    Diagnostics problems;
    Status next = status();
    {
        Outputs outputs = convert(objects, settings_, problems);
        next.workloads = outputs.workloads.size();
        next.services = outputs.services.size();
        next.policies = outputs.authorizations.size();
        const MeshResources::Changes changes = resources_.update(std::move(outputs));
        next.resources_set += changes.set;
        next.resources_removed += changes.removed;
        for (const std::string& refused : changes.refused) problems.error(refused);
    }
    Runs runs = runs_of(objects);
    publish(runs);
    runs_ = std::move(runs);
    ++next.publications;
    next.took = parts_.clock->now() - begin;
    next.published_at = parts_.clock->wall();
    next.errors = problems.errors();
    next.warnings = problems.warnings();
    next.error_count = problems.error_count();
    next.warning_count = problems.warning_count();
    next.bytes = 0;
    for (const auto& [type, set] : resources_.snapshot()) next.bytes += set.bytes();
    if (next.workloads >= kLargeMesh) ::malloc_trim(0);
    WARREN_LOG(kLog, Level::Info, "mesh published", {"workloads", next.workloads}, {"services", next.services}, {"policies", next.policies},
               {"problems", next.error_count}, {"took_ms", std::chrono::duration_cast<std::chrono::milliseconds>(next.took).count()});
    const std::lock_guard lock(mutex_);
    status_ = std::move(next);
    published_ = resources_.snapshot();
}

Publisher::Status Publisher::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

xds::Snapshot Publisher::snapshot() const {
    const std::lock_guard lock(mutex_);
    return published_;
}

}  // namespace warren::cluster
