// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/proxy.h"

#include "base/log.h"
#include "ztunnel/succession.h"

#include <algorithm>
#include <random>
#include <thread>

namespace warren::ztunnel {

namespace {
const base::log::Area kLog("proxy");
}

Proxy::Proxy(const ProxySettings& settings, CertStore& certs)
    : settings_(settings),
      certs_(certs),
      feed_({[this](const policy::Batch& batch) { follow_identities(batch); },
             [this](const std::shared_ptr<const policy::Snapshot>& snapshot) { publish(snapshot); }},
            settings.node_name) {}

base::Result<std::unique_ptr<Proxy>> Proxy::start(const WorkerShared& shared, size_t threads) {
    std::unique_ptr<Proxy> proxy(new Proxy(shared.settings, shared.certs));
    std::random_device seed;
    for (size_t i = 0; i < std::max<size_t>(threads, 1); ++i) {
        const uint64_t s = (static_cast<uint64_t>(seed()) << 32) | seed();
        WorkerShared own = shared;
        if (i > 0) own.dns = nullptr;
        proxy->workers_.push_back(TRY(Worker::start(own, proxy->snapshot(), s)));
    }
    shared.certs.on_trust_change([p = proxy.get()](const policy::Identity&) {
        for (auto& worker : p->workers_) worker->trust_changed();
    });
    return proxy;
}

Proxy::~Proxy() {
    certs_.on_trust_change({});
    workers_.clear();
}

void Proxy::publish(const std::shared_ptr<const policy::Snapshot>& snapshot) {
    if (published_ == snapshot) return;
    published_ = snapshot;
    for (auto& worker : workers_) worker->set_snapshot(snapshot);
}

// Certificates of this node's workloads are fetched before a connection needs them, and dropped with the last workload (contract 2.5).
void Proxy::follow_identities(const policy::Batch& batch) {
    if (!settings_.follow_identities || settings_.node_name.empty()) return;
    std::vector<policy::Identity> left;
    auto forget = [&](const std::string& uid) {
        auto found = local_identities_.find(uid);
        if (found == local_identities_.end()) return;
        left.push_back(found->second);
        local_identities_.erase(found);
    };
    for (const policy::WorkloadRef& w : batch.workloads) {
        const std::string uid = w->uid.str();
        forget(uid);
        if (w->node != settings_.node_name) continue;
        local_identities_[uid] = w->identity();
        if (w->tunnel_protocol == policy::TunnelProtocol::Hbone || w->native_tunnel) certs_.prefetch(w->identity());
    }
    for (const std::string& name : batch.removed_addresses) forget(name);
    for (const policy::Identity& identity : left) {
        const bool used =
            std::any_of(local_identities_.begin(), local_identities_.end(), [&](const auto& entry) { return entry.second == identity; });
        if (!used) certs_.forget(identity);
    }
}

base::Result<void> Proxy::start(std::shared_ptr<const PodInfo> pod) {
    for (size_t i = 0; i < workers_.size(); ++i) {
        auto added = workers_[i]->add_pod(pod);
        if (added) continue;
        for (size_t k = 0; k < i; ++k) workers_[k]->remove_pod(pod->uid);
        return std::move(added).error().with("pod " + pod->ns + '/' + pod->name);
    }
    return {};
}

void Proxy::stop(const std::string& uid) {
    for (auto& worker : workers_) worker->remove_pod(uid);
}

// The listeners of all pods on which another tunnel listens too, from the steering to the close.
class Proxy::Handovers {
  public:
    using Clock = std::chrono::steady_clock;

    explicit Handovers(std::vector<std::unique_ptr<Worker>>& workers) : home_(base::Netns::current()) {
        if (!home_) return;
        std::map<std::string, std::pair<std::shared_ptr<const PodInfo>, std::map<ListenPlace, std::vector<base::Fd>>>> all;
        for (auto& worker : workers) {
            auto held = worker->hold_listeners();
            if (!held) return;
            for (HeldListener& one : *held) {
                auto& [pod, places] = all[one.pod->uid];
                pod = one.pod;
                const ListenPlace place = ListenPlace::of(one.fd.get());
                places[place].push_back(std::move(one.fd));
            }
        }
        for (auto& [uid, value] : all) {
            auto& [pod, places] = value;
            PodHandover next{pod, {}, {}};
            const auto steered = inside(next, [&] { return steer(next, std::move(places)); });
            if (!steered)
                WARREN_LOG(kLog, base::log::Level::Warn, "connections cannot be led to the successor", {"pod", pod->name},
                           {"error", steered.error().message()});
            if (!next.handovers.empty()) open_.push_back(std::move(next));
        }
    }
    // Handshakes that had begun end at the workers, which go on accepting, or at the deadline: what is not asked by then is not waited for.
    void settle(Clock::time_point deadline) {
        if (open_.empty()) return;
        std::this_thread::sleep_for(kSteered);
        for (PodHandover& one : open_) {
            if (Clock::now() >= deadline) return;
            auto now = inside(one, half_open);
            if (now) one.waiting = std::move(*now);
        }
        auto settled = [&](PodHandover& one) {
            if (one.waiting.empty()) return true;
            if (Clock::now() >= deadline) return false;
            const auto now = inside(one, half_open);
            if (!now) return true;
            std::erase_if(one.waiting, [&](const base::SockAddr& peer) { return !now->contains(peer); });
            return one.waiting.empty();
        };
        while (!std::all_of(open_.begin(), open_.end(), settled) && Clock::now() < deadline) std::this_thread::sleep_for(kSteered);
    }
    void finish() {
        for (PodHandover& one : open_)
            for (Handover& handover : one.handovers) handover.finish();
    }
    [[nodiscard]] size_t size() const {
        size_t n = 0;
        for (const PodHandover& one : open_) n += one.handovers.size();
        return n;
    }

  private:
    // A SYN that had chosen its listener before the steering is a half-open request well within this.
    static constexpr auto kSteered = std::chrono::milliseconds(20);
    struct PodHandover {
        std::shared_ptr<const PodInfo> pod;
        std::vector<Handover> handovers;
        std::set<base::SockAddr> waiting;  // handshakes that had begun
    };
    static base::Result<void> steer(PodHandover& one, std::map<ListenPlace, std::vector<base::Fd>> places) {
        const auto all = TRY(listeners());
        for (auto& [place, fds] : places) {
            Handover handover(place, std::move(fds));
            const auto found = all.find(place);
            if (TRY(handover.steer(found == all.end() ? 0 : found->second))) one.handovers.push_back(std::move(handover));
        }
        return {};
    }
    template <class Make>
    auto inside(const PodHandover& one, Make&& make) -> decltype(make()) {
        if (!one.pod->netns) return make();
        return base::in_netns(*one.pod->netns, *home_, std::forward<Make>(make));
    }
    base::Result<base::Netns> home_;
    std::vector<PodHandover> open_;
};

bool Proxy::drain(std::chrono::steady_clock::time_point deadline) {
    // A lost SYN-ACK is sent again after one second and after three; whoever needs longer has mostly gone away.
    constexpr auto kHalfOpenPatience = std::chrono::milliseconds(3'200);
    Handovers handovers(workers_);
    if (handovers.size() > 0) WARREN_LOG(kLog, base::log::Level::Info, "a successor takes over", {"listeners", handovers.size()});
    const auto now = std::chrono::steady_clock::now();
    handovers.settle(std::min(now + kHalfOpenPatience, now + (deadline - now) / 2));
    for (auto& worker : workers_) worker->drain();
    handovers.finish();
    auto idle = [&] { return std::all_of(workers_.begin(), workers_.end(), [](const auto& w) { return w->idle(); }); };
    while (!idle() && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const bool finished = idle();
    for (auto& worker : workers_) worker->cut_all(std::string(kDrained));
    return finished;
}

std::vector<WorkerLoad> Proxy::loads() const {
    std::vector<WorkerLoad> out;
    for (const auto& worker : workers_) out.push_back(worker->load());
    return out;
}

}  // namespace warren::ztunnel
