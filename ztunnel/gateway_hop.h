// SPDX-License-Identifier: Apache-2.0
// GatewayHop: double HBONE, client side (data-plane contract 4.9). One stream of a pooled tunnel to the gateway carries a second TLS and
// HTTP/2 session to the workload behind it. The inner tunnel is an ordinary Tunnel whose socket is one end of a socket pair; the other
// end is relayed to the outer stream as any application's socket is. Never pooled: it is pinned to one remote workload.
// Belongs to the pod's worker; ends, and buries itself, when the inner tunnel and the outer stream have.
#pragma once

#include "policy/route.h"
#include "ztunnel/pod_proxy.h"
#include "ztunnel/stream_relay.h"
#include "ztunnel/tunnel_pool.h"

#include <memory>
#include <string>

namespace warren::ztunnel {

struct GatewayHopRequest {
    TunnelKey outer;
    std::string authority;                           // service hostname and port, of the outer and the inner CONNECT
    std::vector<policy::Identity> inner_identities;  // the service's; empty always fails
    std::string baggage, forwarded, traceparent;     // request headers of the outer CONNECT
};

class GatewayHop final : public StreamRelay, public TunnelWaiter, public PodConnection, private TunnelOwner {
  public:
    // waiter is told of the inner tunnel, or of the failure, exactly once; it may withdraw.
    static void start(PodProxy& pod, GatewayHopRequest request, TunnelWaiter& waiter);

  private:
    GatewayHop(PodProxy& pod, GatewayHopRequest request);
    ~GatewayHop() override = default;

    void on_tunnel(base::Result<Tunnel*> outer) override;
    void on_response(const H2Response& response) override;
    void on_closed(const H2Reset* reset) override;
    void on_relay_end(const RelayEnd& end) override;
    base::Result<void> start_inner();
    void fail(base::Error why);
    void done_if_both();

    void on_tunnel_open(Tunnel& inner) override;
    H2Stream* on_tunnel_request(Tunnel& inner, int32_t id, const H2Request& request) override;
    void on_tunnel_goaway(Tunnel&) override {}
    void on_tunnel_room(Tunnel& inner) override { inner.drain(); }  // its one stream has ended
    void on_tunnel_gone(Tunnel& inner, const base::Error* why) override;

    void on_mesh_change() override {}
    void cut(const std::string& why) override;

    PodProxy& pod_;
    GatewayHopRequest request_;
    base::LinkList<TunnelWaiter> waiter_;  // the one who asked, until it was told
    Tunnel* inner_ = nullptr;
    bool relay_over_ = false;
    bool buried_ = false;
};

}  // namespace warren::ztunnel
