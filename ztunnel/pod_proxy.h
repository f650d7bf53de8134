// SPDX-License-Identifier: Apache-2.0
// PodProxy: one pod on one worker: its three listeners, its pool of outbound tunnels and its live connections. Every worker has its own
// of each pod (SO_REUSEPORT spreads accepts), so nothing is shared on the way of a byte. Belongs to the worker's thread.
#pragma once

#include "base/loop.h"
#include "base/netns.h"
#include "policy/random.h"
#include "policy/snapshot.h"
#include "ztunnel/cert_store.h"
#include "ztunnel/chunk.h"
#include "ztunnel/dns_server.h"
#include "ztunnel/handshake_places.h"
#include "ztunnel/host_resolver.h"
#include "ztunnel/on_demand.h"
#include "ztunnel/pod_limits.h"
#include "ztunnel/proxy_settings.h"
#include "ztunnel/socket.h"
#include "ztunnel/stream_relay.h"
#include "ztunnel/traffic.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace warren::ztunnel {

class TunnelPool;

// Who the pod is, as the node agent announced it (contract 8.2). Shared by the workers.
struct PodInfo {
    std::string uid;  // the agent's
    std::string name;
    std::string ns;
    std::string service_account;
    std::optional<base::Netns> netns;  // none: dedicated mode, the process's own
    // The tunnel's own pod: inbound HBONE only, and nobody's source address is kept (contract 4.10).
    bool inbound_only = false;
};

// A listener of a pod, kept open by a duplicate.
struct HeldListener {
    std::shared_ptr<const PodInfo> pod;
    base::Fd fd;
};

// The DNS proxy of a process, as pods need it.
struct DnsService {
    DnsSettings settings;
    ResolvConf resolv_conf;
    DnsMetrics metrics;
};

// What a worker lends to its pods.
struct WorkerContext {
    base::Loop& loop;
    ChunkPool& chunks;
    const ProxySettings& settings;
    CertStore& certs;
    Traffic& traffic;
    policy::Random& random;
    const base::Netns& home;
    std::shared_ptr<const policy::Snapshot> snapshot;  // current; replaced between batches
    const DnsService* dns = nullptr;                   // on one worker only: queries are too few to spread. Null: no DNS proxy here
    HostResolver* resolver = nullptr;                  // of workloads that are hostnames; null: they cannot be reached
    OnDemand* on_demand = nullptr;                     // null: the snapshot is the whole mesh
    HandshakePlaces<WorkerContext> handshakes{};       // of all pods
    size_t handshake_count = 0;
    uint64_t handshakes_refused = 0;
    policy::WorkloadRef neighbour{};  // a record of this node, the one seen last: for stand-ins
};

// A live connection of a pod. The pod tells it of changes; it removes itself when it dies.
class PodConnection : public base::Link<PodConnection> {
  public:
    // The mesh changed: re-judge, or try again what waits for a record.
    virtual void on_mesh_change() = 0;
    // Roots or revocation list changed.
    virtual void on_trust_change() {}
    // Cut now: the pod is leaving or the deadline of the drain has passed.
    virtual void cut(const std::string& why) = 0;
    // Finish what runs, take nothing new.
    virtual void drain() {}
    void leave() { base::LinkList<PodConnection>::remove(*this); }

  protected:
    ~PodConnection() = default;
};

class PodProxy final : private DnsPod {
  public:
    // Binds the listeners; any failure fails the pod whole (contract 8.4).
    static base::Result<std::unique_ptr<PodProxy>> start(WorkerContext& worker, std::shared_ptr<const PodInfo> pod);
    ~PodProxy();
    PodProxy(const PodProxy&) = delete;

    [[nodiscard]] const PodInfo& pod() const { return *pod_; }
    [[nodiscard]] WorkerContext& worker() { return worker_; }
    [[nodiscard]] SocketStock& sockets() { return sockets_; }
    [[nodiscard]] TunnelPool& pool() { return *pool_; }

    // The pod's own record, null while unknown or gone; and the policies that select it, or the last record there was.
    [[nodiscard]] const policy::Workload* local() override;
    [[nodiscard]] const policy::PolicySet& policies();
    // For the source of an outbound connection while no record of the pod has come (stand_in.h); null where that may not be: the mesh knows
    // the client's address as somebody's, the pod had a record once, or nobody but the mesh says who the pod is (dedicated mode).
    [[nodiscard]] policy::WorkloadRef stand_in(base::IpAddr client);
    // May what began with this stand-in go on? No: the record has come and says another identity, or the address is somebody else's.
    [[nodiscard]] bool still_stands(const policy::Workload& stand_in);
    [[nodiscard]] policy::Text network() const { return worker_.settings.network; }
    // Whose address that is, for the record of a connection from it: null while unknown, which a connection does not wait for.
    [[nodiscard]] policy::WorkloadRef source_at(base::IpAddr ip) const;

    // Connections enter here and leave by themselves; what they hold is taken before and given back after.
    void enter(PodConnection& connection) { connections_.push_back(connection); }
    PodUse use;
    HandshakePlaces<PodProxy> handshakes;
    [[nodiscard]] PodCounts counts() const;
    // What waits for slow applications of this pod.
    BufferBudget buffers;

    void on_mesh_change();
    void on_trust_change();
    // Duplicates of the listeners, so that they stay open in the kernel when drain() has closed them here (succession.h).
    [[nodiscard]] base::Result<std::vector<HeldListener>> hold_listeners() const;
    // Close the listeners; connections go on.
    void drain();
    // After drain(): queries are still being answered.
    [[nodiscard]] bool answering() const { return dns_ != nullptr && !dns_->idle(); }
    void cut_all(const std::string& why);
    [[nodiscard]] bool accepting() const { return accepting_; }

  private:
    class Listener;
    PodProxy(WorkerContext& worker, std::shared_ptr<const PodInfo> pod);
    const policy::Snapshot& snapshot() override { return *worker_.snapshot; }
    policy::WorkloadRef stand_in() override;
    [[nodiscard]] bool may_stand_in();
    policy::WorkloadRef made_stand_in(base::IpAddr address);
    void forget_stand_in();
    void refresh();

    WorkerContext& worker_;
    std::shared_ptr<const PodInfo> pod_;
    SocketStock sockets_;
    std::unique_ptr<TunnelPool> pool_;
    std::unique_ptr<DnsServer> dns_;
    std::vector<std::unique_ptr<Listener>> listeners_;
    base::LinkList<PodConnection> connections_;
    // Derived from the snapshot of this version.
    uint64_t seen_version_ = ~uint64_t{0};
    std::shared_ptr<const policy::Snapshot> seen_;
    policy::WorkloadRef local_;
    policy::WorkloadRef judged_as_;  // the last record there was
    std::shared_ptr<const policy::PolicySet> policies_;
    policy::WorkloadRef stand_in_;  // made last
    bool had_record_ = false;
    uint64_t accept_pauses_ = 0, stand_ins_ = 0;
    bool accepting_ = true;
};

}  // namespace warren::ztunnel
