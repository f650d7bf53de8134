// SPDX-License-Identifier: Apache-2.0
#include "agent/node/enrolment.h"

#include "agent/node/enrolment_member.h"
#include "agent/node/map_rows.h"
#include "base/log.h"

#include <algorithm>
#include <utility>

namespace warren::node {

namespace {

const base::log::Area kArea("enrolment");
// Picks up what a full mailbox of the loop left in the inbox.
constexpr auto kTick = std::chrono::seconds(1);

wr_addr first_of(const std::vector<base::IpAddr>& addresses, bool v4) {
    const auto found = std::find_if(addresses.begin(), addresses.end(), [v4](base::IpAddr a) { return a.is_v4() == v4; });
    return found == addresses.end() ? wr_addr{} : to_row(*found);
}

uint32_t flags_of(const Pod& pod) {
    if (pod.membership == Membership::Observed) return WR_POD_OBSERVED;
    uint32_t flags = WR_POD_OUTBOUND;
    if (pod.ingress_capture) flags |= WR_POD_INBOUND;
    if (pod.dns_capture) flags |= WR_POD_DNS;
    if (pod.direct) flags |= WR_POD_DIRECT;
    return flags;
}

std::string called(const Pod& pod) { return pod.namespace_name + "/" + pod.name; }

}  // namespace

void Enrolment::Inbox::push(const std::shared_ptr<Inbox>& inbox, Event event) {
    const std::lock_guard lock(inbox->mutex);
    if (inbox->closed) return;
    const std::string* uid = nullptr;
    if (const auto* changed = std::get_if<Changed>(&event)) uid = &changed->pod->uid;
    if (const auto* removed = std::get_if<Removed>(&event)) uid = &removed->uid;
    if (uid != nullptr) {
        const auto [at, fresh] = inbox->latest.try_emplace(*uid, inbox->events.size());
        if (fresh)
            inbox->events.push_back(std::move(event));
        else
            inbox->events[at->second] = std::move(event);
    } else {
        inbox->events.push_back(std::move(event));
    }
    if (inbox->posted) return;
    inbox->posted = inbox->loop.post([inbox] {
        if (inbox->owner != nullptr) inbox->owner->drain();
    });
}

std::vector<Enrolment::Event> Enrolment::Inbox::take() {
    const std::lock_guard lock(mutex);
    posted = false;
    latest.clear();
    return std::exchange(events, {});
}

Enrolment::Enrolment(const Parts& parts, EnrolmentSettings settings)
    : parts_(parts),
      settings_(settings),
      book_(parts.maps.addrs),
      inbox_(std::make_shared<Inbox>(parts.loop, *this)),
      tick_(base::Timer::of<&Enrolment::on_tick>(*this)) {}

base::Result<std::unique_ptr<Enrolment>> Enrolment::create(const Parts& parts, EnrolmentSettings settings) {
    std::unique_ptr<Enrolment> made(new Enrolment(parts, settings));
    TRY(made->load_pinned());
    parts.loop.arm(made->tick_, kTick);
    return made;
}

Enrolment::~Enrolment() {
    const std::lock_guard lock(inbox_->mutex);
    inbox_->closed = true;
    inbox_->owner = nullptr;
}

void Enrolment::pod_changed(PodPtr pod) { Inbox::push(inbox_, Changed{std::move(pod)}); }
void Enrolment::pod_removed(std::string uid) { Inbox::push(inbox_, Removed{std::move(uid)}); }
void Enrolment::pods_synced() { Inbox::push(inbox_, Synced{}); }

void Enrolment::on_tick() {
    parts_.loop.arm(tick_, kTick);
    drain();
}

void Enrolment::drain() {
    for (Event& event : inbox_->take()) handle(event);
    settle();
}

void Enrolment::handle(Event& event) {
    if (auto* changed = std::get_if<Changed>(&event))
        change(std::move(changed->pod));
    else if (const auto* removed = std::get_if<Removed>(&event))
        remove(removed->uid);
    else if (const auto* answer = std::get_if<Answer>(&event))
        answered(*answer);
    else
        synced_ = true;
}

void Enrolment::change(PodPtr pod) {
    auto& member = members_[pod->uid];
    if (!member) {
        member = std::make_unique<Member>(*this, std::move(pod));
        return look(*member);
    }
    const PodPtr before = std::exchange(member->pod, std::move(pod));
    const bool same_place = before->netns == member->pod->netns && before->membership == member->pod->membership &&
                            before->host_network == member->pod->host_network;
    if (member->state == Member::State::Captured && same_place && digest_of(*before) == digest_of(*member->pod)) {
        const auto written = write_rows(*member);
        if (!written) return fail(*member, written.error());
        return parts_.listener.captured(enrolled(*member));
    }
    look(*member);
}

void Enrolment::remove(const std::string& uid) {
    const auto found = members_.find(uid);
    if (found == members_.end()) return;
    leave(*found->second);
    members_.erase(found);
    // Their namespace or addresses may have been this pod's.
    for (const auto& [other_uid, other] : members_)
        if (other->state == Member::State::Failing) parts_.loop.arm(other->timer, std::chrono::milliseconds(0));
    reclaim_addresses();
}

// Whatever state the member is in: looks at its namespace and goes on from there.
void Enrolment::look(Member& member) {
    parts_.loop.disarm(member.timer);
    auto netns = members_.size() > settings_.max_pods && member.state == Member::State::Looking
                     ? base::Result<PodNetns>(base::Error{base::Errc::Exhausted, 0, "enrol",
                                                          std::to_string(settings_.max_pods) + " pods are enrolled; raise the limit"})
                     : PodNetns::open(*member.pod, parts_.node);
    if (!netns) {
        // What is captured stays so while its new place cannot be seen; only the node's own namespace ends it.
        if (member.state != Member::State::Captured || netns.error().code == base::Errc::Denied) leave(member);
        return fail(member, netns.error());
    }
    const auto other = by_netns_.find(netns->cookie());
    if (other != by_netns_.end() && other->second != &member) {
        leave(member);
        return fail(member, {base::Errc::Exists, 0, "enrol",
                             "the network namespace of " + called(*member.pod) + " is already that of " + called(*other->second->pod)});
    }
    // A namespace or membership that changed: out and in again. An identity that changed: over the old row.
    const bool moves = member.netns && (member.netns->cookie() != netns->cookie() || member.state != Member::State::Captured ||
                                        member.redirected != member.enrolled());
    if (moves) leave(member);
    if (auto joined = join(member, std::move(*netns)); !joined) {
        if (member.state != Member::State::Captured) leave(member);
        fail(member, joined.error());
    }
}

base::Result<uint32_t> Enrolment::id_for(uint64_t cookie, const Pod& pod, bool& adopted) {
    const PodDigest digest = digest_of(pod);
    if (const auto pinned = pinned_.find(cookie); pinned != pinned_.end()) {
        const PodOwner owner = pinned->second;
        pinned_.erase(pinned);
        adopted = owner.digest == digest && owner.id != 0;
        if (adopted) {
            ++counts_.adopted;
            return owner.id;
        }
    }
    const auto owner = TRY(parts_.store.owners().lookup(cookie));
    if (owner && owner->digest == digest) return owner->id;
    const uint32_t id = TRY(parts_.store.next_id());
    TRY(parts_.store.owners().update(cookie, PodOwner{.digest = digest, .id = id, .pad = 0}));
    return id;
}

base::Result<void> Enrolment::join(Member& member, PodNetns netns) {
    if (member.registered()) parts_.loop.remove(member);
    member.netns = std::move(netns);
    const uint64_t cookie = member.netns->cookie();
    by_netns_[cookie] = &member;
    bool adopted = member.state == Member::State::Captured;
    member.id = TRY(id_for(cookie, *member.pod, adopted));
    TRY(parts_.loop.add(member.netns->watch_fd(), member, EPOLLIN));
    if (!member.enrolled()) {
        capture(member);
        return {};
    }
    // Captured already, by an earlier agent or under its earlier identity: the row first, the tunnel hears of it meanwhile.
    const bool wait = !adopted && parts_.tunnel.connected();
    if (wait) {
        member.state = Member::State::Waiting;
        parts_.loop.arm(member.timer, settings_.tunnel_wait);
    } else {
        capture(member);
    }
    hand_over(member);
    return {};
}

void Enrolment::hand_over(Member& member) {
    member.told = true;
    member.acknowledged = false;
    member.refused = false;
    member.attempt = ++attempts_;
    parts_.tunnel.pod_ready(member.pod, member.netns->netns(),
                            [inbox = inbox_, uid = member.pod->uid, attempt = member.attempt](base::Result<void> result) {
                                Inbox::push(inbox, Answer{.uid = uid, .attempt = attempt, .result = std::move(result)});
                            });
}

void Enrolment::answered(const Answer& answer) {
    const auto found = members_.find(answer.uid);
    if (found == members_.end() || found->second->attempt != answer.attempt) return;
    Member& member = *found->second;
    if (answer.result) {
        member.acknowledged = true;
        member.tell_delay = {};
    } else {
        member.refused = true;
        ++counts_.tunnel_refusals;
        if (member.tell_delay == std::chrono::milliseconds(0))
            WARREN_LOG(kArea, base::log::Level::Warn, "the tunnel refuses a pod: its connections are refused until it takes it",
                       {"pod", called(*member.pod)}, {"error", answer.result.error().message()});
    }
    if (member.state == Member::State::Waiting)
        capture(member);
    else if (member.state == Member::State::Captured && member.acknowledged)
        parts_.listener.tunnel_acknowledged(enrolled(member));
    // The tunnel tries again by itself; only an answer tells when it succeeded, and whoever starts the pod waits for that.
    if (!member.refused || member.state != Member::State::Captured) return;
    member.tell_delay = std::clamp(member.tell_delay * 2, settings_.retry_first, settings_.retry_most);
    parts_.loop.arm(member.timer, member.tell_delay);
}

void Enrolment::waited(Member& member) {
    ++counts_.tunnel_timeouts;
    WARREN_LOG(kArea, base::log::Level::Warn,
               "the tunnel did not acknowledge a pod in time: captured, its connections are refused meanwhile",
               {"pod", called(*member.pod)});
    capture(member);
    settle();
}

base::Result<void> Enrolment::write_rows(Member& member) {
    const uint64_t cookie = member.netns->cookie();
    const uint32_t flags = flags_of(*member.pod);
    if (member.enrolled()) {
        member.addresses = TRY(book_.claim({.local = {.netns = cookie, .id = member.id, .flags = flags},
                                            .declared = member.pod->addresses,
                                            .found = member.netns->addresses()}));
        TRY(parts_.attachments.attach_pod(cookie, member.netns->netns()));
    } else {
        member.addresses = member.netns->addresses();
    }
    const wr_pod row{.id = member.id, .flags = flags, .v4 = first_of(member.addresses, true), .v6 = first_of(member.addresses, false)};
    TRY(parts_.maps.pods.update(cookie, row));
    if (!member.enrolled()) {
        parts_.attachments.detach_pod(cookie);
        TRY(book_.release(cookie));
    }
    return {};
}

void Enrolment::capture(Member& member) {
    parts_.loop.disarm(member.timer);
    if (auto written = write_rows(member); !written) {
        if (member.state != Member::State::Captured) leave(member);
        return fail(member, written.error());
    }
    if (member.state != Member::State::Captured) ++counts_.joined;
    member.state = Member::State::Captured;
    member.redirected = member.enrolled();
    member.why.clear();
    member.delay = {};
    parts_.listener.captured(enrolled(member));
}

void Enrolment::fail(Member& member, const base::Error& error) {
    const bool for_good = error.code == base::Errc::Denied;
    member.refused = false;  // looked at again, which hands it over again
    if (for_good || error.code == base::Errc::Exists || error.code == base::Errc::Exhausted) ++counts_.refused;
    if (member.state != Member::State::Captured) member.state = for_good ? Member::State::Refused : Member::State::Failing;
    if (member.why != error.message()) {
        member.why = error.message();
        WARREN_LOG(kArea, base::log::Level::Warn, "pod not enrolled", {"pod", called(*member.pod)}, {"error", member.why});
    }
    if (!for_good) {
        member.delay = std::clamp(member.delay * 2, settings_.retry_first, settings_.retry_most);
        parts_.loop.arm(member.timer, member.delay);
    }
    parts_.listener.failed(*member.pod, error);
}

// Whole again, then clean: the row, the link, the addresses, the tunnel. Errors are the kernel refusing to delete, which the next sweep
// meets.
void Enrolment::leave(Member& member) {
    parts_.loop.disarm(member.timer);
    if (!member.netns) return;
    const uint64_t cookie = member.netns->cookie();
    if (member.registered()) parts_.loop.remove(member);
    const auto erased = parts_.maps.pods.erase(cookie);
    if (!erased)
        WARREN_LOG(kArea, base::log::Level::Error, "pod could not be released", {"pod", called(*member.pod)},
                   {"error", erased.error().message()});
    parts_.attachments.detach_pod(cookie);
    (void)book_.release(cookie);
    (void)parts_.store.owners().erase(cookie);
    by_netns_.erase(cookie);
    if (std::exchange(member.told, false)) parts_.tunnel.pod_gone(member.pod->uid);
    member.attempt = 0;
    if (std::exchange(member.state, Member::State::Looking) == Member::State::Captured) {
        ++counts_.left;
        parts_.listener.left(enrolled(member));
    }
    member.acknowledged = false;
    member.addresses.clear();
    member.netns.reset();
}

void Enrolment::addresses_changed(Member& member) {
    const auto changed = member.netns->refresh();
    if (changed && !*changed) return;
    if (member.state != Member::State::Captured) return;
    const auto written = changed ? write_rows(member) : base::Result<void>(changed.error());
    // Captured it stays: rows that could not be written are tried again with the next change or by the source's.
    if (!written) {
        WARREN_LOG(kArea, base::log::Level::Error, "addresses of a pod not updated", {"pod", called(*member.pod)},
                   {"error", written.error().message()});
        return;
    }
    parts_.listener.captured(enrolled(member));
    reclaim_addresses();
}

EnrolledPod Enrolment::enrolled(const Member& member) {
    return {.pod = member.pod,
            .id = member.id,
            .netns = member.netns->cookie(),
            .namespace_handle = member.netns->netns(),
            .addresses = member.addresses,
            .tunnel_acknowledged = member.acknowledged};
}

}  // namespace warren::node
