// SPDX-License-Identifier: Apache-2.0
// DnsServer: the DNS proxy of one pod (data-plane contract 8.7): listens on the loopback addresses of the pod's namespace, answers names of
// the mesh from the current snapshot, forwards everything else. One per pod, on one worker's loop: queries are too few to spread.
//
// All calls on the loop's thread. Destroying it ends everything at once; clients see closed connections and ask again.
#pragma once

#include "base/loop.h"
#include "policy/random.h"
#include "policy/snapshot.h"
#include "ztunnel/dns_forwarder.h"
#include "ztunnel/dns_metrics.h"
#include "ztunnel/dns_settings.h"
#include "ztunnel/dns_tcp_client.h"

#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace warren::ztunnel {

// What the server asks of its pod.
class DnsPod {
  public:
    // The pod's own record in the current snapshot; null while unknown.
    virtual const policy::Workload* local() = 0;
    virtual const policy::Snapshot& snapshot() = 0;
    // Serves for the record while that has not come, if anything may (stand_in.h).
    virtual policy::WorkloadRef stand_in() { return {}; }

  protected:
    ~DnsPod() = default;
};

// All borrowed for as long as the server lives.
struct DnsServerContext {
    base::Loop& loop;
    policy::Random& random;
    DnsPod& pod;
    SocketPlace place;
    const DnsSettings& settings;
    const DnsMetrics& metrics;
};

class DnsServer final : private DnsTcpClient::Owner {
  public:
    // Binds; one address that fails fails all (contract 8.4).
    static base::Result<std::unique_ptr<DnsServer>> start(const DnsServerContext& context, const ResolvConf& resolv_conf);
    ~DnsServer();

    // The snapshot or the pod's record changed: queries that waited for the record go on.
    void on_mesh_change();
    // Duplicates of the sockets, so that new queries can be led to a successor before drain() (succession.h).
    [[nodiscard]] base::Result<std::vector<base::Fd>> hold_sockets() const;
    // What has arrived is taken, then nothing new. Whoever has asked is answered, and UDP sockets close with the last answer; TCP clients
    // that were answered are closed, those that have just come may ask once.
    void drain();
    [[nodiscard]] bool idle() const { return pending_count_ == 0 && clients_.empty(); }

    [[nodiscard]] size_t pending() const { return pending_count_; }
    [[nodiscard]] size_t tcp_clients() const { return clients_.size(); }
    [[nodiscard]] std::vector<base::SockAddr> addresses(bool tcp) const;

  private:
    class UdpListener;
    class TcpListener;
    class Pending;
    // Where an answer goes. A TCP client goes by its number: it may be gone when the answer comes.
    struct Origin {
        uint64_t client = 0;              // TCP; 0: UDP
        UdpListener* listener = nullptr;  // UDP
        base::SockAddr peer;
        [[nodiscard]] bool tcp() const { return client != 0; }
    };

    DnsServer(const DnsServerContext& context, const ResolvConf& resolv_conf);
    base::Result<void> listen();
    void on_message(DnsTcpClient& client, dns::Bytes message) override;
    void on_closed(DnsTcpClient& client, bool blocked) override;
    void accepted(base::Fd fd);
    [[nodiscard]] bool own_address(const base::SockAddr& peer) const;

    void handle(const Origin& origin, dns::Bytes message);
    void reply(const Origin& origin, dns::Bytes message);
    void reply_status(const Origin& origin, const dns::Query& query, dns::Rcode rcode, std::string_view result);
    [[nodiscard]] const policy::Workload* source();
    // False: not of the mesh.
    bool answer_locally(const Origin& origin, const dns::Query& query, const policy::Workload& client);
    void answer(Pending& pending, const policy::Workload& client);
    void forward(Pending& pending);
    void finish(Pending& pending, const DnsExchange::Answer& answer);
    void hand_on(const Pending& pending, const DnsExchange::Answer& answer, uint32_t age_s);
    void give_up(Pending& pending);
    void bury(Pending& pending);
    void close_answered();
    void log(const dns::Query& query, std::string_view result, size_t records);

    DnsServerContext context_;
    DnsForwarder forwarder_;
    DnsPodSeries series_;
    std::vector<std::unique_ptr<UdpListener>> udp_;
    std::vector<std::unique_ptr<TcpListener>> tcp_;
    std::unordered_map<uint64_t, std::unique_ptr<DnsTcpClient>> clients_;
    uint64_t last_client_ = 0;
    base::LinkList<Pending> pending_;  // owned
    size_t pending_count_ = 0;
    bool draining_ = false;
};

}  // namespace warren::ztunnel
