// SPDX-License-Identifier: Apache-2.0
// The inbound HBONE side (data-plane contract 6.1): a connection accepted on 15008, its handshake with the pod's certificate, and its
// requests in the order of checks of the contract: method, authority, record, destination, next hop, policy, application.
// Belongs to the pod's worker.
#pragma once

#include "policy/evaluate.h"
#include "policy/inbound.h"
#include "ztunnel/pod_proxy.h"
#include "ztunnel/stream_relay.h"
#include "ztunnel/tunnel.h"

#include <memory>
#include <string>

namespace warren::ztunnel {

class InboundTunnel final : public TunnelOwner,
                            public PodConnection,
                            public HandshakeOf<PodProxy>,
                            public HandshakeOf<WorkerContext>,
                            public base::Buried {
  public:
    static void accept(PodProxy& pod, Accepted accepted);

    [[nodiscard]] PodProxy& pod() { return pod_; }
    [[nodiscard]] const base::SockAddr& peer_address() const { return peer_; }
    [[nodiscard]] base::IpAddr local_ip() const { return local_.ip; }
    [[nodiscard]] const base::SockAddr& local_address() const { return local_; }

  private:
    InboundTunnel(PodProxy& pod, Accepted accepted);
    ~InboundTunnel() override = default;

    void begin();  // once the record is known
    void with_certificate(base::Result<std::shared_ptr<const TlsContext>> context);
    void fail(std::string_view reason_code, std::string_view error);
    void on_wait_over();

    void on_tunnel_answered(Tunnel& tunnel) override;
    void on_tunnel_open(Tunnel& tunnel) override;
    H2Stream* on_tunnel_request(Tunnel& tunnel, int32_t id, const H2Request& request) override;
    void on_tunnel_goaway(Tunnel&) override {}
    void on_tunnel_room(Tunnel&) override {}
    void on_tunnel_gone(Tunnel& tunnel, const base::Error* why) override;

    void on_mesh_change() override;
    void on_trust_change() override;
    void cut(const std::string& why) override;
    void drain() override;
    void give_way(std::string_view reason_code, std::string_view error) override;
    [[nodiscard]] bool begin_handshake();
    void end_handshake();
    void bury();

    PodProxy& pod_;
    base::Fd fd_;  // until the tunnel has it
    base::SockAddr peer_;
    base::SockAddr local_;
    Tunnel* tunnel_ = nullptr;
    base::Timer wait_;
    std::string_view outcome_;  // reason code of an end that is told of
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    bool asked_ = false;
    bool shaking_ = false;  // counts among the handshakes, and stands in their lists
    bool over_ = false;
};

// One CONNECT.
class InboundStream final : public StreamRelay, public PodConnection {
  public:
    // The stream's owner, or null after the refusal was sent.
    static H2Stream* start(InboundTunnel& owner, Tunnel& tunnel, int32_t id, const H2Request& request);

  private:
    InboundStream(PodProxy& pod, base::Fd fd, policy::Inbound inbound, policy::Connection connection, policy::Identity peer);
    ~InboundStream() override = default;

    base::Result<void> dial(const base::SockAddr& peer);
    void on_dial_event(uint32_t events) override;
    void on_dial_timeout();
    void dialled(int os);
    void on_response(const H2Response&) override {}
    void on_relay_end(const RelayEnd& end) override;
    void on_progress() override;
    void report_bytes();
    void on_mesh_change() override;
    void cut(const std::string& why) override {
        drained_ = true;
        StreamRelay::cut(why);
    }

    PodProxy& pod_;
    policy::Inbound inbound_;
    policy::Identity peer_;  // empty: the certificate names no SPIFFE identity
    policy::Connection connection_;
    std::unique_ptr<TrafficRecord> record_;
    base::Timer dial_timer_;
    ResponseFlag flag_ = ResponseFlag::Connect;
    policy::PolicyRef deciding_;
    bool drained_ = false;
    uint64_t reported_sent_ = 0, reported_received_ = 0;
    bool accepted_ = false;
};

}  // namespace warren::ztunnel
