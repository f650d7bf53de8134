// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/inbound_tunnel.h"

#include <cerrno>
#include <utility>

namespace warren::ztunnel {

namespace {
// More than a call to the certificate service may take (CertStoreOptions::call_timeout), so that its own reason is what is told.
constexpr std::chrono::seconds kCertificateWait{15};
}  // namespace

InboundTunnel::InboundTunnel(PodProxy& pod, Accepted accepted)
    : pod_(pod),
      fd_(std::move(accepted.fd)),
      peer_(accepted.peer),
      local_(ztunnel::local_address(fd_.get())),
      wait_(base::Timer::of<&InboundTunnel::on_wait_over>(*this)) {}

void InboundTunnel::accept(PodProxy& pod, Accepted accepted) {
    WorkerContext& worker = pod.worker();
    auto* self = new InboundTunnel(pod, std::move(accepted));
    pod.enter(*self);
    worker.traffic.socket_opened(Direction::Inbound);
    if (!self->begin_handshake()) return;
    (void)pod.source_at(self->peer_.ip);  // on demand: asked for now, it is there when the first stream has to be recorded
    worker.loop.arm(self->wait_, worker.settings.workload_wait);
    if (pod.local() != nullptr) self->begin();
}

// Strangers who never finish may take every place: one of them makes room (handshake_places.h). An honest peer's is over in a moment.
bool InboundTunnel::begin_handshake() {
    WorkerContext& worker = pod_.worker();
    if (worker.handshake_count >= worker.settings.limits.handshakes_per_worker) {
        ++worker.handshakes_refused;
        worker.handshakes.make_room(to_string(PodLimit::Handshakes), kWorkerHandshakes);
    }
    if (const auto limit = pod_.use.take_handshake()) {
        pod_.handshakes.make_room(to_string(*limit), describe(*limit));
        if (pod_.use.take_handshake()) {
            fail(to_string(*limit), describe(*limit));
            return false;
        }
    }
    shaking_ = true;
    pod_.handshakes.enter(*this);
    worker.handshakes.enter(*this);
    ++worker.handshake_count;
    return true;
}

void InboundTunnel::begin() {
    asked_ = true;
    WorkerContext& worker = pod_.worker();
    const policy::Identity own = pod_.local()->identity();
    if (auto context = worker.certs.current(own)) return with_certificate(std::move(context));
    worker.loop.arm(wait_, kCertificateWait);  // the record's own wait is over (contract 6.1 step 2)
    worker.certs.request(own, CertPriority::RealTime, worker.loop,
                         [this, alive = alive_](base::Result<std::shared_ptr<const TlsContext>> context) {
                             if (*alive) with_certificate(std::move(context));
                         });
}

void InboundTunnel::with_certificate(base::Result<std::shared_ptr<const TlsContext>> context) {
    if (over_) return;
    WorkerContext& worker = pod_.worker();
    worker.loop.disarm(wait_);
    if (!context) return fail("no_certificate", std::move(context).error().with("certificate").message());
    auto tls = TlsSession::create(std::move(*context), TlsRole::Server, {}, worker.chunks, worker.settings.records);
    if (!tls) return fail("tls", tls.error().message());
    auto tunnel =
        Tunnel::start(worker.loop, worker.chunks, *this, std::move(fd_), H2Role::Server, std::move(*tls), worker.settings.inbound_tunnel);
    if (!tunnel) return fail("tunnel", tunnel.error().message());
    tunnel_ = *tunnel;
}

void InboundTunnel::end_handshake() {
    if (!std::exchange(shaking_, false)) return;
    HandshakePlaces<PodProxy>::leave(*this);
    HandshakePlaces<WorkerContext>::leave(*this);
    --pod_.worker().handshake_count;
    pod_.use.give_handshake();
}

void InboundTunnel::give_way(std::string_view reason_code, std::string_view error) {
    if (tunnel_ == nullptr) return fail(reason_code, error);
    outcome_ = reason_code;
    tunnel_->abort(base::Error{base::Errc::Exhausted, 0, "", std::string(error)});
}

void InboundTunnel::on_tunnel_answered(Tunnel&) {
    pod_.handshakes.answered(*this);
    pod_.worker().handshakes.answered(*this);
}

void InboundTunnel::on_tunnel_open(Tunnel& tunnel) {
    end_handshake();
    // Accepted before the drain began: its client's first requests are served, the next ones go elsewhere.
    if (!pod_.accepting()) tunnel.drain();
}

H2Stream* InboundTunnel::on_tunnel_request(Tunnel& tunnel, int32_t id, const H2Request& request) {
    return InboundStream::start(*this, tunnel, id, request);
}

void InboundTunnel::on_tunnel_gone(Tunnel& tunnel, const base::Error* why) {
    tunnel_ = nullptr;
    if (shaking_ && why != nullptr && why->os == EKEYREVOKED) pod_.worker().traffic.crl_rejection(Direction::Inbound);
    if (tunnel.h2().counters().floods > 0) outcome_ = "http2_flood";
    if (shaking_ && outcome_.empty()) outcome_ = "handshake_failed";
    if (!outcome_.empty() && why != nullptr) pod_.worker().traffic.early_deny(Direction::Inbound, peer_, local_, outcome_, why->message());
    bury();
}

void InboundTunnel::fail(std::string_view reason_code, std::string_view error) {
    if (over_) return;
    pod_.worker().traffic.early_deny(Direction::Inbound, peer_, local_, reason_code, error);
    if (fd_.valid()) reset_on_close(fd_.get());
    bury();
}

void InboundTunnel::on_wait_over() {
    fail("unknown_source", asked_ ? "certificate did not arrive in time" : "unknown destination workload");
}

void InboundTunnel::on_mesh_change() {
    if (!over_ && !asked_ && pod_.local() != nullptr) begin();
}

void InboundTunnel::on_trust_change() {
    if (tunnel_ == nullptr || shaking_ || pod_.local() == nullptr) return;
    auto context = pod_.worker().certs.current(pod_.local()->identity());
    if (!context) return;
    auto fine = context->recheck(tunnel_->peer().chain_der, tunnel_->established_at());
    if (!fine) tunnel_->abort_revoked(std::move(fine).error().with("peer certificate"));
}

void InboundTunnel::cut(const std::string& why) {
    if (over_) return;
    if (tunnel_ != nullptr) return tunnel_->abort(base::Error{base::Errc::Unavailable, 0, "", why});
    fail("cut", why);
}

void InboundTunnel::drain() {
    if (tunnel_ != nullptr && !shaking_) tunnel_->drain();
}

void InboundTunnel::bury() {
    if (over_) return;
    over_ = true;
    *alive_ = false;
    end_handshake();
    WorkerContext& worker = pod_.worker();
    worker.loop.disarm(wait_);
    PodConnection::leave();
    worker.traffic.socket_closed(Direction::Inbound);
    fd_.reset();
    pod_.use.give_connection();
    worker.loop.bury(std::unique_ptr<base::Buried>(this));
}

}  // namespace warren::ztunnel
