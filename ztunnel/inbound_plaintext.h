// SPDX-License-Identifier: Apache-2.0
// Plaintext that arrives at a pod (15006, data-plane contract 6.6): judged without an identity, so strict mTLS and any principal rule
// refuse it; what is allowed goes on to the original destination with the client's address. Belongs to the pod's worker.
#pragma once

#include "policy/evaluate.h"
#include "ztunnel/pod_proxy.h"
#include "ztunnel/tcp_relay.h"

#include <memory>
#include <string>

namespace warren::ztunnel {

class InboundPlaintext final : public TcpRelay, public PodConnection {
  public:
    static void accept(PodProxy& pod, Accepted accepted);

  private:
    InboundPlaintext(PodProxy& pod, Accepted accepted);
    ~InboundPlaintext() override = default;

    void judge();  // once the record is known
    void on_dialled(int os) override;
    void on_relay_end(const RelayEnd& end) override;
    void on_progress() override;
    void on_mesh_change() override;
    void cut(const std::string& why) override {
        drained_ = true;
        TcpRelay::cut(why);
    }
    void on_wait_over();
    void refuse(std::string_view reason_code, std::string_view error);

    PodProxy& pod_;
    policy::Connection connection_;
    std::unique_ptr<TrafficRecord> record_;
    uint64_t reported_up_ = 0, reported_down_ = 0;
    base::Timer wait_;
    ResponseFlag flag_ = ResponseFlag::Connect;
    policy::PolicyRef deciding_;
    bool drained_ = false;
    bool judged_ = false;
    bool dialled_ = false;  // holds a second descriptor
};

}  // namespace warren::ztunnel
