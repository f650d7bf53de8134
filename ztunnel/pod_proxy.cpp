// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/pod_proxy.h"

#include "ztunnel/demand_names.h"
#include "ztunnel/inbound_plaintext.h"
#include "ztunnel/inbound_tunnel.h"
#include "ztunnel/outbound.h"
#include "ztunnel/stand_in.h"
#include "ztunnel/tunnel_pool.h"

#include <sys/epoll.h>

namespace warren::ztunnel {

namespace {
constexpr int kAcceptsPerTurn = 64;  // of one listener, then the other descriptors of the worker have their turn
constexpr int kAcceptQueue = 1024;
constexpr auto kPause = std::chrono::milliseconds(100);
}  // namespace

class PodProxy::Listener final : public base::IoHandler {
  public:
    using OnAccept = void (*)(PodProxy&, Accepted);
    Listener(PodProxy& pod, base::Fd fd, OnAccept on_accept)
        : pod_(pod), fd_(std::move(fd)), on_accept_(on_accept), pause_(base::Timer::of<&Listener::resume>(*this)) {}
    base::Result<void> start() { return pod_.worker_.loop.add(fd_.get(), *this, EPOLLIN); }
    void stop() {
        pod_.worker_.loop.disarm(pause_);
        pod_.worker_.loop.remove(*this);
        fd_.reset();
    }
    [[nodiscard]] base::Result<HeldListener> hold() const { return HeldListener{pod_.pod_, TRY(base::Fd::dup(fd_.get()))}; }
    // What has connected already is taken: closing the socket would reset it.
    void drain() {
        accept_some(kAcceptQueue);
        stop();
    }

  private:
    void on_io(uint32_t) override { accept_some(kAcceptsPerTurn); }
    void accept_some(int most) {
        for (int i = 0; i < most && fd_.valid(); ++i) {
            auto accepted = accept_one(fd_.get());
            if (!accepted) return pause();
            if (!*accepted) return;
            if (const auto limit = pod_.use.take_connection()) {
                const Direction direction = on_accept_ == &Outbound::accept ? Direction::Outbound : Direction::Inbound;
                const base::SockAddr here = local_address((*accepted)->fd.get());
                pod_.worker_.traffic.early_deny(direction, (*accepted)->peer, here, to_string(*limit), describe(*limit));
                reset_on_close((*accepted)->fd.get());
                continue;
            }
            on_accept_(pod_, std::move(**accepted));
        }
    }
    // Out of descriptors or memory: the kernel keeps the connections queued, and asking it without end would take the core as well.
    void pause() {
        pod_.worker_.loop.remove(*this);
        pod_.worker_.loop.arm(pause_, kPause);
        ++pod_.accept_pauses_;
    }
    void resume() {
        if (fd_.valid() && !registered()) (void)start();
    }
    PodProxy& pod_;
    base::Fd fd_;
    OnAccept on_accept_;
    base::Timer pause_;
};

PodProxy::PodProxy(WorkerContext& worker, std::shared_ptr<const PodInfo> pod)
    : use(worker.settings.limits),
      buffers{worker.settings.limits.buffered_bytes_per_pod},
      worker_(worker),
      pod_(std::move(pod)),
      sockets_(pod_->netns ? &*pod_->netns : nullptr, worker.home, worker.settings.sockets),
      pool_(std::make_unique<TunnelPool>(*this)) {}

PodProxy::~PodProxy() {
    cut_all(std::string(kPodGone));
    forget_stand_in();
}

base::Result<std::unique_ptr<PodProxy>> PodProxy::start(WorkerContext& worker, std::shared_ptr<const PodInfo> pod) {
    std::unique_ptr<PodProxy> proxy(new PodProxy(worker, std::move(pod)));
    const auto& settings = worker.settings;
    if (worker.dns != nullptr && !proxy->pod_->inbound_only) {
        const SocketPlace place{proxy->pod_->netns ? &*proxy->pod_->netns : nullptr, &worker.home};
        proxy->dns_ = TRY(DnsServer::start({worker.loop, worker.random, *proxy, place, worker.dns->settings, worker.dns->metrics},
                                           worker.dns->resolv_conf));
    }
    if (!settings.tcp) return proxy;
    const base::IpAddr any = settings.sockets.ipv6 ? base::IpAddr{} : base::IpAddr::v4(0);
    struct Wanted {
        uint16_t port;
        Listener::OnAccept on_accept;
    };
    const Wanted wanted[] = {{kInboundHbonePort, &InboundTunnel::accept},
                             {kInboundPlaintextPort, &InboundPlaintext::accept},
                             {kOutboundPort, &Outbound::accept}};
    for (const Wanted& w : wanted) {
        if (proxy->pod_->inbound_only && w.port != kInboundHbonePort) continue;
        // Keepalive is not set on 15008 (contract 6.1 step 1): tunnels have their own PING.
        const ListenAt at{{any, w.port}, settings.transparent, kAcceptQueue, w.port != kInboundHbonePort, w.port == kOutboundPort};
        auto make = [&] { return listen_tcp(at, settings.sockets); };
        base::Fd fd = TRY(proxy->pod_->netns ? base::in_netns(*proxy->pod_->netns, worker.home, make) : make());
        proxy->listeners_.push_back(std::make_unique<Listener>(*proxy, std::move(fd), w.on_accept));
    }
    for (auto& listener : proxy->listeners_) TRY(listener->start());
    return proxy;
}

void PodProxy::refresh() {
    if (seen_ == worker_.snapshot) return;
    seen_ = worker_.snapshot;
    const policy::Workload* found = seen_->local_workload(pod_->ns, pod_->name, pod_->service_account, worker_.settings.node_name);
    local_ = policy::WorkloadRef(found);
    if (found != nullptr) judged_as_ = local_;
    // Of a pod whose record is gone, what lives on is judged by the record it began with (contract 6.8); nothing new begins.
    policies_ = judged_as_ ? seen_->policies_for(*judged_as_) : nullptr;
    if (found == nullptr) return;
    had_record_ = true;
    worker_.neighbour = local_;
}

const policy::Workload* PodProxy::local() {
    refresh();
    return local_.get();
}

const policy::PolicySet& PodProxy::policies() {
    refresh();
    // Without a record nothing may be decided: an empty set with a missing name denies everything.
    static const policy::PolicySet unknown({}, {policy::Text("(the workload's record has not arrived)")});
    return policies_ ? *policies_ : unknown;
}

// A record that was there and is gone is the mesh's word that the pod is: only what has not come yet is stood in for.
bool PodProxy::may_stand_in() {
    return local() == nullptr && !had_record_ && pod_->netns && !pod_->inbound_only && !pod_->service_account.empty() &&
           worker_.settings.record_wait < worker_.settings.workload_wait;
}

policy::WorkloadRef PodProxy::stand_in(base::IpAddr client) {
    if (!may_stand_in() || source_at(client)) return {};
    return stand_in_ && stand_in_->has_address(client) ? ++stand_ins_, stand_in_ : made_stand_in(client);
}

// Of a DNS query, which comes from loopback: what is answered depends on the namespace and the network alone.
policy::WorkloadRef PodProxy::stand_in() {
    if (!may_stand_in()) return {};
    return stand_in_ ? ++stand_ins_, stand_in_ : made_stand_in(base::IpAddr::v4(0x7f000001));
}

policy::WorkloadRef PodProxy::made_stand_in(base::IpAddr address) {
    ++stand_ins_;
    const ProxySettings& settings = worker_.settings;
    stand_in_ = make_stand_in({.ns = pod_->ns,
                               .name = pod_->name,
                               .service_account = pod_->service_account,
                               .trust_domain = settings.trust_domain,
                               .cluster_id = settings.cluster_id,
                               .node = settings.node_name,
                               .network = settings.network,
                               .neighbour = worker_.neighbour.get()},
                              address);
    return stand_in_;
}

bool PodProxy::still_stands(const policy::Workload& stand_in) {
    if (const policy::Workload* record = local()) return record->identity() == stand_in.identity();
    return !source_at(stand_in.addresses.front());
}

// With a record the certificate goes when the record does (proxy.cpp); one that never came takes nothing along.
void PodProxy::forget_stand_in() {
    if (!stand_in_ || had_record_) return;
    const policy::Identity identity = stand_in_->identity();
    bool used = false;
    worker_.snapshot->each_workload(
        [&](const policy::Workload& w) { used = used || (w.node.view() == worker_.settings.node_name && w.identity() == identity); });
    if (!used) worker_.certs.forget(identity);
}

PodCounts PodProxy::counts() const { return {use.refused(), accept_pauses_, buffers.reached, pool_->dials(), stand_ins_}; }

policy::WorkloadRef PodProxy::source_at(base::IpAddr ip) const {
    const policy::NetworkAddress address{network(), ip};
    const policy::Workload* found = worker_.snapshot->workload(address);
    if (found == nullptr && worker_.on_demand != nullptr) worker_.on_demand->hint(demand_name(address));
    return policy::WorkloadRef(found);
}

void PodProxy::on_mesh_change() {
    const policy::WorkloadRef local_before = local_;
    const std::shared_ptr<const policy::PolicySet> policies_before = policies_;
    refresh();
    if (dns_) dns_->on_mesh_change();
    // All that a connection is judged by; most changes of a large mesh are about others.
    if (local_ != nullptr && local_ == local_before && policies_ == policies_before) return;
    base::LinkList<PodConnection> all;
    all.take(connections_);
    // A connection that is cut leaves the list by itself, so each one is moved back before it is asked.
    while (PodConnection* connection = all.pop_front()) {
        connections_.push_back(*connection);
        connection->on_mesh_change();
    }
}

void PodProxy::on_trust_change() {
    if (const policy::Workload* who = local() != nullptr ? local() : stand_in_.get())
        if (const auto context = worker_.certs.current(who->identity())) pool_->on_trust_change(*context);
    base::LinkList<PodConnection> all;
    all.take(connections_);
    while (PodConnection* connection = all.pop_front()) {
        connections_.push_back(*connection);
        connection->on_trust_change();
    }
}

base::Result<std::vector<HeldListener>> PodProxy::hold_listeners() const {
    std::vector<HeldListener> out;
    if (!accepting_) return out;
    for (const auto& listener : listeners_) out.push_back(TRY(listener->hold()));
    if (dns_)
        for (base::Fd& fd : TRY(dns_->hold_sockets())) out.push_back({pod_, std::move(fd)});
    return out;
}

void PodProxy::drain() {
    if (!accepting_) return;
    accepting_ = false;
    for (auto& listener : listeners_) listener->drain();
    if (dns_) dns_->drain();
    base::LinkList<PodConnection> all;
    all.take(connections_);
    while (PodConnection* connection = all.pop_front()) {
        connections_.push_back(*connection);
        connection->drain();
    }
}

void PodProxy::cut_all(const std::string& why) {
    for (auto& listener : listeners_) listener->stop();
    accepting_ = false;
    while (PodConnection* connection = connections_.pop_front()) connection->cut(why);
    pool_->close_all(why);
}

}  // namespace warren::ztunnel
