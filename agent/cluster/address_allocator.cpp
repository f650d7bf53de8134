// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/address_allocator.h"

#include "agent/cluster/convert_service.h"
#include "base/bytes.h"

#include <algorithm>
#include <tuple>

namespace warren::cluster {

namespace {

constexpr unsigned kLeastHostBits = 4, kMostHostBits = 63;

unsigned host_bits(const base::Cidr& range) { return std::min(range.first().bits() - range.length(), kMostHostBits); }

// FNV-1a: what one build drew, the next one draws (std::hash promises no such thing).
uint64_t hash_of(std::string_view text) {
    uint64_t h = 0xcbf29ce484222325;
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return h ^ (h >> 32);
}

bool has(const AddressAllocator::Addresses& held, const std::string& host, bool v4) {
    return std::any_of(held.begin(), held.end(), [&](const auto& a) { return a.first == host && a.second.is_v4() == v4; });
}

}  // namespace

base::Result<void> check_range(const base::Cidr& range, bool v4) {
    if (range.is_v4() == v4 && range.first().bits() - range.length() >= kLeastHostBits) return {};
    return base::invalid(base::quoted(range.to_string()) + " is no " + (v4 ? "IPv4 prefix of at most /28" : "IPv6 prefix of at most /124") +
                         "; give one that holds an address for every host, such as " +
                         (v4 ? AddressRanges{}.v4 : AddressRanges{}.v6).to_string());
}

void AddressAllocator::put(const ServiceEntry& entry) {
    const std::string key = entry.meta.key();
    remove(key);
    if (entry.meta.deleting) return;
    Entry now;
    for (const std::string& host : entry.hosts)
        if (allocates_address(entry, host) && std::find(now.hosts.begin(), now.hosts.end(), host) == now.hosts.end())
            now.hosts.push_back(host);
    if (now.hosts.empty()) return;  // what its status may say nobody reads
    now.uid = entry.meta.uid;
    now.created_ns = entry.meta.created_ns;
    now.told = entry.allocated;
    now.version = ++versions_;
    Entry& kept = entries_[key] = std::move(now);
    for (const std::string& host : kept.hosts)
        for (const bool v4 : {true, false})
            for (const auto& [of, ip] : kept.told)
                if (of == host && ip.is_v4() == v4) claim(key, kept, host, ip);
    const bool whole = kept.held.size() == kept.told.size() && std::all_of(kept.hosts.begin(), kept.hosts.end(), [&](const std::string& h) {
                           return has(kept.held, h, true) && has(kept.held, h, false);
                       });
    if (!whole) lacking_.insert(key);
}

// The older entry of two keeps an address, and what a status says counts before what none says yet.
void AddressAllocator::claim(const std::string& key, Entry& entry, const std::string& host, base::IpAddr ip) {
    const auto [at, is_new] = holders_.try_emplace(ip, Holder{key, true});
    if (!is_new) {
        Holder& holder = at->second;
        if (holder.key == key) return;  // twice in one status
        Entry& other = entries_.at(holder.key);
        if (holder.told && std::tie(other.created_ns, holder.key) < std::tie(entry.created_ns, key)) return;
        std::erase_if(other.held, [&](const auto& a) { return a.second == ip; });
        other.version = ++versions_;  // what was about to be written is not it any more
        lacking_.insert(holder.key);
        holder = {key, true};
    }
    entry.held.emplace_back(host, ip);
}

void AddressAllocator::release(Entry& entry) {
    for (const auto& [host, ip] : entry.held) holders_.erase(ip);
    entry.held.clear();
}

void AddressAllocator::remove(const std::string& key) {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return;
    release(at->second);
    entries_.erase(at);
    lacking_.erase(key);
}

void AddressAllocator::clear() {
    entries_.clear();
    holders_.clear();
    lacking_.clear();
}

base::Result<base::IpAddr> AddressAllocator::draw(const std::string& host_key, const base::Cidr& range) const {
    const uint64_t size = uint64_t{1} << host_bits(range);
    const uint64_t usable = size - 2;  // neither the first nor the last, which look like a network's own
    const uint64_t start = hash_of(host_key) % usable;
    const uint64_t tries = std::min<uint64_t>(usable, holders_.size() + 1);
    for (uint64_t i = 0; i < tries; ++i) {
        const uint64_t offset = 1 + (start + i) % usable;
        const auto ip = base::IpAddr::from_number(range.first().hi(), range.first().lo() | offset);
        if (!holders_.contains(ip)) return ip;
    }
    return base::Error{base::Errc::Exhausted, 0, "", "no address is left in " + range.to_string() + "; give a larger range"};
}

base::Result<AddressAllocator::Assignment> AddressAllocator::assign(const std::string& key) {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return base::Error{base::Errc::NotFound, 0, "", "no such entry"};
    Entry& entry = at->second;
    Addresses wanted;
    for (const std::string& host : entry.hosts) {
        for (const bool v4 : {true, false}) {
            if (!has(entry.held, host, v4)) {
                const base::IpAddr ip = TRY(draw(key + '/' + host, v4 ? ranges_.v4 : ranges_.v6));
                holders_.emplace(ip, Holder{key, false});
                entry.held.emplace_back(host, ip);
            }
            for (const auto& held : entry.held)
                if (held.first == host && held.second.is_v4() == v4) wanted.push_back(held);
        }
    }
    return Assignment{key, entry.uid, std::move(wanted), entry.version};
}

void AddressAllocator::written(const Assignment& assignment) {
    const auto at = entries_.find(assignment.key);
    if (at != entries_.end() && at->second.version == assignment.version) lacking_.erase(assignment.key);
}

}  // namespace warren::cluster
