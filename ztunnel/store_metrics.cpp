// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/store_metrics.h"

#include <utility>

namespace warren::ztunnel {

void publish(base::metrics::Collection& to, const CertStoreStats& stats) {
    const std::pair<const char*, uint64_t> events[] = {{"issued", stats.issued},
                                                       {"failed", stats.failed},
                                                       {"refused", stats.refused},
                                                       {"prefetch_dropped", stats.prefetch_dropped},
                                                       {"discarded", stats.discarded},
                                                       {"context_rebuilt", stats.contexts_rebuilt},
                                                       {"answer_lost", stats.answers_lost},
                                                       {"trust_changed", stats.trust_changes}};
    for (const auto& [event, n] : events)
        to.counter("warren_certificate_events_total", "What happened in the certificate store (unstable).", {{"event", event}},
                   static_cast<double>(n));
    to.gauge("warren_certificate_identities", "Identities in the certificate store (unstable).", {}, static_cast<double>(stats.identities));
    to.gauge("warren_certificate_requests_in_flight", "Certificates that are being signed (unstable).", {},
             static_cast<double>(stats.in_flight));
}

void publish(base::metrics::Collection& to, const HostResolver::Stats& stats) {
    const std::pair<const char*, uint64_t> events[] = {{"cache_hit", stats.cache_hits}, {"refused", stats.refused}, {"lost", stats.lost}};
    for (const auto& [event, n] : events)
        to.counter("warren_host_resolver_events_total", "What happened in the resolver of workloads' hostnames (unstable).",
                   {{"event", event}}, static_cast<double>(n));
    to.gauge("warren_host_resolver_cached", "Hostnames whose addresses are known (unstable).", {}, static_cast<double>(stats.cached));
}

}  // namespace warren::ztunnel
