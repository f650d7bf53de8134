// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/traffic_labels.h"

#include <functional>

namespace warren::ztunnel {
namespace {

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
    return direction == f.direction && mutual_tls == f.mutual_tls && policy::same_labels(src_workload.get(), f.src_workload.get()) &&
           policy::same_labels(dst_workload.get(), f.dst_workload.get()) && policy::same_labels(dst_service.get(), f.dst_service.get()) &&
           src_identity == source_identity(f) && dst_identity == destination_identity(f) && src_baggage == source_baggage(f) &&
           dst_baggage == destination_baggage(f);
}

void LabelFacts::renew(const TrafficFacts& f) {
    if (src_workload != f.src_workload) src_workload = f.src_workload;
    if (dst_workload != f.dst_workload) dst_workload = f.dst_workload;
    if (dst_service != f.dst_service) dst_service = f.dst_service;
}

size_t hash_of(const TrafficFacts& f) noexcept {
    size_t h = static_cast<size_t>(f.direction) * 2 + (f.mutual_tls ? 1 : 0);
    h = mix(mix(mix(h, policy::label_hash(f.src_workload.get())), policy::label_hash(f.dst_workload.get())),
            policy::label_hash(f.dst_service.get()));
    h = mix(mix(h, source_identity(f)), destination_identity(f));
    return mix(mix(h, source_baggage(f)), destination_baggage(f));
}

size_t hash_of(const LabelFacts& f) noexcept {
    size_t h = static_cast<size_t>(f.direction) * 2 + (f.mutual_tls ? 1 : 0);
    h = mix(mix(mix(h, policy::label_hash(f.src_workload.get())), policy::label_hash(f.dst_workload.get())),
            policy::label_hash(f.dst_service.get()));
    h = mix(mix(h, f.src_identity), f.dst_identity);
    return mix(mix(h, f.src_baggage), f.dst_baggage);
}

policy::TrafficLabels labels_of(const LabelFacts& f, ResponseFlag flag) {
    return {.reporter = reporter(f.direction),
            .source = f.src_workload.get(),
            .destination = f.dst_workload.get(),
            .service = f.dst_service.get(),
            .source_baggage = f.src_baggage,
            .destination_baggage = f.dst_baggage,
            .source_principal = f.src_identity,
            .destination_principal = f.dst_identity,
            .response_flags = to_string(flag),
            .security = f.mutual_tls ? "mutual_tls" : "unknown"};
}

}  // namespace warren::ztunnel
