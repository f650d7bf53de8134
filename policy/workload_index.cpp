// SPDX-License-Identifier: Apache-2.0
#include "policy/workload_index.h"

#include <algorithm>
#include <span>

namespace warren::policy {

namespace {

// Contract 5.1. Only asked where several share an address.
int rank(const Workload& w) {
    const bool pod = w.uid.view().find("//Pod/") != std::string_view::npos;
    const bool hbone = w.tunnel_protocol == TunnelProtocol::Hbone;
    return pod ? (hbone ? 3 : 2) : (hbone ? 1 : 0);
}

// A host network workload has the address of its node, which says nothing about who answers there.
std::span<const base::IpAddr> indexed(const Workload& w) {
    return w.network_mode == NetworkMode::HostNetwork ? std::span<const base::IpAddr>() : w.addresses.span();
}

bool indexes(const Workload& w, const NetworkAddress& address) {
    return w.network_mode != NetworkMode::HostNetwork && w.network == address.network && w.has_address(address.ip);
}

uint64_t key_of(const Workload& w, base::IpAddr ip) { return AddressHash{}({w.network, ip}); }

bool has_key(const Workload& w, uint64_t key) {
    return std::ranges::any_of(indexed(w), [&](base::IpAddr ip) { return key_of(w, ip) == key; });
}

size_t place_of(const ShortList<WorkloadRef>& list, const Text& uid) {
    return list.position([&](const WorkloadRef& w) { return w->uid == uid; });
}
size_t place_of(const ShortList<Text>& list, const Text& uid) {
    return list.position([&](const Text& other) { return other == uid; });
}

template <class Map, class Key>
void drop(Map& map, const Key& key, const Text& uid) {
    const auto* list = map.find(key);
    if (list == nullptr) return;
    const size_t at = place_of(*list, uid);
    if (at == list->npos) return;
    if (list->size() == 1) {
        map.erase(key);
    } else {
        map.edit(key).erase(at);
    }
}

}  // namespace

WorkloadRef WorkloadIndex::put(const WorkloadRef& workload) {
    const Workload& w = *workload;
    const WorkloadRef old = std::exchange(uids_.edit(w.uid), workload);
    for (const base::IpAddr ip : indexed(w)) claim(key_of(w, ip), workload);
    rename(names_, if_local(old.get()), if_local(&w), &Workload::name);
    rename(hostnames_, old.get(), &w, &Workload::hostname);
    if (!old) return old;
    for (const base::IpAddr ip : indexed(*old))
        if (!has_key(w, key_of(*old, ip))) drop(addresses_, key_of(*old, ip), w.uid);
    return old;
}

// From the list of its old name to that of its new one; an empty name is in no list.
void WorkloadIndex::rename(Names& names, const Workload* before, const Workload* now, const Text Workload::* name) {
    const auto key = [&](const Workload& w) { return hash_pair(w.ns.hash(), (w.*name).hash()); };
    const bool had = before != nullptr && !(before->*name).empty();
    const bool has = now != nullptr && !(now->*name).empty();
    if (had && has && key(*before) == key(*now)) return;
    if (had) drop(names, key(*before), before->uid);
    if (has) names.edit(key(*now)).append(now->uid);
}

void WorkloadIndex::claim(uint64_t address, const WorkloadRef& workload) {
    ShortList<WorkloadRef>& list = addresses_.edit(address);
    if (list.empty()) {
        list.append(workload);
        return;
    }
    const int ours = rank(*workload);
    if (const size_t at = place_of(list, workload->uid); at != ShortList<WorkloadRef>::npos) {
        if (rank(*list[at]) == ours) {
            list.replace(at, workload);
            return;
        }
        list.erase(at);
    }
    const size_t at = list.position([&](const WorkloadRef& other) { return rank(*other) <= ours; });
    list.insert(at != ShortList<WorkloadRef>::npos ? at : list.size(), workload);
}

WorkloadRef WorkloadIndex::remove(std::string_view uid) {
    const WorkloadRef* found = find(uid);
    if (found == nullptr) return nullptr;
    const WorkloadRef old = *found;
    uids_.erase(old->uid);
    for (const base::IpAddr ip : indexed(*old)) drop(addresses_, key_of(*old, ip), old->uid);
    rename(names_, if_local(old.get()), nullptr, &Workload::name);
    rename(hostnames_, old.get(), nullptr, &Workload::hostname);
    return old;
}

const Workload* WorkloadIndex::by_address(const NetworkAddress& address) const {
    const ShortList<WorkloadRef>* list = addresses_.find(AddressHash{}(address));
    const size_t at =
        list != nullptr ? list->position([&](const WorkloadRef& w) { return indexes(*w, address); }) : ShortList<WorkloadRef>::npos;
    return at != ShortList<WorkloadRef>::npos ? (*list)[at].get() : nullptr;
}

}  // namespace warren::policy
