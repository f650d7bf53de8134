// SPDX-License-Identifier: Apache-2.0
#include "agent/node/mesh_view.h"

#include <algorithm>
#include <utility>

namespace warren::node {

std::string_view to_string(NotDirect why) {
    switch (why) {
        case NotDirect::No: return "direct";
        case NotDirect::NotCaptured: return "not_captured";
        case NotDirect::UnknownWorkload: return "unknown_workload";
        case NotDirect::OtherNetwork: return "other_network";
        case NotDirect::Encrypted: return "encrypted";
        case NotDirect::SwitchedOff: return "switched_off";
        case NotDirect::NoAddress: return "no_address";
        case NotDirect::Waypoint: return "waypoint";
        case NotDirect::OwnTunnel: return "own_tunnel";
        case NotDirect::SharedAddress: return "shared_address";
    }
    return "unknown";
}

namespace {

bool same_addresses(const LocalPod& a, const LocalPod& b) { return a.v4 == b.v4 && a.v6 == b.v6; }

bool same_source(const Member& a, const Member& b) {
    return a.as_source == b.as_source && a.identity == b.identity && same_addresses(a.pod, b.pod) && a.pod.network == b.pod.network;
}

bool same_destination(const Member& a, const Member& b) {
    return a.as_destination == b.as_destination && a.policies == b.policies && same_addresses(a.pod, b.pod) &&
           a.pod.network == b.pod.network;
}

bool is(const policy::Text& stated, const policy::Text& of_record) { return stated.empty() || stated == of_record; }

}  // namespace

bool MeshView::update(std::shared_ptr<const policy::Snapshot> snapshot, std::span<const LocalPod> pods) {
    snapshot_ = std::move(snapshot);
    std::vector<const LocalPod*> chosen;
    for (const LocalPod& pod : pods)
        if (pod.id != 0 && pod.enrolled()) chosen.push_back(&pod);
    // Of two with one id the first: they lie in one array, so their addresses are their order.
    std::sort(chosen.begin(), chosen.end(), [](const auto* a, const auto* b) { return a->id != b->id ? a->id < b->id : a < b; });
    chosen.erase(std::unique(chosen.begin(), chosen.end(), [](const auto* a, const auto* b) { return a->id == b->id; }), chosen.end());
    std::vector<Member> next;
    next.reserve(chosen.size());
    for (const LocalPod* pod : chosen) next.push_back(join(*pod));

    const uint64_t version = version_ + 1;
    bool changed = next.size() != members_.size();
    for (Member& m : next) {
        const Member* before = find(m.pod.id);
        const bool as_source = before != nullptr && same_source(*before, m);
        const bool as_destination = before != nullptr && same_destination(*before, m);
        m.source_version = as_source ? before->source_version : version;
        m.destination_version = as_destination ? before->destination_version : version;
        changed = changed || !as_source || !as_destination || before->record != m.record || before->pod != m.pod;
    }
    members_ = std::move(next);
    if (changed) version_ = version;
    return changed;
}

const Member* MeshView::find(uint32_t id) const {
    const auto at = std::lower_bound(members_.begin(), members_.end(), id, [](const Member& m, uint32_t i) { return m.pod.id < i; });
    return at != members_.end() && at->pod.id == id ? &*at : nullptr;
}

Member MeshView::join(const LocalPod& pod) const {
    Member m;
    m.pod = pod;
    m.record = policy::WorkloadRef(record_of(pod));
    if (m.record) {
        m.identity = m.record->identity();
        m.policies = snapshot_->policies_for(*m.record);
    }
    m.same_node = settings_.same_node.mode_for({.ns = m.record ? m.record->ns.view() : pod.ns.view(),
                                                .workload = m.record ? m.record->workload_name.view() : std::string_view(),
                                                .pod = m.record ? m.record->name.view() : pod.name.view(),
                                                .annotation = pod.same_node});
    m.as_source = m.as_destination = why_not_either(m);
    constexpr uint32_t kSource = WR_POD_OUTBOUND | WR_POD_DIRECT;
    if ((pod.flags & kSource) != kSource) m.as_source = NotDirect::NotCaptured;
    if (m.as_destination == NotDirect::No) m.as_destination = why_not_to(m);
    return m;
}

// Names as the tunnel looks them up. Without names the uid, else the address; whatever the source states has to agree with the record.
const policy::Workload* MeshView::record_of(const LocalPod& pod) const {
    const policy::Workload* found = nullptr;
    if (!pod.name.empty()) {
        found = snapshot_->local_workload(pod.ns, pod.name, pod.service_account, settings_.node);
    } else if (!pod.uid.empty()) {
        found = snapshot_->workload(pod.uid.view());
    } else if (pod.v4 || pod.v6) {
        found = snapshot_->workload(policy::NetworkAddress{settings_.network, pod.v4 ? *pod.v4 : *pod.v6});
    }
    if (found == nullptr || found->network_mode == policy::NetworkMode::HostNetwork) return nullptr;
    const bool node = settings_.node.empty() || found->node.view() == settings_.node;
    const bool names = is(pod.uid, found->uid) && is(pod.ns, found->ns) && is(pod.service_account, found->service_account);
    return node && names ? found : nullptr;
}

NotDirect MeshView::why_not_either(const Member& m) const {
    if (!m.record) return NotDirect::UnknownWorkload;
    if (m.record->network != settings_.network) return NotDirect::OtherNetwork;
    if (m.same_node == SameNode::Encrypted) return NotDirect::Encrypted;
    if (m.same_node == SameNode::Off) return NotDirect::SwitchedOff;
    return NotDirect::No;
}

NotDirect MeshView::why_not_to(const Member& m) const {
    const policy::Workload& record = *m.record;
    if ((m.pod.flags & WR_POD_INBOUND) == 0) return NotDirect::NotCaptured;
    if (!m.pod.v4 && !m.pod.v6) return NotDirect::NoAddress;
    if (record.waypoint != nullptr) return NotDirect::Waypoint;
    if (record.tunnel_protocol != policy::TunnelProtocol::Hbone || record.native_tunnel || record.application_tunnel != nullptr)
        return NotDirect::OwnTunnel;
    const bool owned = (!m.pod.v4 || owns(record, *m.pod.v4)) && (!m.pod.v6 || owns(record, *m.pod.v6));
    return owned ? NotDirect::No : NotDirect::SharedAddress;
}

// The tunnel asks for a service first and for a workload then (contract 5.3); a service that any client can see counts here.
bool MeshView::owns(const policy::Workload& record, base::IpAddr ip) const {
    const policy::NetworkAddress address{settings_.network, ip};
    return snapshot_->workload(address) == &record && snapshot_->service_by_vip(address, nullptr) == nullptr;
}

}  // namespace warren::node
