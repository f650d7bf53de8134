// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tunnel_pool.h"

#include "ztunnel/error_texts.h"
#include "ztunnel/pod_proxy.h"

#include <algorithm>
#include <cerrno>

namespace warren::ztunnel {

// One tunnel of a key.
class TunnelPool::Pooled final : public TunnelOwner {
  public:
    // Holds a descriptor of the pod's, taken before.
    Pooled(TunnelPool& pool, const TunnelKey& key) : pool_(pool), key_(key), idle_(base::Timer::of<&Pooled::on_idle>(*this)) {}
    ~Pooled() { pool_.pod_.use.give_descriptor(); }

    [[nodiscard]] bool has_room(uint32_t most) const {
        return usable_ && tunnel_->stage() == Tunnel::Stage::Open &&
               tunnel_->h2().active_streams() < std::min<size_t>(most, tunnel_->peer_stream_limit());
    }
    void arm_idle() { pool_.pod_.worker().loop.arm(idle_, pool_.pod_.worker().settings.pool_idle); }

    TunnelPool& pool_;
    TunnelKey key_;
    Tunnel* tunnel_ = nullptr;
    bool usable_ = false;
    bool opened_ = false;

  private:
    void on_tunnel_open(Tunnel& tunnel) override {
        usable_ = opened_ = true;
        arm_idle();
        pool_.settle(key_, &tunnel);
    }
    H2Stream* on_tunnel_request(Tunnel& tunnel, int32_t id, const H2Request&) override {
        tunnel.h2().refuse(id, 503);  // a server does not open streams; the session refuses it anyhow
        return nullptr;
    }
    void on_tunnel_goaway(Tunnel&) override { usable_ = false; }
    void on_tunnel_room(Tunnel&) override { arm_idle(); }
    void on_tunnel_gone(Tunnel&, const base::Error* why) override { pool_.gone(*this, why); }
    void on_idle() {
        if (tunnel_->h2().active_streams() > 0) return arm_idle();
        usable_ = false;
        tunnel_->drain();
    }
    base::Timer idle_;
};

struct TunnelPool::Entry {
    std::vector<std::unique_ptr<Pooled>> tunnels;
    base::LinkList<TunnelWaiter> waiters;
    bool dialling = false;
};

TunnelPool::TunnelPool(PodProxy& pod) : pod_(pod) {}

TunnelPool::~TunnelPool() {
    *alive_ = false;
    close_all(std::string(kPodGone));
}

Tunnel* TunnelPool::with_room(Entry& entry, Choice choice) {
    const uint32_t most = pod_.worker().settings.pool_streams;
    Tunnel* least = nullptr;
    for (auto& pooled : entry.tunnels) {
        if (!pooled->has_room(most)) continue;
        if (!pooled->tunnel_->saturated()) return pooled->tunnel_;
        if (least == nullptr || pooled->tunnel_->h2().active_streams() < least->h2().active_streams()) least = pooled->tunnel_;
    }
    return choice == Choice::Any || entry.tunnels.size() >= kMostBesideBulk ? least : nullptr;
}

Tunnel* TunnelPool::get(const TunnelKey& key, TunnelWaiter& waiter) {
    auto& slot = entries_[key];
    if (!slot) slot = std::make_unique<Entry>();
    if (Tunnel* tunnel = with_room(*slot, Choice::Best)) return tunnel;
    slot->waiters.push_back(waiter);
    if (!slot->dialling) dial(key, *slot);
    return nullptr;
}

void TunnelPool::dial(const TunnelKey& key, Entry& entry) {
    entry.dialling = true;
    ++dials_;
    WorkerContext& worker = pod_.worker();
    // Always through the loop's mailbox, even when the certificate is there: nobody is called back from inside get().
    worker.certs.request(key.own, CertPriority::RealTime, worker.loop,
                         [this, key, alive = alive_](base::Result<std::shared_ptr<const TlsContext>> context) {
                             if (!*alive) return;
                             if (!context)
                                 return settle(key, base::Error{context.error().code, 0, kOwnCertificate, context.error().message()});
                             dial_with(key, std::move(*context));
                         });
}

void TunnelPool::dial_with(const TunnelKey& key, std::shared_ptr<const TlsContext> context) {
    WorkerContext& worker = pod_.worker();
    auto begin = [&]() -> base::Result<Tunnel*> {
        auto pooled = std::make_unique<Pooled>(*this, key);
        base::Fd fd = TRY(pod_.sockets().take(key.destination.family()));
        TRY(begin_connect(fd.get(), key.destination));
        auto tls = TlsSession::create(std::move(context), TlsRole::Client, key.expected, worker.chunks, worker.settings.records);
        if (!tls) return base::Error{tls.error().code, 0, kTlsConfiguration, tls.error().message()};
        pooled->tunnel_ = TRY(Tunnel::start(worker.loop, worker.chunks, *pooled, std::move(fd), H2Role::Client, std::move(*tls),
                                            worker.settings.outbound_tunnel));
        Tunnel* tunnel = pooled->tunnel_;
        entries_[key]->tunnels.push_back(std::move(pooled));
        return tunnel;
    };
    if (const auto limit = pod_.use.take_descriptor())
        return settle(key, base::Error{base::Errc::Exhausted, 0, "", std::string(describe(*limit))});
    if (auto started = begin(); !started) settle(key, std::move(started).error());
}

// The dial of a key ended: everybody who waits hears of it. More than one tunnel's worth of waiters dials again.
void TunnelPool::settle(const TunnelKey& key, base::Result<Tunnel*> outcome) {
    auto found = entries_.find(key);
    if (found == entries_.end()) return;
    Entry& entry = *found->second;
    entry.dialling = false;
    base::LinkList<TunnelWaiter> waiting;
    waiting.take(entry.waiters);
    const TunnelKey copy = key;
    while (TunnelWaiter* waiter = waiting.pop_front()) {
        if (Tunnel* tunnel = with_room(entry, outcome ? Choice::Best : Choice::Any)) {
            waiter->on_tunnel(tunnel);
            continue;
        }
        if (!outcome) {
            waiter->on_tunnel(outcome.error());
            continue;
        }
        entry.waiters.push_back(*waiter);
    }
    if (!entry.waiters.empty() && !entry.dialling) dial(copy, entry);
}

void TunnelPool::gone(Pooled& pooled, const base::Error* why) {
    const TunnelKey key = pooled.key_;
    const bool opened = pooled.opened_;
    auto found = entries_.find(key);
    if (found == entries_.end()) return;
    Entry& entry = *found->second;
    std::erase_if(entry.tunnels, [&](const auto& p) { return p.get() == &pooled; });
    if (!opened) {
        if (why != nullptr && why->os == EKEYREVOKED) pod_.worker().traffic.crl_rejection(Direction::Outbound);
        settle(key, why != nullptr ? *why : base::Error{base::Errc::Unavailable, 0, "", "connection closed by the peer"});
        found = entries_.find(key);
        if (found == entries_.end()) return;
    }
    Entry& left = *found->second;
    if (left.tunnels.empty() && left.waiters.empty() && !left.dialling) entries_.erase(found);
}

void TunnelPool::close_all(const std::string& why) {
    std::vector<Tunnel*> all;
    for (auto& [key, entry] : entries_)
        for (auto& pooled : entry->tunnels) all.push_back(pooled->tunnel_);
    for (Tunnel* tunnel : all) tunnel->abort(base::Error{base::Errc::Unavailable, 0, "", why});
    entries_.clear();
}

void TunnelPool::on_trust_change(const TlsContext& context) {
    std::vector<std::pair<Tunnel*, base::Error>> bad;
    for (auto& [key, entry] : entries_) {
        for (auto& pooled : entry->tunnels) {
            if (!pooled->opened_) continue;
            auto fine = context.recheck(pooled->tunnel_->peer().chain_der, pooled->tunnel_->established_at());
            if (!fine) bad.emplace_back(pooled->tunnel_, std::move(fine).error());
        }
    }
    for (auto& [tunnel, why] : bad) tunnel->abort_revoked(std::move(why).with("peer certificate"));
}

size_t TunnelPool::tunnels() const {
    size_t n = 0;
    for (const auto& [key, entry] : entries_) n += entry->tunnels.size();
    return n;
}

}  // namespace warren::ztunnel
