// SPDX-License-Identifier: Apache-2.0
#include "policy/service_index.h"

#include <algorithm>

namespace warren::policy {

namespace {

using Services = ShortList<ServiceRef>;
constexpr size_t npos = Services::npos;

size_t place_of(const Services& list, const Text& key) {
    return list.position([&](const ServiceRef& s) { return s->key == key; });
}

// True when the list was empty before.
bool put_in(Services& list, const ServiceRef& service) {
    const bool first = list.empty();
    if (const size_t at = place_of(list, service->key); at != npos) {
        list.replace(at, service);
    } else {
        list.append(service);
    }
    return first;
}

// True when that emptied the list.
template <class Map, class Key>
bool drop_from(Map& map, const Key& at_key, const Text& service) {
    const Services* list = map.find(at_key);
    const size_t at = list != nullptr ? place_of(*list, service) : npos;
    if (at == npos) return false;
    if (list->size() == 1) return map.erase(at_key);
    map.edit(at_key).erase(at);
    return false;
}

// Contract 5.1: the client's own namespace, else the last canonical one, else the first seen.
const Service* best_of(const Services& list, const Text* client_ns) {
    const Service* first = nullptr;
    const Service* canonical = nullptr;
    for (size_t i = 0; i < list.size(); ++i) {
        const Service& s = *list[i];
        if (!s.visible_to(client_ns)) continue;
        if (client_ns != nullptr && s.ns == *client_ns) return &s;
        if (s.canonical) canonical = &s;
        if (first == nullptr) first = &s;
    }
    return canonical != nullptr ? canonical : first;
}

template <class T>
bool holds(const Array<T>& list, const T& item) {
    return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

uint16_t Endpoint::target_port(uint16_t service_port) const {
    if (ports == nullptr) return 0;
    for (const PortPair& p : *ports)
        if (p.service_port == service_port) return p.target_port;
    return 0;
}

void EndpointChanges::add(const WorkloadRef& before, const WorkloadRef& now) {
    if (before)
        for (const WorkloadService& s : before->services)
            if (!now || now->membership(s.service) == nullptr) push(s, before, false);
    if (!now) return;
    // Backwards, so that of two entries for one service the first counts, as in Workload::membership.
    for (size_t i = now->services.size(); i-- > 0;) push(now->services[i], now, true);
}

bool ServiceIndex::put(const ServiceRef& service) {
    const Ref<const ServiceEntry>* found = entries_.find(service->key);
    const ServiceRef old = found != nullptr ? (*found)->service : ServiceRef();
    if (old && *old == *service) return false;
    const auto entry = found != nullptr ? make_ref<ServiceEntry>(**found) : make_ref<ServiceEntry>();
    entry->service = service;
    entries_.set(service->key, entry);
    if (!old) ++count_;
    for (const NetworkAddress& vip : service->vips) put_in(vips_.edit(vip), service);
    for (const NetworkCidr& c : service->cidr_vips) put_prefix({c.network, c.cidr}, service);
    put_in(hostnames_.edit(service->hostname), service);
    if (old) unindex(*old, service.get());
    return true;
}

bool ServiceIndex::remove(std::string_view key) {
    const Ref<const ServiceEntry>* found = find_text(entries_, key);
    if (found == nullptr || !(*found)->service) return false;
    const Ref<const ServiceEntry> old = *found;
    const Text& own_key = old->service->key;
    if (old->endpoints.empty()) {
        entries_.erase(own_key);
    } else {
        const auto staged = make_ref<ServiceEntry>();
        staged->endpoints = old->endpoints;
        entries_.set(own_key, staged);
    }
    --count_;
    unindex(*old->service, nullptr);
    return true;
}

// Takes a service out of the indexes, but not from where its next version stands as well.
void ServiceIndex::unindex(const Service& old, const Service* keeping) {
    for (const NetworkAddress& vip : old.vips)
        if (keeping == nullptr || !holds(keeping->vips, vip)) drop_from(vips_, vip, old.key);
    for (const NetworkCidr& c : old.cidr_vips)
        if (keeping == nullptr || !holds(keeping->cidr_vips, c)) drop_prefix({c.network, c.cidr}, old.key);
    if (keeping == nullptr || keeping->hostname != old.hostname) drop_from(hostnames_, old.hostname, old.key);
}

void ServiceIndex::put_prefix(const NetworkPrefix& prefix, const ServiceRef& service) {
    if (put_in(prefixes_.edit(prefix), service)) count_prefix(prefix, true);
}

void ServiceIndex::drop_prefix(const NetworkPrefix& prefix, const Text& key) {
    if (drop_from(prefixes_, prefix, key)) count_prefix(prefix, false);
}

void ServiceIndex::count_prefix(const NetworkPrefix& prefix, bool more) {
    Array<PrefixLength>& lengths = lengths_.edit(prefix.network);
    const bool v4 = prefix.cidr.is_v4();
    const auto length = static_cast<uint8_t>(prefix.cidr.length());
    const auto same = [&](const PrefixLength& l) { return l.v4 == v4 && l.length == length; };
    std::vector<PrefixLength> next(lengths.begin(), lengths.end());
    if (const auto at = std::find_if(next.begin(), next.end(), same); at != next.end()) {
        at->prefixes = more ? at->prefixes + 1 : at->prefixes - 1;
        if (at->prefixes == 0) next.erase(at);
    } else if (more) {
        const auto after = std::find_if(next.begin(), next.end(), [&](const PrefixLength& l) { return l.length < length; });
        next.insert(after, PrefixLength{v4, length, 1});
    }
    lengths = Array<PrefixLength>(std::move(next));
    if (lengths.empty()) lengths_.erase(prefix.network);
}

void ServiceIndex::apply(EndpointChanges&& batch) {
    auto& changes = batch.changes_;
    std::sort(changes.begin(), changes.end(),
              [](const auto& a, const auto& b) { return a.hash != b.hash ? a.hash < b.hash : a.order < b.order; });
    for (auto from = changes.begin(); from != changes.end();) {
        const Text& key = from->member->service;
        // Services whose hashes agree are told apart here; meeting one of them again later only costs another copy of its entry.
        const auto to = std::find_if(from, changes.end(), [&](const auto& c) { return !(c.member->service == key); });
        const Ref<const ServiceEntry>* old = entries_.find(key);
        const auto entry = old != nullptr ? make_ref<ServiceEntry>(**old) : make_ref<ServiceEntry>();
        for (auto c = from; c != to; ++c) {
            if (c->joins) {
                entry->endpoints.set(c->workload->uid, Endpoint{c->workload, &c->member->ports});
            } else {
                entry->endpoints.erase(c->workload->uid);
            }
        }
        if (entry->service || !entry->endpoints.empty()) {
            entries_.set(key, entry);
        } else {
            entries_.erase(key);
        }
        from = to;
    }
    changes.clear();
}

const ServiceEntry* ServiceIndex::entry_of(const Service* service) const {
    const Ref<const ServiceEntry>* found = service != nullptr ? entries_.find(service->key) : nullptr;
    return found != nullptr ? found->get() : nullptr;
}

const ServiceEntry* ServiceIndex::find(std::string_view key) const {
    const Ref<const ServiceEntry>* found = find_text(entries_, key);
    return found != nullptr && (*found)->service ? found->get() : nullptr;
}

const ServiceEntry* ServiceIndex::by_vip(const NetworkAddress& address, const Text* client_ns) const {
    const Services* list = vips_.find(address);
    const Service* exact = list != nullptr ? best_of(*list, client_ns) : nullptr;
    return entry_of(exact != nullptr ? exact : by_prefix(address, client_ns));
}

// Rank (same namespace, length, canonical), the oldest of equals. From the longest down, so the first of the client's namespace wins.
const Service* ServiceIndex::by_prefix(const NetworkAddress& address, const Text* client_ns) const {
    const Array<PrefixLength>* lengths = lengths_.find(address.network);
    if (lengths == nullptr) return nullptr;
    const Service* other = nullptr;
    for (const PrefixLength& l : *lengths) {
        if (l.v4 != address.ip.is_v4()) continue;
        const auto cidr = base::Cidr::make(address.ip, l.length);
        const Services* list = cidr ? prefixes_.find({address.network, *cidr}) : nullptr;
        if (list == nullptr) continue;
        const Service* own = nullptr;
        const Service* here = nullptr;
        for (size_t i = 0; i < list->size(); ++i) {
            const Service& s = *(*list)[i];
            if (!s.visible_to(client_ns)) continue;
            const Service*& best = client_ns != nullptr && s.ns == *client_ns ? own : here;
            if (best == nullptr || (s.canonical && !best->canonical)) best = &s;
        }
        if (own != nullptr) return own;
        if (other == nullptr) other = here;
    }
    return other;
}

const ServiceEntry* ServiceIndex::by_hostname(std::string_view hostname, const Text* client_ns) const {
    const Services* list = find_text(hostnames_, hostname);
    return list != nullptr ? entry_of(best_of(*list, client_ns)) : nullptr;
}

std::vector<const ServiceEntry*> ServiceIndex::all_by_hostname(std::string_view hostname) const {
    std::vector<const ServiceEntry*> out;
    if (const Services* list = find_text(hostnames_, hostname))
        for (size_t i = 0; i < list->size(); ++i) out.push_back(entry_of((*list)[i].get()));
    return out;
}

}  // namespace warren::policy
