// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_event.h"

#include "base/ip.h"
#include "policy/reason.h"

#include <cerrno>
#include <cstring>
#include <ctime>

#include <netinet/tcp.h>

namespace warren::node {
namespace {

namespace v1 = flow::v1;

void put_address(v1::SocketAddress& to, const wr_addr& address, uint16_t port, const std::string& network) {
    static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (std::memcmp(address.b, kMapped, sizeof kMapped) == 0) {
        to.set_address(address.b + 12, 4);
    } else {
        to.set_address(address.b, sizeof address.b);
    }
    to.set_port(port);
    to.set_network(network);
}

bool is_zero(const wr_addr& address) {
    static constexpr wr_addr kZero{};
    return std::memcmp(&address, &kZero, sizeof kZero) == 0;
}

policy::NetworkAddress mesh_address(const wr_addr& address, const FlowDirectory& names) {
    return {policy::Text(names.network), base::IpAddr::from_bytes({address.b, sizeof address.b}).value_or(base::IpAddr())};
}

void put_workload(v1::Endpoint& to, const policy::Workload& w) {
    to.set_identity(w.identity().uri());
    to.set_uid(w.uid.str());
    to.set_namespace_(w.ns.str());
    to.set_name(w.name.str());
    to.set_workload(w.workload_name.str());
    to.set_cluster_id(w.cluster_id.str());
}

// A pod of this node: the kernel saw its own socket, so its identity is proven.
void put_pod(v1::Endpoint& to, const FlowPod& pod, const FlowDirectory& names) {
    if (pod.workload) {
        put_workload(to, *pod.workload);
    } else {
        to.set_identity(policy::Identity(names.trust_domain, pod.ns, pod.service_account).uri());
        to.set_namespace_(pod.ns);
        to.set_name(pod.name);
    }
    to.set_proof(v1::IDENTITY_PROOF_KERNEL);
}

void put_end(v1::Endpoint& to, uint32_t id, const wr_addr& address, const FlowDirectory& names) {
    if (const auto pod = names.pods.find(id); id != 0 && pod != names.pods.end()) return put_pod(to, *pod->second, names);
    if (!names.mesh || is_zero(address)) return;
    const policy::Workload* found = names.mesh->workload(mesh_address(address, names));
    if (found == nullptr) return;
    put_workload(to, *found);
    to.set_proof(v1::IDENTITY_PROOF_ADDRESS);
}

v1::Path path_of(uint8_t path) {
    switch (path) {
        case WR_PATH_DIRECT: return v1::PATH_DIRECT;
        case WR_PATH_TUNNEL: return v1::PATH_TUNNEL;
        case WR_PATH_PASSTHROUGH: return v1::PATH_PASSTHROUGH;
        case WR_PATH_PLAINTEXT: return v1::PATH_PLAINTEXT;
        default: return v1::PATH_UNSPECIFIED;
    }
}

void put_decision(v1::Decision& to, const wr_flow_event& event, const FlowDirectory& names) {
    to.set_verdict(event.verdict == WR_VERDICT_ALLOW  ? v1::VERDICT_ALLOWED
                   : event.verdict == WR_VERDICT_DENY ? v1::VERDICT_DENIED
                                                      : v1::VERDICT_NOT_JUDGED);
    if (event.verdict != WR_VERDICT_ALLOW && event.verdict != WR_VERDICT_DENY) return;
    if (event.reason < policy::kReasonCount) to.set_reason(std::string(policy::to_string(static_cast<policy::Reason>(event.reason))));
    if (event.policy != 0 && names.policies) {
        if (const auto found = names.policies->find(event.policy); found != names.policies->end()) to.set_policy(found->second);
    }
    if (event.rule != 0) to.set_rule_index(event.rule - 1);
}

// Who ended it shows in the state that the socket left for CLOSE and in its errno. A connection that was up cannot fail to connect: what
// the network said of its path (an ICMP error) is the kernel's word for the silence it gave up on.
v1::CloseReason close_reason(const wr_flow_event& event) {
    if (event.error == ECONNABORTED) return v1::CLOSE_REASON_POLICY_CHANGED;  // what SOCK_DESTROY and bpf_sock_destroy leave
    if (event.connect_us == 0 && (event.error != 0 || event.last_state == TCP_SYN_SENT)) return v1::CLOSE_REASON_CONNECT_FAILED;
    switch (event.error) {
        case 0: break;
        case ECONNRESET:
        case ECONNREFUSED:
        case EPIPE: return v1::CLOSE_REASON_RESET_BY_DESTINATION;
        case ETIMEDOUT:
        case EHOSTUNREACH:
        case EHOSTDOWN:
        case ENETDOWN:
        case ENETUNREACH: return v1::CLOSE_REASON_TIMEOUT;
        default: return v1::CLOSE_REASON_ERROR;
    }
    return event.last_state == TCP_ESTABLISHED ? v1::CLOSE_REASON_RESET_BY_SOURCE : v1::CLOSE_REASON_FINISHED;
}

// The service whose address was asked for, as the client's namespace sees it.
void put_service(v1::Flow& flow, const wr_flow_event& event, const FlowDirectory& names) {
    if (!names.mesh) return;
    const policy::Text client_ns(flow.source().namespace_());
    const policy::ServiceEntry* found = names.mesh->service_by_vip(mesh_address(event.asked, names), &client_ns);
    if (found != nullptr) flow.set_destination_service(found->service->key.str());
}

void put_time(google::protobuf::Timestamp& to, uint64_t mono_ns, int64_t offset) {
    const int64_t ns = static_cast<int64_t>(mono_ns) + offset;
    to.set_seconds(ns / 1'000'000'000);
    to.set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
}

}  // namespace

int64_t wall_offset_ns() {
    timespec wall{}, mono{};
    ::clock_gettime(CLOCK_REALTIME, &wall);
    ::clock_gettime(CLOCK_MONOTONIC, &mono);
    return (wall.tv_sec - mono.tv_sec) * 1'000'000'000LL + (wall.tv_nsec - mono.tv_nsec);
}

std::optional<v1::Flow> to_flow(const wr_flow_event& event, const FlowDirectory& names, int64_t wall_offset_ns) {
    if (event.kind < WR_EVENT_OPEN || event.kind > WR_EVENT_SAMPLE) return std::nullopt;
    // The tunnel reports what it carried; the kernel what never got there.
    const bool unheard = event.kind == WR_EVENT_CLOSE && event.connect_us == 0;
    if ((event.path == WR_PATH_TUNNEL && !unheard) || event.path == WR_PATH_DNS || event.path == WR_PATH_NONE) return std::nullopt;

    v1::Flow flow;
    flow.set_node(names.node);
    flow.set_cookie(event.cookie);
    flow.set_direction(event.direction == WR_DIRECTION_INBOUND ? v1::DIRECTION_INBOUND : v1::DIRECTION_OUTBOUND);
    flow.set_path(path_of(event.path));
    const bool chosen = !is_zero(event.chosen);
    put_end(*flow.mutable_source(), event.source_id, event.source, names);
    put_end(*flow.mutable_destination(), event.destination_id, chosen ? event.chosen : event.asked, names);
    put_address(*flow.mutable_source_address(), event.source, event.source_port, names.network);
    put_address(*flow.mutable_requested_address(), event.asked, event.asked_port, names.network);
    if (chosen) put_address(*flow.mutable_destination_address(), event.chosen, event.chosen_port, names.network);
    put_service(flow, event, names);
    put_decision(*flow.mutable_decision(), event, names);
    put_time(*flow.mutable_start_time(), event.start_ns, wall_offset_ns);
    flow.set_bytes_to_destination(event.bytes_to_destination);
    flow.set_bytes_to_source(event.bytes_to_source);
    if (event.kind == WR_EVENT_DENIED) {
        put_time(*flow.mutable_end_time(), event.time_ns, wall_offset_ns);
        flow.set_close_reason(v1::CLOSE_REASON_POLICY_DENIED);
        return flow;
    }
    if (event.srtt_us != 0) flow.set_smoothed_rtt_us(event.srtt_us);
    if (event.connect_us != 0) {
        flow.set_connect_latency_us(event.connect_us);
        flow.set_retransmits(event.retransmits);
    }
    if (event.kind == WR_EVENT_CLOSE) {
        put_time(*flow.mutable_end_time(), event.time_ns, wall_offset_ns);
        flow.set_close_reason(close_reason(event));
        if (event.error != 0) flow.set_close_detail(base::os_error_of(event.error, "connection").message());
    }
    return flow;
}

}  // namespace warren::node
