// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/inbound_plaintext.h"

#include "policy/inbound.h"
#include "policy/route.h"
#include "ztunnel/error_texts.h"

namespace warren::ztunnel {

InboundPlaintext::InboundPlaintext(PodProxy& pod, Accepted accepted)
    : TcpRelay(pod.worker().loop, pod.worker().chunks, std::move(accepted.fd)),
      pod_(pod),
      wait_(base::Timer::of<&InboundPlaintext::on_wait_over>(*this)) {
    connection_.src = accepted.peer;
    connection_.dst = original_destination(client_fd());
}

void InboundPlaintext::accept(PodProxy& pod, Accepted accepted) {
    auto* self = new InboundPlaintext(pod, std::move(accepted));
    pod.enter(*self);
    WorkerContext& worker = pod.worker();
    worker.traffic.socket_opened(Direction::Inbound);
    if (policy::is_tunnel_port(self->connection_.dst.port))
        return self->refuse(policy::to_string(policy::Reason::SelfCall), "call to a port of the tunnel itself");
    if (pod.local() == nullptr) return worker.loop.arm(self->wait_, worker.settings.workload_wait);
    self->judge();
}

void InboundPlaintext::judge() {
    judged_ = true;
    WorkerContext& worker = pod_.worker();
    worker.loop.disarm(wait_);
    TrafficFacts f;
    f.direction = Direction::Inbound;
    f.src = connection_.src;
    f.dst = f.original_dst = connection_.dst;
    f.src_workload = pod_.source_at(connection_.src.ip);
    f.dst_workload = policy::WorkloadRef(pod_.local());
    f.dst_service = policy::probable_service(*worker.snapshot, *pod_.local(), connection_.dst.port);
    record_ = worker.traffic.open(std::move(f));
    const policy::Decision decision = pod_.policies().decide(connection_);
    record_->judged(decision);
    if (!decision.allowed) {
        flag_ = ResponseFlag::Deny;
        deciding_ = policy::PolicyRef(decision.policy);
        return TcpRelay::cut(policy_rejection(decision));
    }
    if (const auto limit = pod_.use.take_descriptor()) return TcpRelay::cut(std::string(describe(*limit)));
    dialled_ = true;
    auto socket = pod_.sockets().take(connection_.dst.family());
    if (!socket) return TcpRelay::cut(socket.error().message());
    if (worker.settings.spoof_source && connection_.src.ip != connection_.dst.ip)
        (void)bind_source(socket->get(), {connection_.src.ip, 0});  // contract 6.4: failure to bind leaves the connect unspoofed
    set_local_congestion(socket->get(), worker.settings.sockets);
    record_->started(socket->get());
    auto dialling = dial(std::move(*socket), connection_.dst, worker.settings.connect_timeout);
    if (!dialling) TcpRelay::cut(dialling.error().message());
}

void InboundPlaintext::on_dialled(int os) {
    if (os != 0) return TcpRelay::cut(base::os_error_of(os, "connect").message());
    flag_ = ResponseFlag::None;
    auto started = start_relay(pod_.worker().settings.half_closed_timeout);
    if (!started) TcpRelay::cut(started.error().message());
}

void InboundPlaintext::on_mesh_change() {
    if (!live()) return;
    if (!judged_) {
        if (pod_.local() != nullptr) judge();
        return;
    }
    const policy::Decision decision = pod_.policies().decide(connection_);
    if (decision.allowed) return;
    record_->judged(decision);
    flag_ = ResponseFlag::Deny;
    deciding_ = policy::PolicyRef(decision.policy);
    TcpRelay::cut(std::string(kPolicyChange));
}

void InboundPlaintext::on_wait_over() { refuse(policy::to_string(policy::Reason::UnknownSource), "unknown destination workload"); }

void InboundPlaintext::refuse(std::string_view reason_code, std::string_view error) {
    pod_.worker().traffic.early_deny(Direction::Inbound, connection_.src, connection_.dst, reason_code, error);
    TcpRelay::cut(std::string(error));
}

void InboundPlaintext::on_progress() {
    record_->add(bytes_down() - reported_down_, bytes_up() - reported_up_);  // the local application is the server here
    reported_up_ = bytes_up();
    reported_down_ = bytes_down();
}

void InboundPlaintext::on_relay_end(const RelayEnd& end) {
    loop_.disarm(wait_);
    if (record_) {
        on_progress();
        record_->close(EndOfConnection{flag_, end.clean, end.revoked, drained_}.flag(), end.error, deciding_.get(), end.ended_by(true));
    }
    PodConnection::leave();
    pod_.worker().traffic.socket_closed(Direction::Inbound);
    pod_.use.give_connection();
    if (dialled_) pod_.use.give_descriptor();
    loop_.bury(std::unique_ptr<base::Buried>(this));
}

}  // namespace warren::ztunnel
