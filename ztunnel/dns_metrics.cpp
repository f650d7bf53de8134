// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_metrics.h"

#include "ztunnel/dns_message.h"

namespace warren::ztunnel {

base::Result<DnsMetrics> DnsMetrics::create(base::metrics::Registry& registry) {
    const std::vector<std::string> labels = {"request_query_type", "request_protocol", "source_canonical_service",
                                             "source_canonical_revision"};
    auto requests = TRY(registry.counter({"istio_dns_requests_total", "DNS queries received (unstable).", labels}));
    auto forwarded =
        TRY(registry.counter({"istio_dns_upstream_requests_total", "DNS queries forwarded to name servers (unstable).", labels}));
    auto failed = TRY(
        registry.counter({"istio_dns_upstream_failures_total", "Forwarded DNS queries that ended with an error code (unstable).", labels}));
    auto seconds =
        TRY(registry.histogram({"istio_dns_upstream_request_duration_seconds", "Time from forwarding to the answer (unstable).", labels},
                               {0.0005, 0.001, 0.01, 0.1, 1, 5}));
    auto drops = TRY(registry.counter({"warren_dns_drops_total", "What the DNS proxy refused or dropped (unstable).", {"reason"}}));
    auto hits = TRY(registry.counter({"warren_dns_cache_hits_total", "Forwarded queries answered from the pod's cache (unstable)."}));
    return DnsMetrics{requests,
                      forwarded,
                      failed,
                      seconds,
                      drops.with({"query_limit"}),
                      drops.with({"tcp_client_limit"}),
                      drops.with({"malformed"}),
                      drops.with({"not_the_answer"}),
                      drops.with({"client_blocked"}),
                      hits.with()};
}

void DnsPodSeries::set_source(std::string_view canonical_service, std::string_view canonical_revision) {
    auto or_unknown = [](std::string_view v) { return v.empty() ? std::string_view("unknown") : v; };
    if (service_ == or_unknown(canonical_service) && revision_ == or_unknown(canonical_revision)) return;
    service_ = or_unknown(canonical_service);
    revision_ = or_unknown(canonical_revision);
    series_.clear();
}

DnsPodSeries::Series& DnsPodSeries::of(uint16_t type, bool tcp) {
    const std::string_view label = dns::type_label(type);
    auto [it, fresh] = series_.try_emplace({label, tcp});
    if (fresh) {
        const std::string_view values[] = {label, tcp ? "tcp" : "udp", service_, revision_};
        it->second = {metrics_.requests.with(values), metrics_.upstream_requests.with(values), metrics_.upstream_failures.with(values),
                      metrics_.upstream_seconds.with(values)};
    }
    return it->second;
}

}  // namespace warren::ztunnel
