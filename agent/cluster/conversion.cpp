// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/conversion.h"

#include "agent/cluster/keys.h"
#include "base/bytes.h"

#include <algorithm>

namespace warren::cluster {

namespace {

template <class T>
void add_all(ObjectKind kind, const std::vector<T>& list, std::vector<Change>& to) {
    for (size_t i = 0; i < list.size(); ++i) to.push_back({.kind = kind, .key = list[i].meta.key(), .at = i});
}

std::vector<Change> all_of(const Objects& o) {
    std::vector<Change> out;
    add_all(ObjectKind::Pod, o.pods, out);
    add_all(ObjectKind::Service, o.services, out);
    add_all(ObjectKind::EndpointSlice, o.slices, out);
    add_all(ObjectKind::WorkloadEntry, o.workload_entries, out);
    add_all(ObjectKind::ServiceEntry, o.service_entries, out);
    add_all(ObjectKind::Gateway, o.gateways, out);
    add_all(ObjectKind::AuthorizationPolicy, o.authorization_policies, out);
    add_all(ObjectKind::PeerAuthentication, o.peer_authentications, out);
    return out;
}

// put(key, object or null) for the changed objects of the kind, and, when all are looked through, for those that are concerned.
template <class T, class Concerned, class Put>
void visit(ObjectKind kind, const std::vector<T>& list, std::span<const Change> changes, bool look_through, Concerned concerned, Put put) {
    for (const Change& change : changes)
        if (change.kind == kind) put(change.key, change.removed ? nullptr : &list[change.at]);
    if (!look_through) return;
    for (const T& object : list)
        if (concerned(object)) put(object.meta.key(), &object);
}

bool any_of_kind(std::span<const Change> changes, std::initializer_list<ObjectKind> kinds) {
    return std::any_of(changes.begin(), changes.end(),
                       [&](const Change& c) { return std::find(kinds.begin(), kinds.end(), c.kind) != kinds.end(); });
}

}  // namespace

bool Conversion::Impact::names_waypoint(const LabelMap& labels) const {
    if (waypoints.empty()) return false;
    for (const std::string_view key : {keys::kUseWaypoint, keys::kCanary, keys::kGatewayName})
        if (waypoints.contains(label(labels, key))) return true;
    return false;
}

bool Conversion::Impact::concerns(const ObjectMeta& meta, const LabelMap& labels) const {
    return namespaces.contains(meta.ns) || names_waypoint(labels) || services.any(meta.ns, labels) || policies.concerns(meta.ns, labels);
}

bool Conversion::Impact::any() const {
    return !namespaces.empty() || !nodes.empty() || !waypoints.empty() || !services.empty() || !policies.none();
}

void Conversion::end_object(Role role, const std::string& key) { set_problems(role, key, mesh_.problems()); }

void Conversion::set_problems(Role role, const std::string& key, const Diagnostics& problems) {
    if (problems.error_count() + problems.warning_count() != 0)
        problems_.insert_or_assign({role, key}, problems);
    else if (!problems_.empty())
        problems_.erase({role, key});
}

void Conversion::report(Diagnostics& to) const {
    for (const auto& [of, problems] : problems_) {
        for (const std::string& text : problems.errors()) to.error(text);
        for (const std::string& text : problems.warnings()) to.warning(text);
    }
}

// A DENY for the whole mesh that silently does not count is what nobody would look for.
void Conversion::note_discovery() {
    const std::string& root = mesh_.settings().root_namespace;
    ObjectMeta policy;
    policy.ns = root;
    if (mesh_.in_mesh(policy)) return;
    problems_[{Role::Mesh, root}].warning("mesh.discovery-selectors leave out " + root +
                                          ": its policies, which are the whole mesh's, do not apply; " +
                                          "label that namespace as the selectors ask");
}

void Conversion::update(const Objects& objects, std::span<const Change> changes, OutputSink& sink) {
    Round round{objects, changes, sink};
    const bool same_mesh = look_around(round);
    if (started_ && !changes.empty() && same_mesh) return run(round);
    const std::vector<Change> all = all_of(objects);
    Round whole{objects, all, sink, true};
    mesh_.clear();
    slices_.clear();
    endpoints_.clear();
    problems_.clear();
    targets_.clear();
    note_discovery();
    unseen_ = std::exchange(statuses_, {});
    started_ = true;
    ++from_nothing_;
    sink.begin_whole();
    run(whole);
    network_gateways(sink);
    sink.end_whole();
    while (!unseen_.empty()) {
        const auto of = unseen_.begin()->first;
        note_status(of.first, of.second, nullptr, false);
    }
}

ConditionSet Conversion::Status::types() const {
    ConditionSet out = 0;
    for (const Told& one : told) out |= set_of(one.type);
    return out;
}

void Conversion::note_status(ObjectKind kind, const std::string& key, const ObjectMeta* meta, bool there, GatewayDetails gateway) {
    const std::pair of{kind, key};
    const auto before = statuses_.extract(of);
    const auto unseen = unseen_.extract(of);
    const Status was = before ? before.mapped() : unseen ? unseen.mapped() : Status();
    Status now;
    if (meta != nullptr) now = {meta->uid, meta->generation, mesh_.problems().told(), std::move(gateway)};
    // Before this process told it anything, what it says is what another told it.
    const bool new_to_us = meta != nullptr && (was.told.empty() || was.uid != meta->uid);
    const ConditionSet said = new_to_us ? meta->held.types : was.types();
    const ConditionSet gone = said & static_cast<ConditionSet>(~now.types());
    if (!now.told.empty()) statuses_.emplace(of, now);
    if (gone == 0 && (now.told.empty() || now == was)) return;
    StatusChange& change = status_changes_[of];
    const ConditionSet still_gone = change.gone & static_cast<ConditionSet>(~now.types());
    const std::string& uid = meta != nullptr ? meta->uid : was.uid;
    change = {kind, key, uid, now.generation, now.told, now.gateway, static_cast<ConditionSet>(gone | still_gone), !there};
}

std::vector<StatusChange> Conversion::take_status_changes() {
    std::vector<StatusChange> out;
    for (auto& [of, change] : std::exchange(status_changes_, {})) out.push_back(std::move(change));
    return out;
}

void Conversion::run(Round& round) {
    policies(round);
    services(round);
    slices(round);
    endpoints(round);
    entries(round);
    pods(round);
    settle_targets(round);
    gateways(round);
}

void Conversion::gateways(Round& round) {
    visit(
        ObjectKind::Gateway, round.objects.gateways, round.changes, false, [](const Gateway&) { return false; },
        [&](const std::string& key, const Gateway* gateway) {
            const bool ours = gateway != nullptr && leads_elsewhere(*gateway) && mesh_.of_revision(gateway->meta);
            begin_object();
            GatewayDetails details;
            if (ours) details = tell_gateway(*gateway, mesh_.problems());
            note_status(ObjectKind::Gateway, key, ours ? &gateway->meta : nullptr, gateway != nullptr, std::move(details));
        });
}

bool Conversion::look_around(Round& round) {
    Impact& impact = round.impact;
    for (const Change& change : round.changes) {
        if (change.kind == ObjectKind::Namespace) impact.namespaces.insert(change.key.substr(1));
        if (change.kind == ObjectKind::Node) impact.nodes.insert(change.key.substr(1));
    }
    bool same = mesh_.look(round.objects);
    if (!started_ || round.changes.empty() || !same || any_of_kind(round.changes, {ObjectKind::Gateway, ObjectKind::GatewayClass}))
        same = mesh_.look_at_gateways(round.objects, impact.waypoints) && same;
    if (!impact.waypoints.empty())
        for (const auto& [name, ns] : mesh_.namespaces())
            if (impact.names_waypoint(ns->meta.labels)) impact.namespaces.insert(name);
    return same;
}

void Conversion::policies(Round& round) {
    PolicyTable& table = mesh_.policy_table();
    if (!any_of_kind(round.changes, {ObjectKind::AuthorizationPolicy, ObjectKind::PeerAuthentication})) return;
    const auto counting = [&](const auto* object) { return object != nullptr && mesh_.of_revision(object->meta) ? object : nullptr; };
    const auto nobody = [](const auto&) { return false; };
    visit(ObjectKind::AuthorizationPolicy, round.objects.authorization_policies, round.changes, false, nobody,
          [&](const std::string& key, const AuthorizationPolicy* policy) { put_policy(key, policy); });
    visit(ObjectKind::PeerAuthentication, round.objects.peer_authentications, round.changes, false, nobody,
          [&](const std::string& key, const PeerAuthentication* object) { table.put_peer(key, counting(object)); });
    PolicyTable::Settled settled = table.settle();
    for (const std::string& name : settled.changed) {
        if (const auto* policy = table.find(name))
            round.sink.set_authorization(name, *policy);
        else
            round.sink.remove_authorization(name);
    }
    std::erase_if(problems_, [](const auto& of) { return of.first.first == Role::PeerAuthentication; });
    for (auto& [key, text] : settled.clashes) problems_[{Role::PeerAuthentication, key}].error(std::move(text));
    if (!round.whole) round.impact.policies = std::move(settled.impact);
}

void Conversion::put_policy(const std::string& key, const AuthorizationPolicy* policy) {
    const AuthorizationPolicy* counts = policy != nullptr && mesh_.of_revision(policy->meta) ? policy : nullptr;
    begin_object();
    const bool enforced = mesh_.policy_table().put(key, counts, mesh_.problems());
    const bool unreadable = counts != nullptr && counts->unread;
    const bool at_end = counts != nullptr && counts->has_target && !unreadable;  // by then it is known where its targets are bound
    targets_.put(key, at_end ? counts : nullptr);
    if (unreadable)
        mesh_.problems().tell(unread(*counts));
    else if (counts != nullptr && !at_end)
        mesh_.problems().tell(ztunnel_accepted(*counts, enforced, mesh_.problems()));
    if (!at_end) note_status(ObjectKind::AuthorizationPolicy, key, counts != nullptr ? &counts->meta : nullptr, policy != nullptr);
    end_object(Role::AuthorizationPolicy, key);
}

void Conversion::settle_targets(Round& round) {
    if (!round.whole && !any_of_kind(round.changes, {ObjectKind::AuthorizationPolicy, ObjectKind::Namespace, ObjectKind::Service,
                                                     ObjectKind::ServiceEntry, ObjectKind::Gateway, ObjectKind::GatewayClass}))
        return;
    const auto bound = [this](ObjectKind kind, const std::string& key) -> const Told* {
        const auto found = statuses_.find({kind, key});
        if (found == statuses_.end()) return nullptr;
        const auto& told = found->second.told;
        const auto at = std::find_if(told.begin(), told.end(), [](const Told& t) { return t.type == ConditionType::WaypointBound; });
        return at == told.end() ? nullptr : &*at;
    };
    targets_.settle({round.objects, mesh_.waypoints(), settings_.root_namespace, bound},
                    [this](const std::string& key, const ObjectMeta& meta, Told told) {
                        begin_object();
                        mesh_.problems().tell(std::move(told));
                        note_status(ObjectKind::AuthorizationPolicy, key, &meta);
                    });
}

void Conversion::put_service(const std::string& key, const KubeService* service) {
    std::vector<ServiceInfo> infos;
    begin_object();
    if (service != nullptr && mesh_.in_mesh(service->meta) && !service->external_name)
        infos.push_back(convert_service(*service, mesh_.service_context()));
    note_status(ObjectKind::Service, key, infos.empty() ? nullptr : &service->meta, service != nullptr);
    mesh_.service_table().put(true, key, std::move(infos));
    end_object(Role::Service, key);
}

void Conversion::put_entry(const std::string& key, const ServiceEntry* entry) {
    std::vector<ServiceInfo> infos;
    begin_object();
    if (entry != nullptr && mesh_.of_revision(entry->meta)) infos = convert_service_entry(*entry, mesh_.service_context());
    note_status(ObjectKind::ServiceEntry, key, infos.empty() ? nullptr : &entry->meta, entry != nullptr);
    mesh_.service_table().put(false, key, std::move(infos));
    end_object(Role::ServiceEntry, key);
}

void Conversion::services(Round& round) {
    const bool look_through = !round.impact.namespaces.empty() || !round.impact.waypoints.empty();
    const auto concerned = [&](const auto& object) {
        return round.impact.namespaces.contains(object.meta.ns) || round.impact.names_waypoint(object.meta.labels);
    };
    visit(ObjectKind::Service, round.objects.services, round.changes, look_through, concerned,
          [&](const std::string& key, const KubeService* service) { put_service(key, service); });
    visit(ObjectKind::ServiceEntry, round.objects.service_entries, round.changes, look_through, concerned,
          [&](const std::string& key, const ServiceEntry* entry) { put_entry(key, entry); });
    settle_services(round);
}

void Conversion::settle_services(Round& round) {
    for (const auto& [key, before, after] : mesh_.service_table().settle()) {
        if (after.info) {
            istio::workload::Service sent = after.info->sent;
            sent.set_canonical(after.canonical);
            round.sink.set_service(key, sent);
        } else {
            round.sink.remove_service(key);
        }
        const bool same_object = before.info && after.info && before.info->sent.name() == after.info->sent.name();
        if (round.whole || (same_object && before.info->same_to_members(*after.info))) continue;
        round.impact.keys.insert(key);
        for (const auto* side : {&before, &after}) {
            if (!side->info) continue;
            const ServiceInfo& info = *side->info;
            if (!info.selector.empty()) round.impact.services.add(info.sent.namespace_(), info.selector, true);
            if (!info.from_service) round.impact.entries.insert(info.sent.namespace_() + '/' + info.sent.name());
        }
    }
}

void Conversion::slices(Round& round) {
    const auto concerned = [&](const EndpointSlice& slice) {
        const std::string_view name = label(slice.meta.labels, keys::kServiceName);
        return !name.empty() && round.impact.keys.contains(slice.meta.ns + '/' + service_hostname(name, slice.meta.ns, settings_));
    };
    visit(ObjectKind::EndpointSlice, round.objects.slices, round.changes, !round.impact.keys.empty(), concerned,
          [&](const std::string& key, const EndpointSlice* slice) { put_slice(key, slice, round); });
}

void Conversion::put_slice(const std::string& key, const EndpointSlice* slice, Round& round) {
    Slice now;
    const auto list = [&](const std::string& pod) {
        if (!round.whole) round.impact.listed.insert(pod.substr(0, pod.rfind('/')));
    };
    const auto held = slices_.find(key);
    Slice before;
    if (held != slices_.end()) before = std::move(held->second);
    for (const std::string& pod : before.pods) mesh_.unlist(pod, key), list(pod);
    const std::string_view name = slice == nullptr ? std::string_view() : label(slice->meta.labels, keys::kServiceName);
    if (!name.empty() && !slice->fqdn && mesh_.in_mesh(slice->meta)) {
        const std::string service_key = slice->meta.ns + '/' + service_hostname(name, slice->meta.ns, settings_);
        const ServiceInfo* service = mesh_.service(service_key);
        const bool lists = service != nullptr && service->from_service && service->selector.empty();
        for (const SliceEndpoint& endpoint : slice->endpoints) {
            // A pod has a uid, and a reference without one is to no pod in particular.
            if (!lists || !endpoint.is_pod || endpoint.pod_uid.empty()) continue;
            now.pods.push_back(endpoint.pod_ns + '/' + endpoint.pod_name + '/' + endpoint.pod_uid);
            mesh_.list(now.pods.back(), key, service_key);
            list(now.pods.back());
        }
        for (Workload& workload : convert_slice(*slice, mesh_)) {
            now.uids.push_back(workload.uid());
            round.sink.set_workload(now.uids.back(), workload);
        }
    }
    for (const std::string& uid : before.uids)
        if (std::find(now.uids.begin(), now.uids.end(), uid) == now.uids.end()) round.sink.remove_workload(uid);
    if (!now.uids.empty() || !now.pods.empty())
        slices_.insert_or_assign(key, std::move(now));
    else if (held != slices_.end())
        slices_.erase(held);
}

void Conversion::endpoints(Round& round) {
    const Impact& impact = round.impact;
    const auto concerned = [&](const ServiceEntry& entry) {
        return impact.entries.contains(entry.meta.key()) || impact.namespaces.contains(entry.meta.ns) ||
               impact.policies.concerns(entry.meta.ns, entry.meta.labels) ||
               std::any_of(entry.endpoints.begin(), entry.endpoints.end(),
                           [&](const EntrySpec& endpoint) { return impact.names_waypoint(endpoint.labels); });
    };
    visit(ObjectKind::ServiceEntry, round.objects.service_entries, round.changes, impact.any() || !impact.entries.empty(), concerned,
          [&](const std::string& key, const ServiceEntry* entry) { put_endpoints(key, entry, round.sink); });
}

void Conversion::put_endpoints(const std::string& key, const ServiceEntry* entry, OutputSink& sink) {
    std::vector<std::string> now, before;
    const auto held = endpoints_.find(key);
    if (held != endpoints_.end()) before = std::move(held->second);
    begin_object();
    if (entry != nullptr && mesh_.of_revision(entry->meta)) {
        // By one address there is one: the last, as where the reference keeps them by their name.
        std::vector<Workload> all = convert_endpoints(*entry, mesh_);
        std::unordered_map<std::string, size_t> last;
        for (size_t i = 0; i < all.size(); ++i) last.insert_or_assign(all[i].uid(), i);
        for (size_t i = 0; i < all.size(); ++i) {
            std::string uid = all[i].uid();
            if (last.at(uid) != i) {
                mesh_.problems().warning(entry->meta.where + ": " + base::quoted(uid) +
                                         " is there twice; the last counts, give endpoints different addresses");
                continue;
            }
            sink.set_workload(uid, all[i]);
            now.push_back(std::move(uid));
        }
    }
    end_object(Role::Endpoints, key);
    for (const std::string& uid : before)
        if (std::find(now.begin(), now.end(), uid) == now.end()) sink.remove_workload(uid);
    if (!now.empty())
        endpoints_.insert_or_assign(key, std::move(now));
    else if (held != endpoints_.end())
        endpoints_.erase(held);
}

void Conversion::entries(Round& round) {
    const auto concerned = [&](const WorkloadEntry& entry) {
        LabelMap labels = entry.meta.labels;
        labels.insert(entry.spec.labels.begin(), entry.spec.labels.end());
        return round.impact.concerns(entry.meta, labels);
    };
    visit(ObjectKind::WorkloadEntry, round.objects.workload_entries, round.changes, round.impact.any(), concerned,
          [&](const std::string& key, const WorkloadEntry* entry) { put_workload_entry(key, entry, round.sink); });
}

void Conversion::put_workload_entry(const std::string& key, const WorkloadEntry* entry, OutputSink& sink) {
    begin_object();
    if (entry != nullptr && mesh_.of_revision(entry->meta)) {
        Workload workload = convert_workload_entry(*entry, mesh_);
        const std::string uid = workload.uid();
        sink.set_workload(uid, workload);
        note_status(ObjectKind::WorkloadEntry, key, &entry->meta);
    } else {
        sink.remove_workload(workload_entry_uid(key, settings_));
        note_status(ObjectKind::WorkloadEntry, key, nullptr, entry != nullptr);
    }
    end_object(Role::WorkloadEntry, key);
}

void Conversion::pods(Round& round) {
    const Impact& impact = round.impact;
    const auto concerned = [&](const Pod& pod) {
        return impact.concerns(pod.meta, pod.meta.labels) || impact.nodes.contains(pod.node) ||
               (!impact.listed.empty() && impact.listed.contains(pod.meta.key()));
    };
    visit(ObjectKind::Pod, round.objects.pods, round.changes, impact.any() || !impact.listed.empty(), concerned,
          [&](const std::string& key, const Pod* pod) { put_pod(key, pod, round.sink); });
}

void Conversion::put_pod(const std::string& key, const Pod* pod, OutputSink& sink) {
    begin_object();
    auto workload = pod != nullptr && mesh_.in_mesh(pod->meta) ? convert_pod(*pod, mesh_) : std::nullopt;
    if (workload) {
        const std::string uid = workload->uid();
        sink.set_workload(uid, *workload);
    } else {
        sink.remove_workload(pod_uid(key, settings_));
    }
    end_object(Role::Pod, key);
}

void Conversion::network_gateways(OutputSink& sink) {
    std::set<std::string> uids;
    for (const NetworkGateway& gateway : mesh_.network_gateways()) {
        Workload workload = convert_network_gateway(gateway);
        const std::string uid = workload.uid();
        if (uids.insert(uid).second)
            sink.set_workload(uid, workload);
        else
            problems_[{Role::Gateway, uid}].warning(gateway.where + ": " + base::quoted(uid) +
                                                    " is there twice; the first counts, give endpoints different addresses");
    }
}

}  // namespace warren::cluster
