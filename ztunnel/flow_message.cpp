// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/flow_message.h"

#include "base/utf8.h"
#include "policy/service.h"
#include "proto/flow.pb.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <array>
#include <utility>

namespace warren::ztunnel {
namespace {

namespace pb = warren::flow::v1;

// A peer's baggage or certificate may hold any bytes; protobuf's readers refuse text that is not UTF-8.
std::string text(std::string_view bytes) {
    std::string out;
    base::append_valid_utf8(out, bytes);
    return out;
}

void put(pb::SocketAddress& to, const base::SockAddr& from) {
    std::array<uint8_t, 16> bytes{};
    const size_t n = from.ip.to_bytes(bytes);
    to.set_address(bytes.data(), n);
    to.set_port(from.port);
}

void put(google::protobuf::Timestamp& to, std::chrono::system_clock::time_point at) {
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
    to.set_seconds(ns / 1'000'000'000);
    to.set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
}

void put(pb::Endpoint& to, const policy::WorkloadRef& workload, const policy::Baggage& baggage, const std::string& identity) {
    to.set_identity(text(identity));
    if (workload) {
        to.set_uid(workload->uid.str());
        to.set_namespace_(workload->ns.str());
        to.set_name(workload->name.str());
        to.set_workload(workload->workload_name.str());
        to.set_cluster_id(workload->cluster_id.str());
        if (identity.empty()) to.set_identity(workload->identity().uri());
        return;
    }
    to.set_namespace_(text(baggage.ns));
    to.set_workload(text(baggage.workload_name));
    to.set_cluster_id(text(baggage.cluster));
}

// A pod of this node is known by its namespace's sockets; a peer by its certificate, once a handshake has shown it; else by address.
pb::IdentityProof proof(const pb::Endpoint& end, bool local, bool verified) {
    if (local) return pb::IDENTITY_PROOF_KERNEL;
    if (verified) return pb::IDENTITY_PROOF_CERTIFICATE;
    return end.identity().empty() ? pb::IDENTITY_PROOF_UNSPECIFIED : pb::IDENTITY_PROOF_ADDRESS;
}

void put_ends(pb::Flow& to, const FlowEvent& event) {
    const TrafficFacts& f = *event.facts;
    const bool out = f.direction == Direction::Outbound;
    put(*to.mutable_source(), f.src_workload, f.src_baggage, f.src_identity);
    put(*to.mutable_destination(), f.dst_workload, f.dst_baggage, f.dst_identity);
    const bool carried = event.to_destination + event.to_source > 0 || (event.ended && event.flag == ResponseFlag::None);
    const bool peer_verified = f.mutual_tls && (out ? carried : !f.src_identity.empty());
    to.mutable_source()->set_proof(proof(to.source(), out && f.src_workload, !out && peer_verified));
    to.mutable_destination()->set_proof(proof(to.destination(), !out && f.dst_workload, out && peer_verified));
}

void put_addresses(pb::Flow& to, const TrafficFacts& f) {
    put(*to.mutable_source_address(), f.src);
    put(*to.mutable_requested_address(), f.original_dst);
    base::SockAddr chosen = f.direction == Direction::Outbound ? f.dst : f.original_dst;
    // Behind a tunnel the application's port is in the request, where that names the endpoint itself.
    if (f.direction == Direction::Outbound && f.kind != TunnelKind::Tcp)
        if (const auto authority = base::SockAddr::parse(f.hbone_addr); authority && authority->ip == chosen.ip) chosen = *authority;
    if (!chosen.ip.is_unspecified()) put(*to.mutable_destination_address(), chosen);
    if (f.dst_service) to.set_destination_service(f.dst_service->key.str());
}

pb::Verdict verdict(FlowVerdict v) {
    switch (v) {
        case FlowVerdict::Allowed: return pb::VERDICT_ALLOWED;
        case FlowVerdict::Denied: return pb::VERDICT_DENIED;
        case FlowVerdict::NotJudged: break;
    }
    return pb::VERDICT_NOT_JUDGED;
}

void put_dry_run(pb::Flow& to, const FlowDecision& decision) {
    if (decision.dry_run == policy::DryRun::None) return;
    auto& dry = *to.mutable_dry_run();
    dry.set_verdict(decision.dry_run == policy::DryRun::WouldAllow ? pb::VERDICT_ALLOWED : pb::VERDICT_DENIED);
    const policy::Reason why = decision.dry_run == policy::DryRun::WouldAllow  ? policy::Reason::AllowedByPolicy
                               : decision.dry_run == policy::DryRun::WouldDeny ? policy::Reason::DeniedByPolicy
                                                                               : policy::Reason::DeniedNoAllowMatched;
    dry.set_reason(std::string(policy::to_string(why)));
    if (decision.dry_run_policy) dry.set_policy(decision.dry_run_policy->key().str());
}

void put_decision(pb::Flow& to, const FlowEvent& event) {
    const FlowDecision& decision = event.state.decision;
    auto& said = *to.mutable_decision();
    said.set_verdict(verdict(decision.verdict));
    const policy::Reason reason = decision.verdict == FlowVerdict::NotJudged ? event.facts->route_reason : decision.reason;
    said.set_reason(event.early_reason.empty() ? std::string(policy::to_string(reason)) : event.early_reason);
    if (decision.policy) {
        said.set_policy(decision.policy->key().str());
        if (reason == policy::Reason::AllowedByPolicy || reason == policy::Reason::DeniedByPolicy) said.set_rule_index(decision.rule);
    }
    put_dry_run(to, decision);
}

pb::CloseReason close_reason(const FlowEvent& event) {
    if (event.early_reason == "handshake_failed") return pb::CLOSE_REASON_TLS_FAILED;
    if (event.error == kDrained) return pb::CLOSE_REASON_DRAINED;
    if (event.error == kPodGone) return pb::CLOSE_REASON_WORKLOAD_GONE;
    switch (event.flag) {
        case ResponseFlag::Deny: return event.state.started ? pb::CLOSE_REASON_POLICY_CHANGED : pb::CLOSE_REASON_POLICY_DENIED;
        case ResponseFlag::TlsFailure:
        case ResponseFlag::H2HandshakeFailure:
        case ResponseFlag::IdentityError: return pb::CLOSE_REASON_TLS_FAILED;
        case ResponseFlag::CertRevoked: return pb::CLOSE_REASON_CERTIFICATE_REVOKED;
        case ResponseFlag::NetworkPolicy: return pb::CLOSE_REASON_CONNECT_FAILED;
        case ResponseFlag::None:
        case ResponseFlag::Connect: break;
    }
    if (event.error.empty()) return pb::CLOSE_REASON_FINISHED;
    switch (event.by) {
        case EndedBy::Source: return pb::CLOSE_REASON_RESET_BY_SOURCE;
        case EndedBy::Destination: return pb::CLOSE_REASON_RESET_BY_DESTINATION;
        case EndedBy::Timeout: return pb::CLOSE_REASON_TIMEOUT;
        case EndedBy::Unknown: break;
    }
    return event.to_destination + event.to_source == 0 ? pb::CLOSE_REASON_CONNECT_FAILED : pb::CLOSE_REASON_ERROR;
}

pb::Path path(const TrafficFacts& f) {
    if (f.kind != TunnelKind::Tcp) return pb::PATH_TUNNEL;
    return f.passthrough ? pb::PATH_PASSTHROUGH : pb::PATH_PLAINTEXT;
}

}  // namespace

std::string flow_message(const FlowEvent& event, std::string_view node) {
    pb::Flow flow;
    const TrafficFacts& f = *event.facts;
    flow.set_node(std::string(node));
    flow.set_cookie(event.state.cookie);
    flow.set_direction(f.direction == Direction::Outbound ? pb::DIRECTION_OUTBOUND : pb::DIRECTION_INBOUND);
    flow.set_path(path(f));
    put_ends(flow, event);
    put_addresses(flow, f);
    put_decision(flow, event);
    put(*flow.mutable_start_time(), event.state.start);
    if (event.ended) {
        put(*flow.mutable_end_time(), event.end_time);
        flow.set_close_reason(close_reason(event));
        flow.set_close_detail(text(event.error));
    }
    flow.set_bytes_to_destination(event.to_destination);
    flow.set_bytes_to_source(event.to_source);
    return flow.SerializeAsString();
}

bool FlowBatchWriter::add(std::string_view flow) {
    constexpr size_t kHeader = 64;  // sequence, lost, and this flow's tag and length
    if (flows_ == kFlowsPerMessage || body_.size() + flow.size() + kHeader > kFlowMessageBytes) return false;
    google::protobuf::io::StringOutputStream stream(&body_);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.WriteTag(pb::FlowBatch::kFlowsFieldNumber << 3 | 2);
    out.WriteVarint32(static_cast<uint32_t>(flow.size()));
    out.WriteRaw(flow.data(), static_cast<int>(flow.size()));
    ++flows_;
    return true;
}

std::string FlowBatchWriter::finish(uint64_t sequence, uint64_t lost) {
    pb::FlowBatch head;
    head.set_sequence(sequence);
    head.set_lost(lost);
    std::string out = head.SerializeAsString();
    out += std::exchange(body_, {});
    flows_ = 0;
    return out;
}

}  // namespace warren::ztunnel
