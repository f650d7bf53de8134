// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/controller_metrics.h"

#include "agent/cluster/controller.h"

#include <malloc.h>

namespace warren::cluster {

namespace {

using base::metrics::Collection;

double unix_seconds(base::WallTime time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

void collect_mesh(const ControllerReport& r, Collection& to) {
    to.gauge("warren_controller_ready", "1 when nodes are served", {}, r.pending.empty() ? 1 : 0);
    to.gauge("warren_controller_source_errors", "problems of the source's objects at present", {},
             static_cast<double>(r.source.error_count));
    to.counter("warren_controller_source_deliveries_total", "states taken over from the source", {},
               static_cast<double>(r.source.deliveries));
    for (const auto& [kind, count] : r.source.objects)
        to.gauge("warren_controller_source_objects", "objects of the source", {{"kind", kind}}, static_cast<double>(count));
    for (const auto& [name, count] : r.source.counters)
        to.gauge("warren_controller_source_state", "counts of the source's own", {{"name", name}}, static_cast<double>(count));
    const auto resources = [&](const char* kind, size_t n) {
        to.gauge("warren_controller_resources", "resources nodes are sent", {{"kind", kind}}, static_cast<double>(n));
    };
    resources("workload", r.mesh.workloads);
    resources("service", r.mesh.services);
    resources("authorization", r.mesh.policies);
    to.gauge("warren_controller_resource_bytes", "of all resources", {}, static_cast<double>(r.mesh.bytes));
    to.gauge("warren_controller_conversion_errors", "objects that were not taken or made stricter", {},
             static_cast<double>(r.mesh.error_count));
    to.gauge("warren_controller_conversion_seconds", "the last conversion", {}, std::chrono::duration<double>(r.mesh.took).count());
    to.counter("warren_controller_publications_total", "states published", {}, static_cast<double>(r.mesh.publications));
}

void collect_streams(const ControllerReport& r, Collection& to) {
    const auto counter = [&](const char* name, const char* help, uint64_t value) {
        to.counter(name, help, {}, static_cast<double>(value));
    };
    to.gauge("warren_controller_clients", "xDS streams open", {}, static_cast<double>(r.xds.clients));
    to.gauge("pilot_xds", "xDS streams open", {{"version", WARREN_VERSION}}, static_cast<double>(r.xds.clients));
    counter("warren_controller_streams_total", "xDS streams opened", r.xds.streams);
    counter("warren_controller_pushes_total", "responses sent", r.xds.responses);
    counter("warren_controller_push_bytes_total", "of responses", r.xds.bytes);
    counter("warren_controller_acks_total", "responses acknowledged", r.xds.acks);
    counter("warren_controller_nacks_total", "responses refused by nodes", r.xds.nacks);
    counter("pilot_total_xds_rejects_total", "responses refused by nodes", r.xds.nacks);
    counter("warren_controller_encodings_total", "responses encoded", r.xds.encoded);
    counter("warren_controller_encodings_shared_total", "responses that another node's encoding served", r.xds.shared);
    const auto refused = [&](const char* why, uint64_t value) {
        to.counter("warren_controller_streams_refused_total", "xDS streams not served", {{"reason", why}}, static_cast<double>(value));
    };
    refused("unknown_caller", r.gate->refused.load());
    refused("failed_attempts", r.gate->limited.load());
    refused("denied", r.xds.denied);
    refused("limit_streams", r.xds.limits.streams);
    refused("limit_streams_of_address", r.xds.limits.peer_streams);
    refused("limit_rate", r.xds.limits.rate);
    refused("limit_rate_of_peer", r.xds.limits.peer_rate);
    refused("not_ready", r.xds.not_ready);
    refused("timeout", r.xds.timed_out);
    refused("authentication_queue", r.gate->overloaded.load());
    refused("not_reviewed", r.gate->unreviewed.load());
    to.gauge("warren_controller_convergence_seconds", "from the end of the debounce to the last ACK", {},
             std::chrono::duration<double>(r.xds.last_convergence).count());
}

void collect_certificates(const ControllerReport& r, Collection& to) {
    const IssuanceStats& s = *r.certificates;
    to.counter("warren_controller_certificates_issued_total", "certificates signed", {}, static_cast<double>(s.issued.load()));
    const auto refused = [&](const char* why, uint64_t value) {
        to.counter("warren_controller_certificates_refused_total", "requests refused", {{"reason", why}}, static_cast<double>(value));
    };
    refused("unauthenticated", s.unauthenticated.load());
    refused("not_allowed", s.not_allowed.load());
    refused("bad_request", s.bad_requests.load());
    refused("limit", s.limited.load());
    refused("overloaded", r.certificate_queue.overloaded);
    refused("oversize", r.certificate_queue.oversize);
    refused("failed", s.failed.load());
    refused("not_audited", s.unaudited.load());
    refused("not_reviewed", s.unreviewed.load());
    const auto audit = [&](const char* what, uint64_t value) {
        to.counter("warren_controller_audit_lines_total", "lines of the audit log", {{"result", what}}, static_cast<double>(value));
    };
    audit("written", r.audit.written);
    audit("dropped", r.audit.dropped);
    audit("failed", r.audit.failed);
    to.counter("warren_controller_tokens_used_total", "certificates that bootstrap tokens bought", {},
               static_cast<double>(s.tokens_used.load()));
    to.gauge("warren_controller_tokens", "bootstrap tokens", {}, static_cast<double>(r.tokens));
    to.gauge("warren_controller_root_rotation", "0 steady, 1 a new root is trusted, 2 the old one is retiring", {},
             static_cast<double>(r.rotation.phase));
    to.gauge("warren_controller_authority_error", "1 when the authority's files are wrong", {}, r.authority_error.empty() ? 0 : 1);
    to.gauge("citadel_server_root_cert_expiry_timestamp", "Unix time", {}, unix_seconds(r.rotation.root_expires));
    to.gauge("citadel_server_cert_chain_expiry_timestamp", "Unix time", {}, unix_seconds(r.rotation.issuer_expires));
    to.counter("citadel_server_csr_count_total", "requests", {}, static_cast<double>(s.requests.load()));
    to.counter("citadel_server_success_cert_issuance_count_total", "certificates signed", {}, static_cast<double>(s.issued.load()));
    to.counter("citadel_server_authentication_failure_count_total", "callers nobody knows", {},
               static_cast<double>(s.unauthenticated.load()));
}

void collect_reviews(const kube::TokenReviewer::Stats& s, Collection& to) {
    const auto reviewed = [&](const char* result, uint64_t value) {
        to.counter("warren_controller_token_reviews_total", "Kubernetes tokens looked at", {{"result", result}},
                   static_cast<double>(value));
    };
    reviewed("kept_answer", s.hits);
    reviewed("asked", s.reviews);
    reviewed("denied", s.denied);
    reviewed("error", s.errors);
    reviewed("timeout", s.timed_out);
    reviewed("overloaded", s.overloaded);
    to.gauge("warren_controller_token_reviews_waiting", "requests to the API server under way", {}, static_cast<double>(s.at_once));
}

void collect_statuses(const StatusWriter::Stats& s, bool leads, Collection& to) {
    const auto written = [&](const char* result, uint64_t value) {
        to.counter("warren_controller_status_writes_total", "statuses of objects written by the replica that leads", {{"result", result}},
                   static_cast<double>(value));
    };
    written("written", s.writes);
    written("left", s.left);  // to another controller
    written("error", s.errors);
    to.gauge("warren_controller_statuses_waiting", "objects whose status the replica that leads has still to write", {},
             leads ? static_cast<double>(s.waiting) : 0);
}

void collect_addresses(const AddressWriter::Stats& s, bool leads, Collection& to) {
    const auto written = [&](const char* result, uint64_t value) {
        to.counter("warren_controller_address_writes_total", "ServiceEntries whose hosts were given addresses by the replica that leads",
                   {{"result", result}}, static_cast<double>(value));
    };
    written("written", s.writes);
    written("error", s.errors);
    to.gauge("warren_controller_addresses", "that hosts of ServiceEntries were given", {}, static_cast<double>(s.taken));
    to.gauge("warren_controller_addresses_waiting", "ServiceEntries whose hosts the replica that leads has still to give addresses", {},
             leads ? static_cast<double>(s.waiting) : 0);
}

void collect_process(const ControllerReport& r, Collection& to) {
    to.gauge("warren_controller_build_info", "1", {{"version", WARREN_VERSION}}, 1);
    to.gauge("warren_controller_heap_bytes", "in use", {}, static_cast<double>(::mallinfo2().uordblks));
    if (r.leader) to.gauge("warren_controller_leading", "1 in the replica that writes", {}, r.leader->leading ? 1 : 0);
    const base::log::Stats log = base::log::stats();
    to.counter("warren_controller_log_lines_dropped_total", "that found no room", {}, static_cast<double>(log.dropped));
}

}  // namespace

std::unique_ptr<base::metrics::Registry::Subscription> publish_controller_metrics(base::metrics::Registry& registry,
                                                                                  std::function<ControllerReport()> report) {
    return registry.collect([report = std::move(report)](Collection& to) {
        const ControllerReport now = report();
        collect_mesh(now, to);
        collect_streams(now, to);
        collect_certificates(now, to);
        if (now.reviews) collect_reviews(*now.reviews, to);
        const bool leads = now.leader && now.leader->leading;
        if (now.statuses) collect_statuses(*now.statuses, leads, to);
        if (now.addresses) collect_addresses(*now.addresses, leads, to);
        collect_process(now, to);
    });
}

}  // namespace warren::cluster
