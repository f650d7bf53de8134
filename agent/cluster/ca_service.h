// SPDX-License-Identifier: Apache-2.0
// istio.v1.auth.IstioCertificateService over gRPC (data-plane contract 2.1, 2.2; Kubernetes contract 4.1 to 4.4), for stock tunnels and for
// our own. Registered with the controller's server, beside the xDS service. A call is queued for a few threads (a token review may block)
// with its headers alone; its message is read once the caller is known, measured, queued again and parsed. So a stranger has no more
// memory of ours than HTTP/2's first window for a call, 64 KiB; somebody known has what the server's memory quota leaves. The queue is
// bounded: what does not fit is refused with Unavailable. stop() before the server is shut down or destroyed; the service outlives the
// server. gRPC stays in the .cpp.
#pragma once

#include "agent/cluster/issuance.h"

#include <chrono>
#include <cstddef>
#include <memory>

namespace grpc {
class Service;
}

namespace warren::cluster {

struct CaServiceOptions {
    unsigned threads = 0;                                           // 0: one per processor, at least two
    size_t queue = 2'048;                                           // requests that wait
    size_t max_request_bytes = 64UL * 1024;                         // the whole message; larger: ResourceExhausted
    std::chrono::milliseconds deadline = std::chrono::seconds(10);  // of a call that sets none, and at most; also for its message
};

class CaService {
  public:
    CaService(Issuance& issuance, const CaServiceOptions& options);
    ~CaService();
    CaService(const CaService&) = delete;
    CaService& operator=(const CaService&) = delete;

    [[nodiscard]] grpc::Service* service();
    // Answers what waits with Unavailable and ends the threads; later calls are refused.
    void stop();

    struct Stats {
        uint64_t overloaded = 0;  // found the queue full
        uint64_t oversize = 0;
        uint64_t abandoned = 0;  // the client had given up before their turn came
        size_t waiting = 0;
    };
    [[nodiscard]] Stats stats() const;

  private:
    struct Impl;
    const std::unique_ptr<Impl> impl_;
};

// What a request says, from its bytes. Invalid: which field, and why. Public for the fuzzer.
struct ParsedRequest {
    std::string csr;
    std::chrono::seconds lifetime{0};
    std::string impersonated;
};
[[nodiscard]] base::Result<ParsedRequest> parse_request(std::string_view message);

}  // namespace warren::cluster
