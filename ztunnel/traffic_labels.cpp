// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/traffic_labels.h"

#include <functional>

namespace warren::ztunnel {
namespace {

bool told(const policy::Baggage& baggage) { return baggage != policy::Baggage{}; }

// The baggage that describes the source: only of a peer whose address says nothing.
const policy::Baggage& source_baggage(const TrafficFacts& f) {
    static const policy::Baggage none;
    return f.src_workload ? none : f.src_baggage;
}

const policy::Baggage& destination_baggage(const TrafficFacts& f) {
    static const policy::Baggage none;
    return f.dst_workload ? none : f.dst_baggage;
}

std::string_view source_identity(const TrafficFacts& f) { return f.mutual_tls ? std::string_view(f.src_identity) : std::string_view(); }

// Else the destination principal comes from the workload's record, also for plaintext (quirk A12).
std::string_view destination_identity(const TrafficFacts& f) {
    return f.dst_workload ? std::string_view() : std::string_view(f.dst_identity);
}

size_t mix(size_t h, size_t v) noexcept { return (h ^ v) * 0x9e3779b97f4a7c15u ^ (h >> 29); }
size_t mix(size_t h, std::string_view text) noexcept { return text.empty() ? h : mix(h, std::hash<std::string_view>()(text)); }
size_t mix(size_t h, const void* p) noexcept { return mix(h, std::hash<const void*>()(p)); }
// The names alone tell peers apart well enough; the rest is compared.
size_t mix(size_t h, const policy::Baggage& b) noexcept { return mix(mix(mix(h, b.workload_name), b.ns), b.cluster); }

}  // namespace

std::string_view to_string(Direction direction) noexcept { return direction == Direction::Outbound ? "outbound" : "inbound"; }
std::string_view reporter(Direction direction) noexcept { return direction == Direction::Outbound ? "source" : "destination"; }

std::string_view to_string(ResponseFlag flag) noexcept {
    switch (flag) {
        case ResponseFlag::None: return "-";
        case ResponseFlag::Deny: return "DENY";
        case ResponseFlag::Connect: return "CONNECT";
        case ResponseFlag::TlsFailure: return "TLS_FAILURE";
        case ResponseFlag::H2HandshakeFailure: return "H2_HANDSHAKE_FAILURE";
        case ResponseFlag::NetworkPolicy: return "NETWORK_POLICY";
        case ResponseFlag::IdentityError: return "IDENTITY_ERROR";
        case ResponseFlag::CertRevoked: return "CERT_REVOKED";
    }
    return "CONNECT";
}

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

LabelFacts::LabelFacts(const TrafficFacts& f)
    : direction(f.direction),
      mutual_tls(f.mutual_tls),
      src_workload(f.src_workload),
      dst_workload(f.dst_workload),
      dst_service(f.dst_service),
      src_baggage(source_baggage(f)),
      dst_baggage(destination_baggage(f)),
      src_identity(source_identity(f)),
      dst_identity(destination_identity(f)) {}

bool LabelFacts::same(const TrafficFacts& f) const {
    return direction == f.direction && mutual_tls == f.mutual_tls && src_workload == f.src_workload && dst_workload == f.dst_workload &&
           dst_service == f.dst_service && src_identity == source_identity(f) && dst_identity == destination_identity(f) &&
           src_baggage == source_baggage(f) && dst_baggage == destination_baggage(f);
}

size_t hash_of(const TrafficFacts& f) noexcept {
    size_t h = static_cast<size_t>(f.direction) * 2 + (f.mutual_tls ? 1 : 0);
    h = mix(mix(mix(h, f.src_workload.get()), f.dst_workload.get()), f.dst_service.get());
    h = mix(mix(h, source_identity(f)), destination_identity(f));
    return mix(mix(h, source_baggage(f)), destination_baggage(f));
}

size_t hash_of(const LabelFacts& f) noexcept {
    size_t h = static_cast<size_t>(f.direction) * 2 + (f.mutual_tls ? 1 : 0);
    h = mix(mix(mix(h, f.src_workload.get()), f.dst_workload.get()), f.dst_service.get());
    h = mix(mix(h, f.src_identity), f.dst_identity);
    return mix(mix(h, f.src_baggage), f.dst_baggage);
}

// One end of a connection, from its record or else from what its headers told. "app" differs by origin (contract 9.2).
struct LabelValues::Side {
    std::string_view workload, service, revision, ns, app, cluster, region, zone;
};

LabelValues::Side LabelValues::side_of(const policy::Workload* w, const policy::Baggage& b) {
    if (w != nullptr)
        return {w->workload_name,  w->canonical_name, w->canonical_revision, w->ns,
                w->canonical_name, w->cluster_id,     w->locality.region,    w->locality.zone};
    return {b.workload_name, b.service_name, b.service_version, b.ns, b.workload_name, b.cluster, b.region, b.zone};
}

void LabelValues::put(const Side& side, std::string_view principal) {
    for (const std::string_view v : {side.workload, side.service, side.revision, side.ns, principal, side.app, side.revision, side.cluster})
        put(v);
}

LabelValues::LabelValues(const LabelFacts& f, ResponseFlag flag) {
    const Side src = side_of(f.src_workload.get(), f.src_baggage);
    const Side dst = side_of(f.dst_workload.get(), f.dst_baggage);
    dst_principal_ = f.dst_workload ? f.dst_workload->identity().uri() : f.dst_identity;

    put(reporter(f.direction));
    put(src, f.src_identity);
    const policy::Service* service = f.dst_service.get();
    put(service != nullptr ? service->hostname.view() : std::string_view());
    put(service != nullptr ? service->ns.view() : std::string_view());
    put(service != nullptr ? service->name.view() : std::string_view());
    put(dst, dst_principal_);
    put("tcp");
    put(to_string(flag));
    put(f.mutual_tls ? "mutual_tls" : "unknown");
    if (!f.src_workload && !f.dst_workload && !told(f.src_baggage) && !told(f.dst_baggage)) return;
    for (const std::string_view v : {src.region, src.zone, dst.region, dst.zone}) put(v);
}

}  // namespace warren::ztunnel
