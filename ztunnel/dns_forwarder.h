// SPDX-License-Identifier: Apache-2.0
// Forwarding of what the mesh does not know (data-plane contract 8.7): the client's query as it came, under a random id of our own and from
// a fresh source port, to the name servers of a resolv.conf; answers checked against the question; kept as long as their TTLs allow.
//
// Written here rather than with c-ares: a forwarder hands messages on as they are (any type, EDNS, DNSSEC), while c-ares 1.18 writes its
// own queries, drops what it does not ask for and keeps one socket per server, whose source port would hardly ever change.
//
// Sockets are made in the pod's namespace with the mark. Belongs to the pod's loop; never blocks it. Outlives its exchanges.
#pragma once

#include "base/loop.h"
#include "ztunnel/dns_cache.h"
#include "ztunnel/dns_message.h"
#include "ztunnel/dns_metrics.h"
#include "ztunnel/dns_settings.h"
#include "ztunnel/dns_socket.h"

#include <array>
#include <memory>
#include <optional>
#include <vector>

namespace warren::ztunnel {

struct DnsForwarderContext {
    base::Loop& loop;
    SocketPlace place;
    const DnsSettings& settings;
    const DnsMetrics& metrics;
};

class DnsForwarder {
  public:
    DnsForwarder(const DnsForwarderContext& context, std::vector<base::SockAddr> servers)
        : context_(context), servers_(std::move(servers)), cache_(context.settings.limits.cache_entries) {}

    [[nodiscard]] std::optional<DnsCache::Hit> cached(const dns::Query& query) {
        return cache_.find(DnsCache::key_of(query), context_.loop.now());
    }

    // -- for exchanges
    [[nodiscard]] const DnsForwarderContext& context() const { return context_; }
    [[nodiscard]] const std::vector<base::SockAddr>& servers() const { return servers_; }
    [[nodiscard]] size_t first_server() const { return first_; }
    // It did not answer in time: the next queries begin with the one behind it, or each of them would wait for it first.
    void server_silent(size_t server) {
        if (server == first_) first_ = (first_ + 1) % servers_.size();
    }
    // Unpredictable (RFC 5452); none: the kernel has no randomness to give.
    [[nodiscard]] std::optional<uint16_t> random_id();
    void keep(const std::string& key, dns::Bytes message, uint32_t ttl_s) { cache_.keep(key, message, ttl_s, context_.loop.now()); }

  private:
    DnsForwarderContext context_;
    std::vector<base::SockAddr> servers_;
    size_t first_ = 0;
    DnsCache cache_;
    std::array<uint16_t, 64> ids_{};  // 128 bytes of randomness at a time
    size_t ids_left_ = 0;
};

// One query on its way: over UDP, over TCP where the answer was truncated, with the next server where one fails or stays silent.
class DnsExchange final : public base::IoHandler {
  public:
    struct Answer {
        dns::Bytes message;  // for dns::hand_on(); empty: there is only the code. Borrowed during the call
        uint8_t rcode = static_cast<uint8_t>(dns::Rcode::ServFail);
        uint16_t records = 0;  // in its answer section
    };
    class Waiter {
      public:
        // Once, and never from inside start(). The exchange has stopped; it may be buried here, not destroyed.
        virtual void on_answer(const Answer& answer) = 0;

      protected:
        ~Waiter() = default;
    };
    // Both borrowed until stop() or the answer. message is the whole query, which `query` was read from.
    DnsExchange(DnsForwarder& forwarder, const dns::Query& query, dns::Bytes message, Waiter& waiter);
    void start();
    void stop();

  private:
    enum class Stage : uint8_t { Udp, TcpConnect, TcpSend, TcpReceive, Stopped };
    void on_io(uint32_t epoll_events) override;
    void on_timer();
    void attempt();  // with the current server, or the next ones if it fails at once
    [[nodiscard]] bool begin_udp();
    [[nodiscard]] bool begin_tcp();
    void next_server();
    void receive_udp();
    void send_tcp();
    void receive_tcp();
    // False: not the answer.
    [[nodiscard]] bool consider(dns::Bytes message);
    void finish(const Answer& answer);
    void close_socket();
    [[nodiscard]] base::Loop& loop() { return forwarder_.context().loop; }

    DnsForwarder& forwarder_;
    Waiter& waiter_;
    base::Timer timer_;
    base::Fd fd_;
    Stage stage_ = Stage::Stopped;
    bool answer_due_ = false;  // start() failed at once: the timer brings the answer
    uint16_t id_ = 0;
    size_t server_ = 0;
    size_t tries_left_ = 0;
    size_t strangers_ = 0;         // datagrams of this try that were not the answer
    std::vector<uint8_t> framed_;  // the query behind its length
    size_t question_bytes_ = 0;
    size_t sent_ = 0;
    dns::Deframer in_{dns::kMaxMessage};
    std::string cache_key_;
    // An error code of one server, while another may do better.
    std::vector<uint8_t> refusal_;
    Answer refused_;
};

}  // namespace warren::ztunnel
