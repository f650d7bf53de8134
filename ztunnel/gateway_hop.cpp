// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/gateway_hop.h"

#include "ztunnel/error_texts.h"

#include <sys/socket.h>

namespace warren::ztunnel {

GatewayHop::GatewayHop(PodProxy& pod, GatewayHopRequest request)
    : StreamRelay(pod.worker().loop, pod.buffers, {}), pod_(pod), request_(std::move(request)) {}

void GatewayHop::start(PodProxy& pod, GatewayHopRequest request, TunnelWaiter& waiter) {
    auto* self = new GatewayHop(pod, std::move(request));
    self->waiter_.push_back(waiter);
    pod.enter(*self);
    if (Tunnel* outer = pod.pool().get(self->request_.outer, *self)) self->on_tunnel(outer);
}

void GatewayHop::on_tunnel(base::Result<Tunnel*> outer) {
    if (!outer) {
        base::Error why = std::move(outer).error();  // where it failed decides the flag, so that stays as it is
        why.detail += why.detail.empty() ? "of the network gateway" : " (network gateway)";
        return fail(std::move(why));
    }
    const Header headers[] = {{"baggage", request_.baggage}, {"forwarded", request_.forwarded}, {"traceparent", request_.traceparent}};
    auto id = (*outer)->h2().connect(request_.authority, headers, *this);
    if (!id) return fail(std::move(id).error());
    attach_stream(**outer, *id);
    (*outer)->wake();
}

void GatewayHop::on_response(const H2Response& response) {
    if (response.status != 200) return fail(base::Error{base::Errc::Unavailable, 0, kGatewayAnswered, http_status(response.status)});
    if (auto started = start_inner(); !started) fail(std::move(started).error());
}

base::Result<void> GatewayHop::start_inner() {
    WorkerContext& worker = pod_.worker();
    auto context = worker.certs.current(request_.outer.own);
    if (!context) return base::Error{base::Errc::Unavailable, 0, kOwnCertificate, "expired while connecting"};
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) return base::os_error("socketpair");
    fd_ = base::Fd(pair[0]);
    base::Fd inner_end(pair[1]);
    auto tls = TlsSession::create(std::move(context), TlsRole::Client, request_.inner_identities, worker.chunks, worker.settings.records);
    if (!tls) return base::Error{tls.error().code, 0, kTlsConfiguration, tls.error().message()};
    inner_ = TRY(Tunnel::start(worker.loop, worker.chunks, *this, std::move(inner_end), H2Role::Client, std::move(*tls),
                               worker.settings.outbound_tunnel));
    return start_relay(worker.settings.half_closed_timeout);
}

void GatewayHop::on_tunnel_open(Tunnel& inner) {
    if (TunnelWaiter* waiter = waiter_.pop_front()) return waiter->on_tunnel(&inner);
    inner.drain();  // whoever asked has gone
}

H2Stream* GatewayHop::on_tunnel_request(Tunnel& inner, int32_t id, const H2Request&) {
    inner.h2().refuse(id, 503);
    return nullptr;
}

void GatewayHop::on_tunnel_gone(Tunnel&, const base::Error* why) {
    inner_ = nullptr;
    if (TunnelWaiter* waiter = waiter_.pop_front())
        waiter->on_tunnel(why != nullptr ? base::Error(*why) : base::Error{base::Errc::Unavailable, 0, "", "inner tunnel closed"});
    done_if_both();
}

void GatewayHop::on_closed(const H2Reset* reset) {
    if (Tunnel* outer = tunnel_) outer->room_made();
    StreamRelay::on_closed(reset);
}

void GatewayHop::on_relay_end(const RelayEnd& end) {
    relay_over_ = true;
    // The socket pair is closed, so the inner tunnel ends by itself; before it existed the waiter hears of the end here.
    if (inner_ == nullptr)
        if (TunnelWaiter* waiter = waiter_.pop_front())
            waiter->on_tunnel(base::Error{base::Errc::Unavailable, 0, "", end.error.empty() ? "network gateway closed" : end.error});
    done_if_both();
}

void GatewayHop::fail(base::Error why) {
    if (TunnelWaiter* waiter = waiter_.pop_front()) waiter->on_tunnel(why);
    cut(why.message());
}

void GatewayHop::cut(const std::string& why) {
    if (inner_ != nullptr) inner_->abort(base::Error{base::Errc::Unavailable, 0, "", why});
    StreamRelay::cut(why);
}

void GatewayHop::done_if_both() {
    if (!relay_over_ || inner_ != nullptr || std::exchange(buried_, true)) return;
    withdraw();
    PodConnection::leave();
    loop_.bury(std::unique_ptr<base::Buried>(this));
}

}  // namespace warren::ztunnel
