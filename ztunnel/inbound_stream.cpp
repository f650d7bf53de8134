// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/error_texts.h"
#include "ztunnel/inbound_tunnel.h"
#include "ztunnel/proxy_protocol.h"

#include <cerrno>
#include <utility>

#include <sys/epoll.h>

namespace warren::ztunnel {

namespace {

constexpr int kBadRequest = 400, kDenied = 401, kUnavailable = 503;  // contract 4.5; never 403, 404 or 502

struct RequestHeaders {
    std::string forwarded_host;
    std::string forwarded_network;
    bool from_gateway = false;
    policy::Baggage baggage;
};

RequestHeaders read_headers(const H2Request& request, const ProxySettings& settings) {
    RequestHeaders out;
    std::vector<std::string_view> baggage;
    bool forwarded = false;
    for (const Header& h : request.headers) {
        // Of these two the first counts: what a hop behind it added is not the word of the one before.
        if (h.first == "forwarded" && !std::exchange(forwarded, true)) {
            out.forwarded_host = policy::parse_forwarded_host(h.second);
        } else if (h.first == "baggage") {
            baggage.push_back(h.second);
        } else if (h.first == "x-forwarded-network" && !std::exchange(out.from_gateway, true)) {
            out.forwarded_network = h.second;
        }
    }
    if (settings.response_baggage) out.baggage = policy::parse_baggage(baggage);
    return out;
}

bool same_network(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
        return lower(x) == lower(y);
    });
}

// Before a destination is decided. The source behind a gateway of another network is none of ours, whatever its address.
TrafficFacts facts_of(InboundTunnel& owner, const policy::Workload& local, std::string_view authority, const RequestHeaders& headers) {
    TrafficFacts f;
    f.direction = Direction::Inbound;
    f.kind = TunnelKind::Hbone;
    f.src = owner.peer_address();
    f.dst = owner.local_address();
    f.hbone_addr = std::string(authority);
    if (!headers.from_gateway || same_network(headers.forwarded_network, owner.pod().network()))
        f.src_workload = owner.pod().source_at(f.src.ip);
    f.src_baggage = headers.baggage;
    f.dst_workload = policy::WorkloadRef(&local);
    f.dst_identity = local.identity().uri();
    f.mutual_tls = true;
    f.forwarded_host = headers.forwarded_host;
    return f;
}

}  // namespace

InboundStream::InboundStream(PodProxy& pod, base::Fd fd, policy::Inbound inbound, policy::Connection connection, policy::Identity peer)
    : StreamRelay(pod.worker().loop, pod.buffers, std::move(fd)),
      pod_(pod),
      inbound_(std::move(inbound)),
      peer_(std::move(peer)),
      connection_(connection),
      dial_timer_(base::Timer::of<&InboundStream::on_dial_timeout>(*this)) {
    connection_.src_identity = peer_.empty() ? nullptr : &peer_;
}

H2Stream* InboundStream::start(InboundTunnel& owner, Tunnel& tunnel, int32_t id, const H2Request& request) {
    PodProxy& pod = owner.pod();
    WorkerContext& worker = pod.worker();
    auto deny = [&](int status, std::string_view code, std::string_view why) -> H2Stream* {
        worker.traffic.early_deny(Direction::Inbound, owner.peer_address(), owner.local_address(), code, why);
        tunnel.h2().refuse(id, status);
        return nullptr;
    };
    if (request.method != "CONNECT") return deny(kBadRequest, "bad_method", "the method is not CONNECT");
    auto authority = policy::parse_authority(request.authority);
    if (!authority) return deny(kBadRequest, "bad_authority", authority.error().message());
    const policy::Workload* local = pod.local();
    if (local == nullptr) return deny(kUnavailable, policy::to_string(policy::Reason::UnknownSource), "unknown destination workload");
    if (const auto limit = pod.use.take_stream()) return deny(kUnavailable, to_string(*limit), describe(*limit));
    const RequestHeaders headers = read_headers(request, worker.settings);
    policy::InboundRequest wanted;
    wanted.local = local;
    wanted.local_ip = owner.local_ip();
    wanted.authority = std::move(*authority);
    wanted.network = pod.network();
    wanted.forwarded_host = headers.forwarded_host;
    wanted.localhost_app_tunnel = worker.settings.localhost_app_tunnel;
    policy::Inbound inbound = policy::inbound(*worker.snapshot, wanted);
    if (inbound.refused()) {
        pod.use.give_stream();
        return deny(inbound.status, policy::to_string(inbound.reason), std::string(policy::to_string(inbound.reason)));
    }
    policy::Connection connection;
    connection.src = owner.peer_address();
    connection.dst = inbound.policy_destination;
    auto* self = new InboundStream(pod, {}, std::move(inbound), connection, tunnel.peer().identity);
    pod.enter(*self);
    self->attach_stream(tunnel, id);

    TrafficFacts facts = facts_of(owner, *local, request.authority, headers);
    facts.original_dst = connection.dst;
    facts.dst_service = self->inbound_.service;
    facts.src_identity = self->peer_.uri();
    self->record_ = worker.traffic.open(std::move(facts));

    // Registered before it is judged: a policy that changes in between re-judges it (contract 6.1 step 11).
    const policy::Decision decision = pod.policies().decide(self->connection_);
    self->record_->judged(decision);
    if (!decision.allowed) {
        self->flag_ = ResponseFlag::Deny;
        self->deciding_ = policy::PolicyRef(decision.policy);
        tunnel.h2().refuse(id, kDenied);
        self->tunnel_ = nullptr;  // the session has no owner for it
        self->StreamRelay::cut(policy_rejection(decision));
        return nullptr;
    }
    if (auto dialling = self->dial(owner.peer_address()); !dialling) {
        tunnel.h2().refuse(id, kUnavailable);
        self->tunnel_ = nullptr;
        self->StreamRelay::cut(dialling.error().message());
        return nullptr;
    }
    return self;
}

base::Result<void> InboundStream::dial(const base::SockAddr& peer) {
    WorkerContext& worker = pod_.worker();
    const base::SockAddr& to = inbound_.application;
    fd_ = TRY(pod_.sockets().take(to.family()));
    set_local_congestion(fd_.get(), worker.settings.sockets);
    if (inbound_.from_loopback) {
        TRY(bind_source(fd_.get(), {to.ip, 0}));
    } else if (worker.settings.spoof_source && !pod_.pod().inbound_only && peer.ip != to.ip && peer.ip.is_v4() == to.ip.is_v4()) {
        (void)bind_source(fd_.get(), {peer.ip, 0});  // contract 6.4: failure to bind leaves the connect unspoofed
    }
    record_->started(fd_.get());
    TRY(begin_connect(fd_.get(), to));
    worker.loop.arm(dial_timer_, worker.settings.connect_timeout);
    return worker.loop.add(fd_.get(), *this, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

void InboundStream::on_dial_event(uint32_t events) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) dialled(connect_result(fd_.get()));
}

void InboundStream::on_dial_timeout() {
    if (!accepted_) dialled(ETIMEDOUT);
}

void InboundStream::dialled(int os) {
    if (accepted_ || !live()) return;
    loop_.disarm(dial_timer_);
    if (os != 0) {
        std::string why = base::os_error_of(os, "connect", inbound_.application.to_string()).message();
        if (tunnel_ == nullptr) return StreamRelay::cut(std::move(why));
        refused(std::move(why));
        tunnel_->h2().refuse(stream_id_, kUnavailable);
        return tunnel_->wake();
    }
    accepted_ = true;
    flag_ = ResponseFlag::None;
    if (tunnel_ == nullptr) return StreamRelay::cut("stream closed while connecting");
    const policy::Workload* local = pod_.local();
    const std::string baggage =
        pod_.worker().settings.response_baggage && local != nullptr ? policy::format_baggage(policy::baggage_of(*local)) : std::string();
    const Header header[] = {{"baggage", baggage}};
    tunnel_->h2().accept(stream_id_, baggage.empty() ? std::span<const Header>() : std::span<const Header>(header));
    tunnel_->wake();
    if (inbound_.proxy_header)
        push_to_app(proxy_header_v2(connection_.src, inbound_.proxy_destination, peer_.empty() ? std::string() : peer_.uri()));
    auto started = start_relay(pod_.worker().settings.half_closed_timeout);
    if (!started) StreamRelay::cut(started.error().message());
}

void InboundStream::on_progress() { report_bytes(); }

void InboundStream::report_bytes() {
    if (!record_) return;
    const uint64_t sent = bytes_from_app(), received = bytes_to_app();
    record_->add(sent - reported_sent_, received - reported_received_);
    reported_sent_ = sent;
    reported_received_ = received;
}

void InboundStream::on_mesh_change() {
    if (!live()) return;
    const policy::Decision decision = pod_.policies().decide(connection_);
    if (decision.allowed) return;
    record_->judged(decision);
    flag_ = ResponseFlag::Deny;
    deciding_ = policy::PolicyRef(decision.policy);
    StreamRelay::cut(std::string(kPolicyChange));
}

void InboundStream::on_relay_end(const RelayEnd& end) {
    loop_.disarm(dial_timer_);
    report_bytes();
    record_->close(EndOfConnection{flag_, end.clean, end.revoked, drained_}.flag(), end.error, deciding_.get(), end.ended_by(false));
    PodConnection::leave();
    pod_.use.give_stream();
    loop_.bury(std::unique_ptr<base::Buried>(this));
}

}  // namespace warren::ztunnel
