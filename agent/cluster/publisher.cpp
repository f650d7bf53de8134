// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/publisher.h"

#include "base/log.h"
#include "policy/identity.h"

#include <malloc.h>

namespace warren::cluster {

namespace {

using base::log::Level;

const base::log::Area kLog("publish");

// Objects of a large mesh are converted on the heap and gone again; the allocator keeps what it got unless it is told.
constexpr size_t kLargeMesh = 10'000;

}  // namespace

void Publisher::publish(const NodeRuns::Difference& runs) {
    const auto each = [&](const std::vector<NodeRuns::Run>& list, auto&& fn) {
        for (const auto& [node, uri] : list)
            if (const auto identity = policy::Identity::parse(uri)) fn(node, *identity);
    };
    each(runs.gained, [&](const std::string& node, const policy::Identity& who) { parts_.workloads->add(node, who); });
    if (auto done = parts_.server->publish(resources_.snapshot()); !done)
        WARREN_LOG(kLog, Level::Error, "cannot publish", {"error", done.error().message()});
    each(runs.lost, [&](const std::string& node, const policy::Identity& who) { parts_.workloads->remove(node, who); });
}

void Publisher::changed(const Objects& objects, const std::vector<Change>& changes) {
    const base::MonoTime begin = parts_.clock->now();
    Diagnostics problems;
    Status next = status();
    const uint64_t from_nothing = conversion_.from_nothing();
    conversion_.update(objects, changes, resources_);
    conversion_.report(problems);
    auto statuses = conversion_.take_status_changes();
    if (parts_.statuses) parts_.statuses(std::move(statuses));
    for (const auto& [name, why] : resources_.refused()) problems.error(std::string(name).append(": ").append(why));
    const MeshResources::Changes made = resources_.take_changes();
    next.resources_set += made.set;
    next.resources_removed += made.removed;
    next.workloads = resources_.workloads();
    next.services = resources_.services();
    next.policies = resources_.authorizations();
    publish(runs_.update(objects, changes));
    ++next.publications;
    next.took = parts_.clock->now() - begin;
    next.published_at = parts_.clock->wall();
    next.errors = problems.errors();
    next.warnings = problems.warnings();
    next.error_count = problems.error_count();
    next.warning_count = problems.warning_count();
    next.bytes = 0;
    for (const auto& [type, set] : resources_.snapshot()) next.bytes += set.bytes();
    if (next.workloads >= kLargeMesh && conversion_.from_nothing() != from_nothing) ::malloc_trim(0);
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
