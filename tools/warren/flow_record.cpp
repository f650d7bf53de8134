// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/flow_record.h"

namespace warren::tools {
namespace {

FlowEnd read_end(const Json& j) {
    return {text_at(j, "identity"),  text_at(j, "proof"), text_at(j, "uid"),
            text_at(j, "namespace"), text_at(j, "name"),  text_at(j, "workload")};
}

FlowJudgement read_judgement(const Json& j) {
    FlowJudgement out{text_at(j, "verdict"), text_at(j, "policy"), text_at(j, "reason"), {}};
    if (at(j, "rule_index").is_number_unsigned()) out.rule = number_at(j, "rule_index");
    return out;
}

base::Result<std::optional<base::SockAddr>> read_address(const Json& j, const char* key) {
    const std::string text = text_at(j, key);
    if (text.empty()) return std::optional<base::SockAddr>();
    auto parsed = base::SockAddr::parse(text);
    if (!parsed) return std::move(parsed).error().with(key);
    return std::optional<base::SockAddr>(*parsed);
}

base::Result<base::WallTime> read_time(const Json& j, const char* key) {
    auto parsed = base::parse_rfc3339(text_at(j, key));
    if (!parsed) return std::move(parsed).error().with(key);
    return parsed;
}

std::optional<uint64_t> optional_number(const Json& j, const char* key) {
    return at(j, key).is_number_unsigned() ? std::optional(number_at(j, key)) : std::nullopt;
}

}  // namespace

std::string FlowRecord::key() const { return node + ' ' + cookie + ' ' + direction + ' ' + base::to_rfc3339(start, 9); }

uint16_t FlowRecord::port() const {
    if (requested_address) return requested_address->port;
    return destination_address ? destination_address->port : uint16_t{0};
}

std::string FlowRecord::from_shown() const {
    if (!source.name.empty()) return source.pod();
    return source_address ? source_address->ip.to_string() : "unknown";
}

std::string FlowRecord::to_shown() const {
    const std::string port_text = ':' + std::to_string(port());
    if (!destination.name.empty()) return destination.pod() + port_text;
    if (!destination_service.empty()) return destination_service + port_text;
    if (requested_address) return requested_address->to_string();
    return destination_address ? destination_address->to_string() : "unknown";
}

base::Result<FlowRecord> read_flow(const Json& j) {
    if (!j.is_object()) return base::invalid("a flow is a JSON object");
    FlowRecord f;
    f.node = text_at(j, "node");
    f.cookie = text_at(j, "cookie");
    f.direction = text_at(j, "direction");
    f.path = text_at(j, "path");
    f.source = read_end(at(j, "source"));
    f.destination = read_end(at(j, "destination"));
    f.source_address = TRY(read_address(j, "source_address"));
    f.requested_address = TRY(read_address(j, "requested_address"));
    f.destination_address = TRY(read_address(j, "destination_address"));
    f.destination_service = text_at(j, "destination_service");
    f.decision = read_judgement(at(j, "decision"));
    f.dry_run = read_judgement(at(j, "dry_run"));
    f.start = TRY(read_time(j, "start_time"));
    if (!text_at(j, "end_time").empty()) f.end = TRY(read_time(j, "end_time"));
    f.close_reason = text_at(j, "close_reason");
    f.close_detail = text_at(j, "close_detail");
    f.to_destination = number_at(j, "bytes_to_destination");
    f.to_source = number_at(j, "bytes_to_source");
    f.rtt_us = optional_number(j, "smoothed_rtt_us");
    f.retransmits = optional_number(j, "retransmits");
    return f;
}

}  // namespace warren::tools
