// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/xds_metrics.h"

#include <string_view>
#include <utility>

namespace warren::ztunnel {

namespace {

using base::metrics::Collection;

double number(uint64_t value) { return static_cast<double>(value); }

void collect_type(Collection& to, const xds::TypeStats& type) {
    const std::string_view url = type.type_url;
    if (url.empty()) {  // a type nobody asked for
        to.counter("warren_xds_unknown_messages_total", "Responses of types that were not asked for (unstable).", {},
                   number(type.messages));
        return;
    }
    to.counter("istio_xds_message_total", "Total number of messages received (unstable).", {{"url", url}}, number(type.messages));
    to.counter("istio_xds_message_bytes_total", "Total number of bytes received (unstable).", {{"url", url}}, number(type.bytes));
    to.counter("warren_xds_resources_total", "Resources received (unstable).", {{"url", url}}, number(type.resources));
    to.counter("warren_xds_rejected_total", "Resources refused, with a NACK (unstable).", {{"url", url}}, number(type.rejected));
    to.counter("warren_xds_removed_total", "Removals received (unstable).", {{"url", url}}, number(type.removed));
    to.gauge("warren_xds_names", "Names of resources held (unstable).", {{"url", url}}, number(type.held));
}

void collect_client(Collection& to, const xds::Stats& stats) {
    for (size_t i = 0; i < stats.terminations.size(); ++i)
        if (stats.terminations[i] > 0)
            to.counter("istio_xds_connection_terminations_total", "The total number of completed connections to xds server (unstable).",
                       {{"reason", xds::to_string(static_cast<xds::Termination>(i))}}, number(stats.terminations[i]));
    for (const xds::TypeStats& type : stats.types) collect_type(to, type);
    to.gauge("warren_xds_connected", "Whether a stream to the control plane works (unstable).", {}, stats.connected ? 1 : 0);
    to.counter("warren_xds_attempts_total", "Streams tried (unstable).", {}, number(stats.attempts));
    to.counter("warren_xds_answers_total", "Responses by how they were answered (unstable).", {{"answer", "ack"}}, number(stats.acks));
    to.counter("warren_xds_answers_total", "Responses by how they were answered (unstable).", {{"answer", "nack"}}, number(stats.nacks));
}

void collect_on_demand(Collection& to, const OnDemand::Stats& stats) {
    const char* const help = "Lookups of connections in a mesh that comes on demand, by outcome (unstable).";
    to.counter("warren_xds_lookups_total", help, {{"outcome", "hit"}}, number(stats.hits));
    to.counter("warren_xds_lookups_total", help, {{"outcome", "miss"}}, number(stats.misses));
    to.counter("warren_xds_lookups_total", help, {{"outcome", "timeout"}}, number(stats.timeouts));
    to.counter("warren_xds_lookups_total", help, {{"outcome", "refused"}}, number(stats.refused));
    to.counter("warren_xds_expired_total", "Names given back because nobody used them (unstable).", {}, number(stats.expired));
    to.gauge("warren_xds_asked_names", "Names asked for on demand (unstable).", {}, number(stats.names));
    to.gauge("warren_xds_pending_names", "Names asked for and not answered (unstable).", {}, number(stats.pending));
    to.gauge("warren_xds_waiting_connections", "Connections that wait for names (unstable).", {}, number(stats.waiting));
}

}  // namespace

std::unique_ptr<base::metrics::Registry::Subscription> publish_xds_metrics(base::metrics::Registry& registry, XdsSources sources) {
    return registry.collect([sources = std::move(sources)](Collection& to) {
        collect_client(to, sources.client());
        if (sources.on_demand) collect_on_demand(to, sources.on_demand());
    });
}

}  // namespace warren::ztunnel
