// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_json.h"

#include "agent/node/flow_names.h"
#include "base/ip.h"

#include <google/protobuf/util/time_util.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <span>

namespace warren::node {
namespace {

namespace v1 = flow::v1;
using Json = nlohmann::ordered_json;

void put(Json& to, const char* key, const std::string& value) {
    if (!value.empty()) to[key] = value;
}

void put(Json& to, const char* key, const v1::SocketAddress& address) {
    const std::string& bytes = address.address();
    const auto ip = base::IpAddr::from_bytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    if (!ip) return;
    const std::string text = ip->is_v6() ? "[" + ip->to_string() + "]" : ip->to_string();
    to[key] = text + ":" + std::to_string(address.port());
}

void put(Json& to, const char* key, const v1::Endpoint& end) {
    Json made = Json::object();
    put(made, "identity", end.identity());
    if (end.proof() != v1::IDENTITY_PROOF_UNSPECIFIED) made["proof"] = name_of(end.proof());
    put(made, "uid", end.uid());
    put(made, "namespace", end.namespace_());
    put(made, "name", end.name());
    put(made, "workload", end.workload());
    put(made, "cluster_id", end.cluster_id());
    if (!made.empty()) to[key] = std::move(made);
}

void put(Json& to, const char* key, const v1::Decision& decision) {
    Json made = {{"verdict", name_of(decision.verdict())}};
    put(made, "policy", decision.policy());
    if (decision.has_rule_index()) made["rule_index"] = decision.rule_index();
    put(made, "reason", decision.reason());
    to[key] = std::move(made);
}

}  // namespace

std::string flow_json(const v1::Flow& flow) {
    using google::protobuf::util::TimeUtil;
    Json j = {{"node", flow.node()},
              {"cookie", std::to_string(flow.cookie())},  // a text: 64 bits do not survive most JSON readers
              {"direction", name_of(flow.direction())},
              {"path", name_of(flow.path())}};
    put(j, "source", flow.source());
    put(j, "destination", flow.destination());
    put(j, "source_address", flow.source_address());
    put(j, "requested_address", flow.requested_address());
    if (flow.has_destination_address()) put(j, "destination_address", flow.destination_address());
    put(j, "destination_service", flow.destination_service());
    if (flow.has_decision()) put(j, "decision", flow.decision());
    if (flow.has_dry_run()) put(j, "dry_run", flow.dry_run());
    j["start_time"] = TimeUtil::ToString(flow.start_time());
    if (flow.has_end_time()) {
        j["end_time"] = TimeUtil::ToString(flow.end_time());
        j["close_reason"] = name_of(flow.close_reason());
        put(j, "close_detail", flow.close_detail());
    }
    j["bytes_to_destination"] = flow.bytes_to_destination();
    j["bytes_to_source"] = flow.bytes_to_source();
    if (flow.has_smoothed_rtt_us()) j["smoothed_rtt_us"] = flow.smoothed_rtt_us();
    if (flow.has_retransmits()) j["retransmits"] = flow.retransmits();
    if (flow.has_connect_latency_us()) j["connect_latency_us"] = flow.connect_latency_us();
    // Names come from the control plane: what is not UTF-8 there must not end the line's writer.
    return j.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace warren::node
