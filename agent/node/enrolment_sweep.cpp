// SPDX-License-Identifier: Apache-2.0
// Enrolment's view of what lies in the kernel: taken up after a restart, cleared of what nobody answers for; and its reports.
#include "agent/node/enrolment.h"
#include "agent/node/enrolment_member.h"
#include "base/log.h"

#include <algorithm>
#include <utility>

namespace warren::node {

namespace {

const base::log::Area kArea("enrolment");

}  // namespace

base::Result<void> Enrolment::load_pinned() {
    for (const auto& [cookie, row] : TRY(parts_.maps.pods.rows())) {
        const auto owner = TRY(parts_.store.owners().lookup(cookie));
        // A row whose owner is not known is nobody's; it goes with the sweep unless its pod takes it, under a new id.
        pinned_.emplace(cookie, owner && owner->id == row.id ? *owner : PodOwner{});
    }
    return {};
}

// A pod that the source still has, and that could not be looked at: what it left in the kernel keeps it captured.
bool Enrolment::awaited(uint64_t cookie) const {
    const auto pinned = pinned_.find(cookie);
    if (pinned == pinned_.end()) return false;
    return std::any_of(members_.begin(), members_.end(), [&](const auto& m) {
        const bool failing = m.second->state == Member::State::Failing;
        return failing && m.second->enrolled() && digest_of(*m.second->pod) == pinned->second.digest;
    });
}

void Enrolment::settle() {
    if (!synced_ || (settled_ && pinned_.empty())) return;
    const bool busy = std::any_of(members_.begin(), members_.end(), [](const auto& m) {
        return m.second->state == Member::State::Looking || m.second->state == Member::State::Waiting;
    });
    if (busy) return;
    if (const auto swept = sweep(); !swept) {
        WARREN_LOG(kArea, base::log::Level::Error, "leftovers of an earlier agent stay", {"error", swept.error().message()});
        return;
    }
    if (!std::exchange(settled_, true)) parts_.listener.settled();
}

base::Result<void> Enrolment::sweep() {
    const auto stays = [this](uint64_t cookie) { return by_netns_.contains(cookie) || awaited(cookie); };
    for (const auto& [cookie, row] : TRY(parts_.maps.pods.rows())) {
        if (stays(cookie)) continue;
        TRY(parts_.maps.pods.erase(cookie));
        ++counts_.swept;
    }
    for (const uint64_t cookie : parts_.attachments.pods())
        if (!stays(cookie)) parts_.attachments.detach_pod(cookie);
    counts_.swept += TRY(book_.sweep([this](uint64_t cookie) { return awaited(cookie); }));
    for (const auto& [cookie, owner] : TRY(parts_.store.owners().rows()))
        if (!stays(cookie)) TRY(parts_.store.owners().erase(cookie));
    std::erase_if(pinned_, [this](const auto& row) { return !awaited(row.first); });
    return {};
}

// An address that somebody gave up may be another pod's too.
void Enrolment::reclaim_addresses() {
    for (const auto& entry : members_) {
        Member* member = entry.second.get();
        if (member->state != Member::State::Captured || !member->enrolled()) continue;
        const auto lacks = [this, &has = member->addresses](base::IpAddr a) {
            return std::find(has.begin(), has.end(), a) == has.end() && book_.is_free(a);
        };
        const auto& declared = member->pod->addresses;
        const auto& found = member->netns->addresses();
        if (!std::any_of(declared.begin(), declared.end(), lacks) && !std::any_of(found.begin(), found.end(), lacks)) continue;
        if (const auto written = write_rows(*member)) parts_.listener.captured(enrolled(*member));
    }
}

std::vector<EnrolledPod> Enrolment::pods() const {
    std::vector<EnrolledPod> out;
    for (const auto& [uid, member] : members_)
        if (member->state == Member::State::Captured) out.push_back(enrolled(*member));
    return out;
}

EnrolmentCounts Enrolment::counts() const {
    EnrolmentCounts counts = counts_;
    counts.addresses_refused = book_.refused();
    for (const auto& [uid, member] : members_) {
        switch (member->state) {
            case Member::State::Looking:
            case Member::State::Waiting: ++counts.waiting; break;
            case Member::State::Captured: ++(member->enrolled() ? counts.enrolled : counts.observed); break;
            case Member::State::Failing: ++counts.failing; break;
            case Member::State::Refused: break;
        }
    }
    return counts;
}

std::vector<PodStatus> Enrolment::status() const {
    std::vector<PodStatus> out;
    for (const auto& [uid, member] : members_) {
        PodStatus status{
            .uid = uid, .name = member->pod->name, .namespace_name = member->pod->namespace_name, .state = {}, .why = member->why};
        switch (member->state) {
            case Member::State::Looking:
            case Member::State::Waiting: status.state = "waiting for the tunnel"; break;
            case Member::State::Captured: status.state = member->enrolled() ? "captured" : "observed"; break;
            case Member::State::Failing: status.state = "failing"; break;
            case Member::State::Refused: status.state = "refused"; break;
        }
        out.push_back(std::move(status));
    }
    std::sort(out.begin(), out.end(), [](const PodStatus& a, const PodStatus& b) { return a.uid < b.uid; });
    return out;
}

}  // namespace warren::node
