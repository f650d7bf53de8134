// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/policy_diff.h"

#include <algorithm>
#include <tuple>

namespace warren::tools {
namespace {

bool policy_decided(const FlowJudgement& d) {
    if (d.verdict != "allowed" && d.verdict != "denied") return false;
    using policy::Reason;
    for (const Reason r : {Reason::AllowedNoAllowPolicy, Reason::AllowedByPolicy, Reason::DeniedByPolicy, Reason::DeniedNoAllowMatched,
                           Reason::DeniedPolicyMissing, Reason::DeniedPolicyRefused})
        if (d.reason == policy::to_string(r)) return true;
    return d.reason.empty();
}

const policy::Workload* destination_of(const policy::Snapshot& mesh, const FlowRecord& f) {
    if (!f.destination.uid.empty()) return mesh.workload(f.destination.uid);
    const auto& address = f.destination_address ? f.destination_address : f.requested_address;
    return address ? mesh.workload(policy::NetworkAddress{{}, address->ip}) : nullptr;
}

bool proven(const FlowEnd& end) { return !end.identity.empty() && (end.proof == "kernel" || end.proof == "certificate"); }

}  // namespace

void FlowDiffer::add(const FlowRecord& f) {
    if (!policy_decided(f.decision)) {
        ++diff_.not_judged;
        return;
    }
    const policy::Workload* to = destination_of(mesh_, f);
    const auto& address = f.destination_address ? f.destination_address : f.requested_address;
    if (to == nullptr || !address) {
        ++diff_.unknown_workload;
        return;
    }
    policy::Connection connection;
    connection.dst = *address;
    if (f.source_address) connection.src = *f.source_address;
    const auto identity = policy::Identity::parse(f.source.identity);
    if (proven(f.source) && identity) connection.src_identity = &*identity;
    const policy::Decision now = mesh_.policies_for(*to)->decide(connection);
    ++diff_.judged;
    const std::string would = now.allowed ? "allowed" : "denied";
    if (would == f.decision.verdict) {
        ++diff_.unchanged;
        return;
    }
    const std::string policy = now.policy != nullptr ? now.policy->key().str() : "";
    FlowChange& c = changes_[{f.from_shown(), f.to_shown(), would, policy, f.decision.policy}];
    if (c.flows++ == 0)
        c = {f.from_shown(),
             f.to_shown(),
             f.decision.verdict,
             would,
             f.decision.policy,
             policy,
             std::string(policy::to_string(now.reason)),
             1,
             {}};
    c.latest = std::max(c.latest, f.end.value_or(f.start));
}

FlowDiff FlowDiffer::result() const {
    FlowDiff out = diff_;
    for (const auto& [key, change] : changes_) out.changes.push_back(change);
    std::sort(out.changes.begin(), out.changes.end(), [](const FlowChange& a, const FlowChange& b) {
        return std::tie(b.flows, a.from, a.to, a.would, a.policy, a.was_policy) <
               std::tie(a.flows, b.from, b.to, b.would, b.policy, b.was_policy);
    });
    return out;
}

}  // namespace warren::tools
