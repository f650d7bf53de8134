// SPDX-License-Identifier: Apache-2.0
// The metrics of the DNS proxy (data-plane contract 9.4) and what it drops or refuses. DnsMetrics is made once and used from any thread;
// DnsPodSeries belongs to a pod's server and looks a series up once per type, protocol and identity of the pod.
#pragma once

#include "base/metrics.h"
#include "base/result.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>

namespace warren::ztunnel {

class DnsMetrics {
  public:
    // The registry outlives what is made here.
    static base::Result<DnsMetrics> create(base::metrics::Registry& registry);

    base::metrics::Family<base::metrics::Counter> requests, upstream_requests, upstream_failures;
    base::metrics::Family<base::metrics::Histogram> upstream_seconds;

    using CounterPtr = std::shared_ptr<base::metrics::Counter>;
    CounterPtr queries_refused;  // SERVFAIL: the pod's limit of concurrent queries
    CounterPtr clients_refused;  // TCP connections over the pod's limit, closed
    CounterPtr malformed;        // no answer, or FORMERR
    CounterPtr spoofed;          // datagrams on an upstream socket that were no answer to its query
    CounterPtr answers_unsent;   // the client's socket took no more
    CounterPtr cache_hits;
};

class DnsPodSeries {
  public:
    explicit DnsPodSeries(const DnsMetrics& metrics) : metrics_(metrics) {}
    struct Series {
        std::shared_ptr<base::metrics::Counter> requests, upstream_requests, upstream_failures;
        std::shared_ptr<base::metrics::Histogram> upstream_seconds;
    };
    // The pod's record changed: other label values from now on. Empty ones are "unknown".
    void set_source(std::string_view canonical_service, std::string_view canonical_revision);
    [[nodiscard]] Series& of(uint16_t type, bool tcp);

  private:
    const DnsMetrics& metrics_;
    std::string service_ = "unknown", revision_ = "unknown";
    std::map<std::pair<std::string_view, bool>, Series> series_;  // at most twice the type labels
};

}  // namespace warren::ztunnel
