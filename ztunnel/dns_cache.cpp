// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_cache.h"

#include <algorithm>
#include <chrono>

namespace warren::ztunnel {

namespace {
// Name servers may say a week; a wrong answer should not outlive a morning.
constexpr uint32_t kMaxTtl = 3600;
constexpr uint16_t kRdAdCd = 0x0130;  // what asks for another answer: recursion, and DNSSEC's two
}  // namespace

std::string DnsCache::key_of(const dns::Query& query) {
    if (query.edns && (query.edns->options || query.edns->version != 0)) return {};
    std::string key;
    key.reserve(query.question.size() + 4);
    for (const uint8_t c : query.question) key.push_back(static_cast<char>(c));
    // The name's letters without case; type and class stay as they are.
    for (size_t i = 0; i + 4 < key.size(); ++i)
        if (key[i] >= 'A' && key[i] <= 'Z') key[i] = static_cast<char>(key[i] + ('a' - 'A'));
    const auto flags = static_cast<uint16_t>(query.flags & kRdAdCd);
    key.push_back(static_cast<char>(flags >> 8));
    key.push_back(static_cast<char>(flags & 0xff));
    key.push_back(!query.edns ? '0' : query.edns->dnssec_ok ? '2' : '1');
    return key;
}

std::optional<DnsCache::Hit> DnsCache::find(const std::string& key, base::MonoTime now) {
    if (key.empty()) return std::nullopt;
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return std::nullopt;
    const auto entry = found->second;
    if (entry->until <= now) {
        by_key_.erase(found);
        entries_.erase(entry);
        return std::nullopt;
    }
    entries_.splice(entries_.begin(), entries_, entry);
    const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - entry->since).count();
    return Hit{entry->message, static_cast<uint32_t>(std::max<int64_t>(age, 0))};
}

void DnsCache::keep(const std::string& key, dns::Bytes message, uint32_t ttl_s, base::MonoTime now) {
    if (key.empty() || ttl_s == 0 || limit_ == 0 || message.size() > kMaxEntryBytes) return;
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
        const auto entry = found->second;
        by_key_.erase(found);
        entries_.erase(entry);
    }
    if (entries_.size() >= limit_) {
        by_key_.erase(entries_.back().key);
        entries_.pop_back();
    }
    entries_.push_front({key, {message.begin(), message.end()}, now, now + std::chrono::seconds(std::min(ttl_s, kMaxTtl))});
    by_key_.emplace(entries_.front().key, entries_.begin());
}

}  // namespace warren::ztunnel
