// SPDX-License-Identifier: Apache-2.0
// The outbound side (data-plane contract 5.2): a connection captured on 15001, from its original destination to a route, to a tunnel
// or a plain connection. An endpoint that does not answer is replaced by another one before the client sees anything.
// Belongs to the pod's worker; a connection buries itself when both its ends are closed.
#pragma once

#include "policy/route.h"
#include "ztunnel/pod_proxy.h"
#include "ztunnel/stream_relay.h"
#include "ztunnel/tcp_relay.h"
#include "ztunnel/tunnel_pool.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace warren::ztunnel {

// A captured connection on its way to a route.
struct Captured {
    base::Fd fd;
    base::SockAddr client;
    base::SockAddr destination;                     // where the application wanted to go
    std::optional<base::SockAddr> drawn = {};       // the endpoint that the kernel drew for it
    std::string trace = {};                         // traceparent of every request for it (contract 4.3)
    std::vector<policy::Text> tried;                // endpoints that failed
    int refused = 0;                                // times a peer did nothing with the request
    std::optional<base::MonoTime> wait_until = {};  // for names of the mesh that are asked for on demand; from the first wait on
    std::optional<base::MonoTime> record_until =
        {};                             // for the pod's own record, and a certificate that may be refused until then; as above
    policy::WorkloadRef stand_in = {};  // while there is no record (stand_in.h)
    [[nodiscard]] const policy::Workload* source(PodProxy& pod) const { return pod.local() != nullptr ? pod.local() : stand_in.get(); }
};

class Outbound {
  public:
    static void accept(PodProxy& pod, Accepted accepted);
    // Routes and starts; refusals are logged and end the connection.
    static void dispatch(PodProxy& pod, Captured captured);
    static void start(PodProxy& pod, Captured captured, policy::Route route);
    static void refuse(PodProxy& pod, const Captured& captured, std::string_view reason_code, std::string_view error);
};

// Through a tunnel: one stream of a pooled HBONE connection.
class OutboundStream final : public StreamRelay, public PodConnection, public TunnelWaiter {
  public:
    static void start(PodProxy& pod, Captured captured, policy::Route route);

  private:
    OutboundStream(PodProxy& pod, Captured captured, policy::Route route);
    ~OutboundStream() override = default;

    void on_tunnel(base::Result<Tunnel*> tunnel) override;
    void on_response(const H2Response& response) override;
    void on_relay_end(const RelayEnd& end) override;
    // Outbound connections are not re-judged here, the destination's side does; only whether the node agent was right.
    void on_mesh_change() override { check_stand_in(); }
    void cut(const std::string& why) override {
        drained_ = true;
        StreamRelay::cut(why);
    }
    void on_progress() override { report_bytes(); }
    void on_closed(const H2Reset* reset) override;

    struct RequestTexts {
        std::string baggage, forwarded, trace;
    };
    [[nodiscard]] TunnelKey key() const;
    [[nodiscard]] RequestTexts request_texts() const;
    void learn_destination(const H2Response& response);
    void check_stand_in();
    [[nodiscard]] TrafficFacts facts() const;
    // Elsewhere: another endpoint may answer. Anywhere: the peer did nothing with the request, so the same endpoint may take it too.
    // Later: the certificate of a pod whose record is on its way.
    enum class Again : uint8_t { No, Elsewhere, Anywhere, Later };
    void failed(const base::Error& why, ResponseFlag flag, Again again);
    void report_bytes();

    PodProxy& pod_;
    policy::WorkloadRef source_;
    Captured captured_;
    policy::Route route_;
    std::unique_ptr<TrafficRecord> record_;
    uint64_t reported_sent_ = 0, reported_received_ = 0;
    ResponseFlag flag_ = ResponseFlag::Connect;
    bool drained_ = false;
    bool answered_ = false;
    bool over_ = false;
};

// Not through a tunnel: passthrough, or a workload of the mesh without HBONE.
class OutboundTcp final : public TcpRelay, public PodConnection {
  public:
    static void start(PodProxy& pod, Captured captured, policy::Route route);

  private:
    OutboundTcp(PodProxy& pod, Captured captured, policy::Route route);
    ~OutboundTcp() override = default;
    void on_dialled(int os) override;
    void on_relay_end(const RelayEnd& end) override;
    void on_progress() override;
    void on_mesh_change() override;
    void cut(const std::string& why) override {
        drained_ = true;
        TcpRelay::cut(why);
    }

    PodProxy& pod_;
    base::SockAddr client_;
    policy::WorkloadRef stand_in_;
    policy::Route route_;
    std::unique_ptr<TrafficRecord> record_;
    uint64_t reported_up_ = 0, reported_down_ = 0;
    ResponseFlag flag_ = ResponseFlag::Connect;
    bool drained_ = false;
    bool dialled_ = false;  // holds a second descriptor
};

}  // namespace warren::ztunnel
