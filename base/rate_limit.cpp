// SPDX-License-Identifier: Apache-2.0
#include "base/rate_limit.h"

#include "base/bytes.h"
#include "base/ip.h"

#include <algorithm>
#include <array>

namespace warren::base {

bool RateLimit::spend(std::string_view key, bool take_it) {
    const MonoTime now = clock_.now();
    const std::lock_guard lock(mutex_);
    auto found = index_.find(key);
    if (found == index_.end()) {
        if (!take_it) return true;
        if (buckets_.size() >= options_.max_keys) {
            index_.erase(buckets_.back().key);
            buckets_.pop_back();
        }
        buckets_.push_front({std::string(key), options_.burst, now});
        found = index_.emplace(buckets_.front().key, buckets_.begin()).first;
    } else {
        buckets_.splice(buckets_.begin(), buckets_, found->second);
    }
    Bucket& bucket = *found->second;
    const double passed = std::chrono::duration<double>(now - bucket.at).count();
    bucket.left = std::min(options_.burst, bucket.left + passed * options_.per_second);
    bucket.at = now;
    const bool good = bucket.left >= 1;
    if (!good) ++refused_;
    if (good && take_it) bucket.left -= 1;
    return good;
}

size_t RateLimit::keys() const {
    const std::lock_guard lock(mutex_);
    return buckets_.size();
}

uint64_t RateLimit::refused() const {
    const std::lock_guard lock(mutex_);
    return refused_;
}

// "ipv4:10.0.0.1:4711", "ipv6:[2001:db8::1]:4711" (gRPC 1.51 escapes the brackets), "unix:/path".
std::string peer_key(std::string_view peer) {
    std::string text(peer);
    for (const auto& [from, to] : {std::pair{"%5B", "["}, std::pair{"%5D", "]"}})
        if (const size_t at = text.find(from); at != std::string::npos) text.replace(at, 3, to);
    if (text.starts_with("ipv4:")) return text.substr(0, text.rfind(':'));
    if (!text.starts_with("ipv6:[")) return text;
    const std::string inside = text.substr(6, text.find(']') - 6);
    const auto ip = IpAddr::parse(inside.substr(0, inside.find('%')));
    if (!ip) return text;
    if (ip->is_v4()) return "ipv4:" + ip->to_string();
    std::array<uint8_t, 16> bytes{};
    ip->to_bytes(bytes);
    return "ipv6:" + to_hex(std::span<const uint8_t>(bytes).first(8));
}

}  // namespace warren::base
