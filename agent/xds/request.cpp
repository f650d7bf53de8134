// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/request.h"

#include "agent/xds/wire.h"
#include "base/bytes.h"
#include "base/ip.h"
#include "proto/xds.pb.h"

#include <algorithm>
#include <array>

namespace warren::xds {

namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kMaxName = 4096;               // the longest names of the mesh have some 600 bytes
constexpr size_t kMaxNode = size_t{256} << 10;  // what a node tells of itself
constexpr size_t kMaxMetadata = 1'000;

base::Error damaged(std::string detail) { return base::Error{base::Errc::Invalid, 0, "", std::move(detail)}; }

base::Result<void> check_text(std::string_view what, std::string_view text) {
    if (text.size() > kMaxName) return damaged(std::string(what) + " is longer than " + std::to_string(kMaxName) + " bytes");
    if (!is_utf8(text)) return damaged(std::string(what) + " " + base::quoted(text) + " is not UTF-8");
    return {};
}

// A map entry: 1 name, 2 version.
base::Result<std::pair<std::string_view, std::string_view>> read_version(Bytes bytes) {
    std::pair<std::string_view, std::string_view> entry;
    FieldReader in(bytes);
    while (const auto field = in.next()) {
        if (field->is(1)) entry.first = field->text();
        if (field->is(2)) entry.second = field->text();
    }
    if (in.bad()) return damaged("initial_resource_versions is damaged");
    TRY(check_text("a name in initial_resource_versions", entry.first));
    TRY(check_text("a version in initial_resource_versions", entry.second));
    return entry;
}

// google.rpc.Status: 2 message. Text for people, which is made printable where it is kept.
base::Result<std::string_view> read_error(Bytes bytes, std::string_view so_far) {
    FieldReader in(bytes);
    while (const auto field = in.next())
        if (field->is(2)) so_far = field->text();
    if (in.bad()) return damaged("error_detail is damaged");
    return so_far;
}

base::Result<void> read_field(const Field& field, RequestView& request) {
    switch (field.number) {
        case 1: request.node = field.bytes; return {};
        case 2: request.type_url = field.text(); return check_text("type_url", field.text());
        case 3: request.subscribe.push_back(field.text()); return check_text("a name in resource_names_subscribe", field.text());
        case 4: request.unsubscribe.push_back(field.text()); return check_text("a name in resource_names_unsubscribe", field.text());
        case 5: request.versions.push_back(TRY(read_version(field.bytes))); return {};
        case 6: request.nonce = field.text(); return check_text("response_nonce", field.text());
        case 7: request.error = TRY(read_error(field.bytes, request.error.value_or(""))); return {};
        default: return {};
    }
}

bool known_role(std::string_view role) {
    static constexpr std::array<std::string_view, 5> kRoles{"sidecar", "router", "waypoint", "ztunnel", "agentgateway"};
    return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

// Part 2 of the id, else the first of INSTANCE_IPS.
base::Result<std::string> address_of(const NodeInfo& node, std::string_view stated) {
    if (base::IpAddr::parse(stated)) return std::string(stated);
    if (const auto ips = node.metadata.find("INSTANCE_IPS"); ips != node.metadata.end()) {
        const std::string first = ips->second.substr(0, ips->second.find(','));
        if (base::IpAddr::parse(first)) return first;
    }
    return base::invalid("node.id " + base::quoted(node.id) + ": its second part is no IP address, and INSTANCE_IPS has none");
}

}  // namespace

base::Result<RequestView> parse_request(Bytes bytes, size_t max_names) {
    RequestView request;
    FieldReader in(bytes);
    while (const auto field = in.next()) {
        if (field->wire != Wire::Length) continue;
        TRY(read_field(*field, request));
        if (request.subscribe.size() + request.unsubscribe.size() + request.versions.size() > max_names)
            return base::Error{base::Errc::Exhausted, 0, "", "a request with more than " + std::to_string(max_names) + " names"};
    }
    if (in.bad()) return damaged("a request that is no DeltaDiscoveryRequest");
    return request;
}

base::Result<NodeInfo> parse_node(Bytes bytes) {
    envoy::service::discovery::v3::Node wire;
    if (bytes.size() > kMaxNode) return base::invalid("node is larger than " + std::to_string(kMaxNode) + " bytes");
    if (!wire.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return base::invalid("node is damaged");
    if (wire.id().empty()) return base::invalid("node.id is empty");
    NodeInfo node;
    node.id = wire.id();
    for (const auto& [name, value] : wire.metadata().fields())
        if (value.kind_case() == google::protobuf::Value::kStringValue && node.metadata.size() < kMaxMetadata)
            node.metadata.emplace(name, value.string_value());
    std::vector<std::string> parts(1);
    for (const char c : node.id) {
        if (c == '~')
            parts.emplace_back();
        else
            parts.back().push_back(c);
    }
    if (parts.size() != 4) return base::invalid("node.id " + base::quoted(node.id) + " is not TYPE~IP~ID~DOMAIN");
    if (!known_role(parts[0])) return base::invalid("node.id " + base::quoted(node.id) + ": unknown type " + base::quoted(parts[0]));
    node.ip = TRY(address_of(node, parts[1]));
    node.role = std::move(parts[0]);
    node.workload = std::move(parts[2]);
    node.domain = std::move(parts[3]);
    return node;
}

}  // namespace warren::xds
