// SPDX-License-Identifier: Apache-2.0
#include "policy/traffic_labels.h"

namespace warren::policy {
namespace {

bool told(const Baggage& baggage) { return baggage != Baggage{}; }

}  // namespace

std::vector<std::string> traffic_label_names() {
    return {"reporter",
            "source_workload",
            "source_canonical_service",
            "source_canonical_revision",
            "source_workload_namespace",
            "source_principal",
            "source_app",
            "source_version",
            "source_cluster",
            "destination_service",
            "destination_service_namespace",
            "destination_service_name",
            "destination_workload",
            "destination_canonical_service",
            "destination_canonical_revision",
            "destination_workload_namespace",
            "destination_principal",
            "destination_app",
            "destination_version",
            "destination_cluster",
            "request_protocol",
            "response_flags",
            "connection_security_policy"};
}

std::vector<std::string> locality_label_names() { return {"source_region", "source_zone", "destination_region", "destination_zone"}; }

bool same_labels(const Workload* a, const Workload* b) noexcept {
    if (a == b) return true;
    if (a == nullptr || b == nullptr) return false;
    return a->workload_name == b->workload_name && a->canonical_name == b->canonical_name &&
           a->canonical_revision == b->canonical_revision && a->ns == b->ns && a->cluster_id == b->cluster_id &&
           a->locality.region == b->locality.region && a->locality.zone == b->locality.zone && a->trust_domain == b->trust_domain &&
           a->service_account == b->service_account;
}

bool same_labels(const Service* a, const Service* b) noexcept {
    if (a == b) return true;
    return a != nullptr && b != nullptr && a->hostname == b->hostname && a->ns == b->ns && a->name == b->name;
}

// The names alone tell records apart well enough; the rest is compared.
uint64_t label_hash(const Workload* w) noexcept {
    if (w == nullptr) return 0;
    return w->workload_name.hash() * 31 ^ w->ns.hash() * 17 ^ w->service_account.hash() * 7 ^ w->canonical_revision.hash();
}

uint64_t label_hash(const Service* s) noexcept { return s == nullptr ? 0 : s->hostname.hash() * 31 ^ s->ns.hash(); }

// One end of a connection, from its record or else from what its headers told. "app" differs by origin (contract 9.2).
struct TrafficLabelValues::Side {
    std::string_view workload, service, revision, ns, app, cluster, region, zone;
};

TrafficLabelValues::Side TrafficLabelValues::side_of(const Workload* w, const Baggage& b) {
    if (w != nullptr)
        return {w->workload_name,  w->canonical_name, w->canonical_revision, w->ns,
                w->canonical_name, w->cluster_id,     w->locality.region,    w->locality.zone};
    return {b.workload_name, b.service_name, b.service_version, b.ns, b.workload_name, b.cluster, b.region, b.zone};
}

void TrafficLabelValues::put(const Side& side, std::string_view principal) {
    for (const std::string_view v : {side.workload, side.service, side.revision, side.ns, principal, side.app, side.revision, side.cluster})
        put(v);
}

TrafficLabelValues::TrafficLabelValues(const TrafficLabels& f) {
    const Side src = side_of(f.source, f.source_baggage);
    const Side dst = side_of(f.destination, f.destination_baggage);
    destination_principal_ = f.destination != nullptr ? f.destination->identity().uri() : std::string(f.destination_principal);

    put(f.reporter);
    put(src, f.source_principal);
    put(f.service != nullptr ? f.service->hostname.view() : std::string_view());
    put(f.service != nullptr ? f.service->ns.view() : std::string_view());
    put(f.service != nullptr ? f.service->name.view() : std::string_view());
    put(dst, destination_principal_);
    put("tcp");
    put(f.response_flags);
    put(f.security);
    if (f.source == nullptr && f.destination == nullptr && !told(f.source_baggage) && !told(f.destination_baggage)) return;
    for (const std::string_view v : {src.region, src.zone, dst.region, dst.zone}) put(v);
}

}  // namespace warren::policy
