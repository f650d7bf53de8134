// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/outbound.h"

#include "ztunnel/error_texts.h"
#include "ztunnel/gateway_hop.h"
#include "ztunnel/outbound_wait.h"

#include <algorithm>

namespace warren::ztunnel {

namespace {

constexpr std::string_view kNotWhoItSaid = "the pod's record, or another's with its address, contradicts the node agent";

policy::Route route_for(PodProxy& pod, const Captured& captured) {
    policy::RouteRequest request;
    request.source = captured.source(pod);
    request.client = captured.client.ip;
    request.destination = captured.destination;
    request.network = pod.network();
    request.exclude = captured.tried;
    // What the kernel drew for this connection stands, while it is still an endpoint of that service: drawn once, whatever the path.
    policy::Text drawn;
    if (captured.drawn) {
        const policy::Workload* endpoint = pod.worker().snapshot->workload(policy::NetworkAddress{pod.network(), captured.drawn->ip});
        if (endpoint != nullptr) {
            drawn = endpoint->uid;
            request.pinned_endpoint = &drawn;
        }
    }
    return policy::route(*pod.worker().snapshot, request, pod.worker().random);
}

// Another endpoint can only be tried where the mesh chose this one, and has one left: when none is, a choice falls back on those that
// failed, but whoever failed is not asked again for the same connection (contract 5.2).
bool can_try_another(PodProxy& pod, const policy::Route& route, Captured& captured, int most) {
    if (!route.service || !route.destination || static_cast<int>(captured.tried.size()) + 1 >= most) return false;
    captured.tried.push_back(route.destination->uid);
    const policy::Route next = route_for(pod, captured);
    const bool another =
        next.destination && std::find(captured.tried.begin(), captured.tried.end(), next.destination->uid) == captured.tried.end();
    if (!another) captured.tried.pop_back();
    return another;
}

}  // namespace

void Outbound::accept(PodProxy& pod, Accepted accepted) {
    Captured captured;
    captured.client = accepted.peer;
    captured.destination = original_destination(accepted.fd.get());
    captured.drawn = drawn_endpoint(accepted.fd.get());
    captured.trace = policy::TraceParent::make(pod.worker().random).to_string();
    captured.fd = std::move(accepted.fd);
    pod.worker().traffic.socket_opened(Direction::Outbound);
    if (captured.destination.ip.is_loopback() && policy::is_tunnel_port(captured.destination.port))
        return refuse(pod, captured, policy::to_string(policy::Reason::SelfCall), "call to a port of the tunnel itself");
    if (pod.local() == nullptr) return wait_for_record(pod, std::move(captured));
    dispatch(pod, std::move(captured));
}

void Outbound::dispatch(PodProxy& pod, Captured captured) {
    if (wait_for_names(pod, captured)) return;
    policy::Route route = route_for(pod, captured);
    if (!route.resolve_hostname.empty() && route.action != policy::RouteAction::Refuse)
        return wait_for_address(pod, std::move(captured), std::move(route));
    start(pod, std::move(captured), std::move(route));
}

void Outbound::start(PodProxy& pod, Captured captured, policy::Route route) {
    if (pod.local() != nullptr) captured.stand_in = {};
    if (captured.stand_in && !pod.still_stands(*captured.stand_in)) return wait_for_record(pod, std::move(captured));
    switch (route.action) {
        case policy::RouteAction::Refuse: return refuse(pod, captured, policy::to_string(route.reason), policy::to_string(route.reason));
        case policy::RouteAction::Passthrough:
        case policy::RouteAction::Direct: return OutboundTcp::start(pod, std::move(captured), std::move(route));
        case policy::RouteAction::Hbone:
        case policy::RouteAction::DoubleHbone: return OutboundStream::start(pod, std::move(captured), std::move(route));
    }
}

void Outbound::refuse(PodProxy& pod, const Captured& captured, std::string_view reason_code, std::string_view error) {
    WorkerContext& worker = pod.worker();
    worker.traffic.early_deny(Direction::Outbound, captured.client, captured.destination, reason_code, error);
    worker.traffic.socket_closed(Direction::Outbound);
    if (captured.fd.valid()) reset_on_close(captured.fd.get());
    pod.use.give_connection();
}

// -- through a tunnel

OutboundStream::OutboundStream(PodProxy& pod, Captured captured, policy::Route route)
    : StreamRelay(pod.worker().loop, pod.buffers, std::move(captured.fd)),
      pod_(pod),
      source_(captured.source(pod)),
      captured_(std::move(captured)),
      route_(std::move(route)) {}

void OutboundStream::start(PodProxy& pod, Captured captured, policy::Route route) {
    auto* self = new OutboundStream(pod, std::move(captured), std::move(route));
    pod.enter(*self);
    self->record_ = pod.worker().traffic.open(self->facts());
    self->record_->started(self->fd_.get());
    if (self->route_.action == policy::RouteAction::DoubleHbone) {
        const RequestTexts texts = self->request_texts();
        return GatewayHop::start(
            pod, {self->key(), self->route_.authority, self->route_.inner_identities, texts.baggage, texts.forwarded, texts.trace}, *self);
    }
    if (Tunnel* tunnel = pod.pool().get(self->key(), *self)) self->on_tunnel(tunnel);
}

OutboundStream::RequestTexts OutboundStream::request_texts() const {
    return {policy::format_baggage(policy::baggage_of(*source_)),
            policy::format_forwarded(captured_.client, route_.service ? route_.service->hostname.view() : ""), captured_.trace};
}

TunnelKey OutboundStream::key() const { return {source_->identity(), route_.peer_identities, captured_.client.ip, route_.tcp_destination}; }

TrafficFacts OutboundStream::facts() const {
    TrafficFacts f;
    f.direction = Direction::Outbound;
    f.kind = route_.action == policy::RouteAction::DoubleHbone ? TunnelKind::DoubleHbone : TunnelKind::Hbone;
    f.src = captured_.client;
    f.dst = route_.tcp_destination;
    f.original_dst = captured_.destination;
    f.hbone_addr = route_.authority;
    f.src_workload = source_;
    f.dst_workload = route_.endpoint;
    f.dst_service = route_.service;
    f.src_identity = source_->identity().uri();
    f.dst_identity = route_.endpoint ? route_.endpoint->identity().uri() : std::string();
    f.mutual_tls = true;
    f.route_reason = route_.reason;
    return f;
}

void OutboundStream::on_tunnel(base::Result<Tunnel*> tunnel) {
    if (over_) return;
    if (!tunnel) {
        DialFailure failure = dial_failure(tunnel.error());
        record_->note(failure.note);
        return failed(base::Error{tunnel.error().code, 0, "", std::move(failure.text)}, failure.flag,
                      failure.flag != ResponseFlag::IdentityError ? Again::Elsewhere : Again::Later);
    }
    const RequestTexts texts = request_texts();
    const Header headers[] = {
        {"baggage", texts.baggage}, {"forwarded", texts.forwarded}, {"traceparent", texts.trace}, {"x-forwarded-network", pod_.network()}};
    // The network is told on the inner request only (contract 4.3).
    const size_t count = route_.action == policy::RouteAction::DoubleHbone ? 4 : 3;
    auto id = (*tunnel)->h2().connect(route_.authority, std::span(headers, count), *this);
    if (!id) return failed(id.error(), ResponseFlag::H2HandshakeFailure, Again::Elsewhere);
    attach_stream(**tunnel, *id);
    (*tunnel)->wake();
}

void OutboundStream::on_response(const H2Response& response) {
    answered_ = true;
    if (response.status == 200) {
        if (route_.action == policy::RouteAction::DoubleHbone) learn_destination(response);
        flag_ = ResponseFlag::None;
        auto started = start_relay(pod_.worker().settings.half_closed_timeout);
        if (!started) StreamRelay::cut(started.error().message());
        return;
    }
    // Nothing was sent yet, so another endpoint may answer where this one could not reach its application; a verdict stands.
    failed(base::Error{base::Errc::Unavailable, 0, "", http_status(response.status)}, ResponseFlag::Connect,
           response.status == 503 ? Again::Elsewhere : Again::No);
}

// Behind a gateway only the answer tells which workload it is (contract 4.9 step 4).
void OutboundStream::learn_destination(const H2Response& response) {
    std::vector<std::string_view> baggage;
    for (const Header& h : response.headers)
        if (h.first == "baggage") baggage.push_back(h.second);
    record_->learn_destination(policy::parse_baggage(baggage), tunnel_->peer().identity.uri());
}

void OutboundStream::check_stand_in() {
    if (over_ || !captured_.stand_in) return;
    const bool fine = pod_.still_stands(*captured_.stand_in);
    if (fine && pod_.local() == nullptr) return;
    captured_.stand_in = {};
    if (fine) return;
    captured_.record_until = {};
    StreamRelay::cut(std::string(kNotWhoItSaid));
}

void OutboundStream::on_closed(const H2Reset* reset) {
    if (over_) {  // another endpoint has the connection now
        tunnel_ = nullptr;
        return loop_.bury(std::unique_ptr<base::Buried>(this));
    }
    if (Tunnel* tunnel = tunnel_) tunnel->room_made();
    if (!answered_ && reset != nullptr && live()) {
        const base::Error* cause = tunnel_ != nullptr ? tunnel_->cause() : nullptr;
        // The peer's RST_STREAM in place of an answer is an error of HTTP/2 as well; a connection that just closed is none.
        const bool broken = !reset->local || (cause != nullptr && cause->code == base::Errc::Protocol);
        const bool revoked = tunnel_ != nullptr && tunnel_->revoked();
        const ResponseFlag flag = revoked ? ResponseFlag::CertRevoked : broken ? ResponseFlag::H2HandshakeFailure : ResponseFlag::Connect;
        const std::string told = cause != nullptr ? ": " + cause->message() : std::string();
        tunnel_ = nullptr;
        constexpr uint32_t kRefusedStream = 7;  // RFC 9113 7, also what a GOAWAY left out: the peer has done nothing with it (8.7)
        const bool untouched = !reset->local && reset->code == kRefusedStream;
        return failed(
            base::Error{base::Errc::Unavailable, 0, "",
                        reset->local ? "tunnel closed" + told : "stream refused by the peer, code " + std::to_string(reset->code)},
            flag, untouched ? Again::Anywhere : Again::Elsewhere);
    }
    StreamRelay::on_closed(reset);
}

// The client has seen nothing yet. Either another endpoint gets its connection, or it ends here.
void OutboundStream::failed(const base::Error& why, ResponseFlag flag, Again again) {
    if (over_) return;
    const int most = pod_.worker().settings.endpoint_attempts;
    const bool anywhere = again == Again::Anywhere && captured_.refused + 1 < most;
    const bool later = again == Again::Later && captured_.record_until && loop_.now() < *captured_.record_until;
    const bool elsewhere =
        !anywhere && !later && (again == Again::Elsewhere || again == Again::Anywhere) && can_try_another(pod_, route_, captured_, most);
    if (anywhere || later || elsewhere) {
        over_ = true;
        record_->handed_on();
        record_->note(anywhere || later ? "trying again" : "trying another endpoint");
        record_->close(flag, why.message());
        if (anywhere) ++captured_.refused;
        captured_.fd = std::move(fd_);
        if (tunnel_ != nullptr) {
            tunnel_->h2().reset(stream_id_, 8);  // CANCEL
            tunnel_->wake();
        }
        withdraw();
        PodConnection::leave();
        PodProxy& pod = pod_;
        Captured next = std::move(captured_);
        // A stream that is still open tells us of its end first; until then this object stays.
        if (tunnel_ == nullptr) loop_.bury(std::unique_ptr<base::Buried>(this));
        if (later) return wait_for_certificate(pod, std::move(next));
        return Outbound::dispatch(pod, std::move(next));
    }
    flag_ = flag;
    StreamRelay::cut(why.message());
}

void OutboundStream::report_bytes() {
    const uint64_t sent = bytes_from_app(), received = bytes_to_app();
    record_->add(sent - reported_sent_, received - reported_received_);
    reported_sent_ = sent;
    reported_received_ = received;
}

void OutboundStream::on_relay_end(const RelayEnd& end) {
    over_ = true;
    report_bytes();
    record_->close(EndOfConnection{flag_, end.clean, end.revoked, drained_}.flag(), end.error, nullptr, end.ended_by(true));
    withdraw();
    PodConnection::leave();
    pod_.worker().traffic.socket_closed(Direction::Outbound);
    pod_.use.give_connection();
    loop_.bury(std::unique_ptr<base::Buried>(this));
}

// -- not through a tunnel

OutboundTcp::OutboundTcp(PodProxy& pod, Captured captured, policy::Route route)
    : TcpRelay(pod.worker().loop, pod.worker().chunks, std::move(captured.fd)),
      pod_(pod),
      client_(captured.client),
      stand_in_(captured.stand_in),
      route_(std::move(route)) {}

void OutboundTcp::start(PodProxy& pod, Captured captured, policy::Route route) {
    const base::SockAddr original = captured.destination;
    const base::SockAddr to = route.action == policy::RouteAction::Passthrough ? original : route.tcp_destination;
    auto* self = new OutboundTcp(pod, std::move(captured), std::move(route));
    pod.enter(*self);
    TrafficFacts f;
    f.direction = Direction::Outbound;
    f.src = self->client_;
    f.dst = to;
    f.original_dst = original;
    f.src_workload = self->stand_in_ ? self->stand_in_ : policy::WorkloadRef(pod.local());
    f.dst_workload = self->route_.endpoint;
    f.dst_service = self->route_.service;
    f.passthrough = self->route_.action == policy::RouteAction::Passthrough;
    f.route_reason = self->route_.reason;
    self->record_ = pod.worker().traffic.open(std::move(f));
    self->record_->started(self->client_fd());
    if (const auto limit = pod.use.take_descriptor()) return self->TcpRelay::cut(std::string(describe(*limit)));
    self->dialled_ = true;
    auto socket = pod.sockets().take(to.family());
    if (!socket) return self->TcpRelay::cut(socket.error().message());
    auto dialling = self->dial(std::move(*socket), to, pod.worker().settings.connect_timeout);
    if (!dialling) self->TcpRelay::cut(dialling.error().message());
}

void OutboundTcp::on_dialled(int os) {
    if (os != 0) return TcpRelay::cut(base::os_error_of(os, "connect").message());
    flag_ = ResponseFlag::None;
    auto started = start_relay(pod_.worker().settings.half_closed_timeout);
    if (!started) TcpRelay::cut(started.error().message());
}

void OutboundTcp::on_mesh_change() {
    if (!stand_in_) return;
    const bool fine = pod_.still_stands(*stand_in_);
    if (!fine || pod_.local() != nullptr) stand_in_ = {};
    if (!fine) TcpRelay::cut(std::string(kNotWhoItSaid));
}

void OutboundTcp::on_progress() {
    record_->add(bytes_up() - reported_up_, bytes_down() - reported_down_);
    reported_up_ = bytes_up();
    reported_down_ = bytes_down();
}

void OutboundTcp::on_relay_end(const RelayEnd& end) {
    on_progress();
    record_->close(EndOfConnection{flag_, end.clean, end.revoked, drained_}.flag(), end.error, nullptr, end.ended_by(true));
    PodConnection::leave();
    pod_.worker().traffic.socket_closed(Direction::Outbound);
    pod_.use.give_connection();
    if (dialled_) pod_.use.give_descriptor();
    loop_.bury(std::unique_ptr<base::Buried>(this));
}

}  // namespace warren::ztunnel
