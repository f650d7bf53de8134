// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/admission.h"

namespace warren::xds {

namespace {

base::Error exhausted(uint64_t& counter, std::string detail) {
    ++counter;
    return base::Error{base::Errc::Exhausted, 0, "", std::move(detail)};
}

}  // namespace

Admission::Admission(Limits limits, const base::Clock& clock)
    : limits_(limits),
      peer_rate_({limits.peer_per_second, limits.peer_at_once, limits.max_peers}, clock),
      rate_({static_cast<double>(limits.per_second), static_cast<double>(limits.per_second), 1}, clock) {}

base::Result<void> Admission::enter(const Peer& peer) {
    const std::lock_guard lock(mutex_);
    if (!peer.address.empty()) {
        if (!peer_rate_.take(peer.identity.empty() ? peer.address : peer.identity))
            return exhausted(stats_.peer_rate, "too many new streams of this peer; try later");
        const auto known = peers_.find(peer.address);
        if (known != peers_.end() && known->second >= limits_.per_peer)
            return exhausted(stats_.peer_streams, "this address has its " + std::to_string(limits_.per_peer) + " streams");
    }
    if (streams_ >= limits_.streams)
        return exhausted(stats_.streams, "the server has its " + std::to_string(limits_.streams) + " streams; try later");
    if (!rate_.take("all"))
        return exhausted(stats_.rate, "more than " + std::to_string(limits_.per_second) + " new streams a second; try later");
    ++streams_;
    if (!peer.address.empty()) ++peers_[std::string(peer.address)];
    return {};
}

void Admission::leave(std::string_view address) {
    const std::lock_guard lock(mutex_);
    --streams_;
    const auto peer = peers_.find(address);
    if (peer != peers_.end() && --peer->second == 0) peers_.erase(peer);
}

Admission::Stats Admission::stats() const {
    const std::lock_guard lock(mutex_);
    return stats_;
}

std::string peer_key(std::string_view peer) {
    if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return {};
    return base::peer_key(peer);
}

}  // namespace warren::xds
