// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_server.h"

#include "base/bytes.h"
#include "base/log.h"

#include <algorithm>
#include <array>
#include <chrono>

#include <sys/epoll.h>

namespace warren::ztunnel {

namespace {

const base::log::Area kDns("dns");

constexpr int kMessagesPerTurn = 64;  // of one listener, then the worker's other descriptors have their turn
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr int kBacklog = 128;      // contract 8.4
constexpr int kMostQueued = 4096;  // datagrams: more than a socket's buffer of the usual 208 KiB holds

std::vector<base::SockAddr> listen_addresses(const DnsSettings& settings) {
    const uint16_t port = settings.listen.port;
    if (settings.listen.ip) return {{*settings.listen.ip, port}};
    std::vector<base::SockAddr> list{{base::IpAddr::v4(0x7f000001), port}};
    if (settings.sockets.ipv6 && loopback_has_ipv6()) list.push_back({base::IpAddr::from_number(0, 1), port});
    return list;
}

}  // namespace

class DnsServer::UdpListener final : public base::IoHandler {
  public:
    UdpListener(DnsServer& server, base::Fd fd) : server_(server), fd_(std::move(fd)), address_(local_address(fd_.get())) {}
    base::Result<void> start() { return server_.context_.loop.add(fd_.get(), *this, EPOLLIN); }
    void stop() {
        server_.context_.loop.remove(*this);
        fd_.reset();
    }
    [[nodiscard]] base::Result<base::Fd> hold() const { return base::Fd::dup(fd_.get()); }
    // Reads what has arrived, then nothing more; answers still leave.
    void drain() {
        read_some(kMostQueued);
        if (fd_.valid()) server_.context_.loop.remove(*this);
    }
    bool send(dns::Bytes message, const base::SockAddr& to) { return fd_.valid() && send_to(fd_.get(), message, to, address_.family()); }
    [[nodiscard]] const base::SockAddr& address() const { return address_; }
    size_t waiting = 0;  // queries of its own that are not answered

  private:
    void on_io(uint32_t) override { read_some(kMessagesPerTurn); }
    void read_some(int most) {
        std::array<uint8_t, DnsTcpClient::kMaxQuery> space;
        for (int i = 0; i < most && fd_.valid(); ++i) {
            const auto datagram = receive(fd_.get(), space);
            if (!datagram || !*datagram) return;
            // A process of the pod may forge our own address as its source: an answer to ourselves would be answered for ever.
            if (server_.own_address((*datagram)->from)) {
                server_.context_.metrics.malformed->add();
                continue;
            }
            const size_t bytes = (*datagram)->cut ? dns::kHeaderBytes : (*datagram)->bytes;  // the head alone: FORMERR
            server_.handle({0, this, (*datagram)->from}, dns::Bytes(space).first(bytes));
        }
    }
    DnsServer& server_;
    base::Fd fd_;
    base::SockAddr address_;
};

class DnsServer::TcpListener final : public base::IoHandler {
  public:
    TcpListener(DnsServer& server, base::Fd fd)
        : server_(server), fd_(std::move(fd)), address_(local_address(fd_.get())), resume_(base::Timer::of<&TcpListener::resume>(*this)) {}
    base::Result<void> start() { return server_.context_.loop.add(fd_.get(), *this, EPOLLIN); }
    void stop() {
        server_.context_.loop.remove(*this);
        server_.context_.loop.disarm(resume_);
        fd_.reset();
    }
    [[nodiscard]] const base::SockAddr& address() const { return address_; }
    [[nodiscard]] base::Result<base::Fd> hold() const { return base::Fd::dup(fd_.get()); }
    // What has connected already is taken: closing the socket would reset it.
    void drain() {
        accept_some(kBacklog);
        stop();
    }

  private:
    void on_io(uint32_t) override { accept_some(kMessagesPerTurn); }
    void accept_some(int most) {
        for (int i = 0; i < most; ++i) {
            auto accepted = accept_one(fd_.get());
            if (!accepted) {
                // Out of descriptors: the connection stays queued, and asking again at once would be all the worker does.
                server_.context_.loop.remove(*this);
                server_.context_.loop.arm(resume_, kAcceptPause);
                return;
            }
            if (!*accepted) return;
            server_.accepted(std::move((*accepted)->fd));
        }
    }
    void resume() {
        if (!start()) server_.context_.loop.arm(resume_, kAcceptPause);
    }
    DnsServer& server_;
    base::Fd fd_;
    base::SockAddr address_;
    base::Timer resume_;
};

// A query that is not answered yet: it waits for the pod's record, then for a name server.
class DnsServer::Pending final : public base::Buried, public base::Link<Pending>, public DnsExchange::Waiter {
  public:
    Pending(DnsServer& server, Origin from, const dns::Query& asked, dns::Bytes message)
        : origin(from),
          bytes(message.begin(), message.end()),
          query(asked),
          began(server.context_.loop.now()),
          server_(server),
          wait_(base::Timer::of<&Pending::on_wait>(*this)) {
        query.question = dns::Bytes(bytes).subspan(dns::kHeaderBytes, asked.question.size());
    }
    void wait_for_record() {
        const DnsSettings& settings = server_.context_.settings;
        server_.context_.loop.arm(wait_, std::min(settings.record_wait, settings.workload_wait));
    }
    [[nodiscard]] bool waits_for_record() const { return exchange == nullptr; }
    void ask() {
        server_.context_.loop.disarm(wait_);
        began = server_.context_.loop.now();
        exchange = std::make_unique<DnsExchange>(server_.forwarder_, query, bytes, *this);
        exchange->start();
    }
    void silence() {
        server_.context_.loop.disarm(wait_);
        if (exchange) exchange->stop();
    }

    Origin origin;
    std::vector<uint8_t> bytes;
    dns::Query query;  // into bytes
    base::MonoTime began;
    std::unique_ptr<DnsExchange> exchange;

  private:
    void on_wait() {
        const DnsSettings& settings = server_.context_.settings;
        if (const policy::WorkloadRef stand_in = server_.context_.pod.stand_in()) return server_.answer(*this, *stand_in);
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(began + settings.workload_wait - server_.context_.loop.now());
        if (left <= std::chrono::milliseconds(0)) return server_.give_up(*this);
        server_.context_.loop.arm(wait_, left);
    }
    void on_answer(const DnsExchange::Answer& answer) override { server_.finish(*this, answer); }
    DnsServer& server_;
    base::Timer wait_;
};

DnsServer::DnsServer(const DnsServerContext& context, const ResolvConf& resolv_conf)
    : context_(context),
      forwarder_({context.loop, context.place, context.settings, context.metrics}, resolv_conf.servers),
      series_(context.metrics) {}

base::Result<std::unique_ptr<DnsServer>> DnsServer::start(const DnsServerContext& context, const ResolvConf& resolv_conf) {
    std::unique_ptr<DnsServer> server(new DnsServer(context, resolv_conf));
    TRY(context.place.make([&] { return server->listen(); }));
    for (auto& listener : server->udp_) TRY(listener->start());
    for (auto& listener : server->tcp_) TRY(listener->start());
    return server;
}

// Inside the pod's namespace.
base::Result<void> DnsServer::listen() {
    for (const base::SockAddr& address : listen_addresses(context_.settings)) {
        udp_.push_back(std::make_unique<UdpListener>(*this, TRY(bind_udp(address, context_.settings.sockets))));
        const ListenAt at{address, ListenAt::Transparent::No, kBacklog};
        tcp_.push_back(std::make_unique<TcpListener>(*this, TRY(listen_tcp(at, context_.settings.sockets))));
    }
    return {};
}

DnsServer::~DnsServer() {
    while (Pending* pending = pending_.pop_front()) {
        const std::unique_ptr<Pending> owned(pending);
        owned->silence();
    }
}

std::vector<base::SockAddr> DnsServer::addresses(bool tcp) const {
    std::vector<base::SockAddr> list;
    if (tcp)
        for (const auto& listener : tcp_) list.push_back(listener->address());
    else
        for (const auto& listener : udp_) list.push_back(listener->address());
    return list;
}

bool DnsServer::own_address(const base::SockAddr& peer) const {
    for (const auto& listener : udp_)
        if (listener->address() == peer) return true;
    return false;
}

void DnsServer::accepted(base::Fd fd) {
    if (clients_.size() >= context_.settings.limits.tcp_clients) return context_.metrics.clients_refused->add();
    const DnsTcpClient::Limits limits{context_.settings.limits.queries_per_tcp_client, context_.settings.tcp_idle};
    DnsTcpClient::Owner& owner = *this;
    auto client = std::make_unique<DnsTcpClient>(context_.loop, owner, std::move(fd), ++last_client_, limits);
    if (client->start()) clients_.emplace(last_client_, std::move(client));
}

void DnsServer::on_message(DnsTcpClient& client, dns::Bytes message) { handle({client.id(), nullptr, {}}, message); }

void DnsServer::on_closed(DnsTcpClient& client, bool blocked) {
    if (blocked) context_.metrics.answers_unsent->add();
    // Its queries go on, for the cache.
    const auto found = clients_.find(client.id());
    if (found == clients_.end()) return;
    context_.loop.bury(std::move(found->second));
    clients_.erase(found);
}

void DnsServer::bury(Pending& pending) {
    pending.silence();
    base::LinkList<Pending>::remove(pending);
    --pending_count_;
    if (pending.origin.listener != nullptr) --pending.origin.listener->waiting;
    context_.loop.bury(std::unique_ptr<base::Buried>(&pending));
    if (draining_) close_answered();
}

const policy::Workload* DnsServer::source() {
    const policy::Workload* local = context_.pod.local();
    if (local != nullptr) series_.set_source(local->canonical_name, local->canonical_revision);
    return local;
}

void DnsServer::handle(const Origin& origin, dns::Bytes message) {
    const dns::Received received = dns::read_query(message);
    const dns::Query& query = received.query;
    if (received.kind == dns::Received::Kind::Drop) {
        context_.metrics.malformed->add();
        return;
    }
    if (received.kind == dns::Received::Kind::Refuse) {
        if (received.rcode == dns::Rcode::FormErr) context_.metrics.malformed->add();
        return reply_status(origin, query, received.rcode, "refused");
    }
    const policy::Workload* local = source();
    series_.of(query.type, origin.tcp()).requests->add();
    if (local != nullptr && answer_locally(origin, query, *local)) return;
    if (pending_count_ >= context_.settings.limits.queries) {
        context_.metrics.queries_refused->add();
        return reply_status(origin, query, dns::Rcode::ServFail, "too many queries");
    }
    auto* pending = new Pending(*this, origin, query, message);
    pending_.push_back(*pending);
    ++pending_count_;
    if (origin.listener != nullptr) ++origin.listener->waiting;
    if (local != nullptr) return forward(*pending);
    pending->wait_for_record();
}

bool DnsServer::answer_locally(const Origin& origin, const dns::Query& query, const policy::Workload& client) {
    if (query.klass != dns::kClassIn || (query.type != dns::kTypeA && query.type != dns::kTypeAaaa)) return false;
    const std::string name = query.host();
    const auto type = query.type == dns::kTypeA ? policy::AddressType::V4 : policy::AddressType::V6;
    const policy::NameAnswer found =
        policy::resolve_name(context_.pod.snapshot(), {name, type, &client}, context_.settings.names, context_.random);
    if (found.kind == policy::NameAnswer::Kind::Forward) return false;
    const size_t limit = origin.tcp() ? dns::kMaxMessage : query.udp_limit();
    reply(origin, dns::write_answer(query, {found.cname, found.addresses}, limit));
    log(query, found.addresses.empty() ? "no records" : "success", found.addresses.size());
    return true;
}

void DnsServer::forward(Pending& pending) {
    series_.of(pending.query.type, pending.origin.tcp()).upstream_requests->add();
    if (const auto hit = forwarder_.cached(pending.query)) {
        const auto id = base::load_be<uint16_t>(hit->message.first<2>());  // that of the query which brought it
        if (const auto read = dns::read_answer(hit->message, id, pending.query.question)) {
            context_.metrics.cache_hits->add();
            hand_on(pending, {hit->message, read->rcode, read->answers}, hit->age_s);
            return bury(pending);
        }
    }
    pending.ask();
}

void DnsServer::finish(Pending& pending, const DnsExchange::Answer& answer) {
    hand_on(pending, answer, 0);
    bury(pending);
}

void DnsServer::hand_on(const Pending& pending, const DnsExchange::Answer& answer, uint32_t age_s) {
    const bool tcp = pending.origin.tcp();
    auto& series = series_.of(pending.query.type, tcp);
    series.upstream_seconds->observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - pending.began).count());
    if (answer.rcode != static_cast<uint8_t>(dns::Rcode::NoError)) series.upstream_failures->add();
    if (answer.message.empty())
        return reply_status(pending.origin, pending.query, static_cast<dns::Rcode>(answer.rcode), "forwarding failed");
    reply(pending.origin, dns::hand_on(answer.message, pending.query, tcp ? dns::kMaxMessage : pending.query.udp_limit(), age_s));
    log(pending.query, "forwarded", answer.records);
}

void DnsServer::give_up(Pending& pending) {
    reply_status(pending.origin, pending.query, dns::Rcode::ServFail, "unknown source");
    bury(pending);
}

void DnsServer::reply_status(const Origin& origin, const dns::Query& query, dns::Rcode rcode, std::string_view result) {
    reply(origin, dns::write_status(query, rcode));
    log(query, result, 0);
}

void DnsServer::reply(const Origin& origin, dns::Bytes message) {
    if (origin.tcp()) {
        if (const auto found = clients_.find(origin.client); found != clients_.end()) found->second->reply(message);
        return;
    }
    if (!origin.listener->send(message, origin.peer)) context_.metrics.answers_unsent->add();
}

void DnsServer::on_mesh_change() {
    const policy::Workload* local = source();
    if (local == nullptr) return;
    base::LinkList<Pending> all;
    all.take(pending_);
    while (Pending* pending = all.pop_front()) {
        pending_.push_back(*pending);
        if (!pending->waits_for_record()) continue;
        answer(*pending, *local);
    }
}

void DnsServer::answer(Pending& pending, const policy::Workload& client) {
    if (answer_locally(pending.origin, pending.query, client)) return bury(pending);
    forward(pending);
}

base::Result<std::vector<base::Fd>> DnsServer::hold_sockets() const {
    std::vector<base::Fd> out;
    out.reserve(udp_.size() + tcp_.size());
    for (const auto& listener : udp_) out.push_back(TRY(listener->hold()));
    for (const auto& listener : tcp_) out.push_back(TRY(listener->hold()));
    return out;
}

void DnsServer::drain() {
    for (auto& listener : udp_) listener->drain();
    for (auto& listener : tcp_) listener->drain();
    draining_ = true;
    close_answered();
    std::vector<DnsTcpClient*> clients;
    clients.reserve(clients_.size());
    for (const auto& [id, client] : clients_) clients.push_back(client.get());
    for (DnsTcpClient* client : clients) client->drain();  // an idle one closes, and is buried
}

// A UDP socket has no use once nobody waits for an answer from it.
void DnsServer::close_answered() {
    for (const auto& listener : udp_)
        if (listener->waiting == 0) listener->stop();
}

void DnsServer::log(const dns::Query& query, std::string_view result, size_t records) {
    if (!kDns.enabled(base::log::Level::Debug)) return;
    const policy::Workload* local = context_.pod.local();
    WARREN_LOG(kDns, base::log::Level::Debug, "query",
               {"src.workload", local != nullptr ? local->name.view() : std::string_view("unknown")},
               {"src.namespace", local != nullptr ? local->ns.view() : std::string_view("unknown")}, {"query", dns::type_label(query.type)},
               {"domain", query.host()}, {"result", result}, {"endpoints", records});
}

}  // namespace warren::ztunnel
