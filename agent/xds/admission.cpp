// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/admission.h"

#include <algorithm>
#include <chrono>

namespace warren::xds {

namespace {

base::Error exhausted(std::string detail) { return base::Error{base::Errc::Exhausted, 0, "", std::move(detail)}; }

}  // namespace

base::Result<void> Admission::enter(std::string_view key, base::MonoTime now) {
    const std::lock_guard lock(mutex_);
    if (streams_ >= limits_.streams) return exhausted("the server has its " + std::to_string(limits_.streams) + " streams; try later");
    const auto peer = peers_.find(key);
    if (!key.empty() && peer != peers_.end() && peer->second >= limits_.per_peer)
        return exhausted("this address has its " + std::to_string(limits_.per_peer) + " streams");
    const std::chrono::duration<double> passed = filled_ == base::MonoTime{} ? base::MonoTime::duration{} : now - filled_;
    filled_ = now;
    tokens_ = std::min<double>(limits_.per_second, tokens_ + passed.count() * limits_.per_second);
    if (tokens_ < 1) return exhausted("more than " + std::to_string(limits_.per_second) + " new streams a second; try later");
    tokens_ -= 1;
    ++streams_;
    if (!key.empty()) ++peers_[std::string(key)];
    return {};
}

void Admission::leave(std::string_view key) {
    const std::lock_guard lock(mutex_);
    --streams_;
    const auto peer = peers_.find(key);
    if (peer != peers_.end() && --peer->second == 0) peers_.erase(peer);
}

std::string peer_key(std::string_view peer) {
    if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return {};
    return std::string(peer.substr(0, peer.rfind(':')));
}

}  // namespace warren::xds
