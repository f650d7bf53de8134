// SPDX-License-Identifier: Apache-2.0
// What the generated code does with bytes and JSON: packets written by hand decode as meant, unknown things survive, the JSON form is the
// one in which control planes show their resources.
#include "proto/authorization.pb.h"
#include "proto/ca.pb.h"
#include "proto/flow.pb.h"
#include "proto/workload.pb.h"
#include "proto/xds.pb.h"
#include "proto/zds.pb.h"

#include "tests/catch.h"

#include <google/protobuf/util/json_util.h>

#include <string>
#include <string_view>

namespace {

namespace xds = envoy::service::discovery::v3;
namespace flow = warren::flow::v1;
using google::protobuf::util::JsonStringToMessage;
using google::protobuf::util::MessageToJsonString;

using namespace std::string_literals;

// A field of wire type 2 by hand: key, length, content; both below 128.
std::string field(int number, const std::string& content) {
    return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} + content;
}

// A varint field; number below 16, value below 128.
std::string number_field(int number, int value) { return {static_cast<char>(number << 3), static_cast<char>(value)}; }

template <typename Message>
Message decode(const std::string& bytes) {
    Message message;
    REQUIRE(message.ParseFromString(bytes));
    return message;
}

template <typename Message>
Message from_json(const std::string& json) {
    Message message;
    const auto status = JsonStringToMessage(json, &message);
    INFO(status.ToString());
    REQUIRE(status.ok());
    std::string again;
    REQUIRE(MessageToJsonString(message, &again).ok());
    Message reread;
    REQUIRE(JsonStringToMessage(again, &reread).ok());
    CHECK(reread.SerializeAsString() == message.SerializeAsString());
    return message;
}

}  // namespace

TEST_CASE("proto: a workload written by hand decodes") {
    // Numbers from 16 on take a two-byte key: field 20 (uid) is 0xa2 0x01, 22 (services) is 0xb2 0x01, 27 (capacity) is 0xda 0x01.
    const std::string port = field(1, "\x08\x50\x10\x90\x3f"s);  // service port 80, target port 8080
    const std::string entry = field(1, "ns/web.x") + field(2, port);
    const std::string workload = field(1, "web-1") + field(3, "\x0a\x50\x00\x5d"s) + number_field(5, 1) + "\xa2\x01\x03u/1"s + "\xb2\x01"s +
                                 static_cast<char>(entry.size()) + entry + "\xda\x01\x00"s;
    const auto address = decode<istio::workload::Address>(field(1, workload));
    REQUIRE(address.type_case() == istio::workload::Address::kWorkload);
    const auto& w = address.workload();
    CHECK(w.name() == "web-1");
    REQUIRE(w.addresses_size() == 1);
    CHECK(w.addresses(0) == "\x0a\x50\x00\x5d"s);
    CHECK(w.tunnel_protocol() == istio::workload::HBONE);
    CHECK(w.uid() == "u/1");
    REQUIRE(w.services().contains("ns/web.x"));
    CHECK(w.services().at("ns/web.x").ports(0).service_port() == 80);
    CHECK(w.services().at("ns/web.x").ports(0).target_port() == 8080);
    CHECK(w.has_capacity());  // a weight of zero is not an absent weight
    CHECK(w.capacity().value() == 0);
    CHECK(w.GetReflection()->GetUnknownFields(w).empty());
}

TEST_CASE("proto: an authorization written by hand decodes") {
    const std::string match = field(3, field(1, "a/ns/b/sa/c")) + field(4, field(4, "")) +
                              field(5, field(1, "\x0a\x00\x00\x00"s) + "\x10\x08") + field(9, "\x50"s) +
                              field(11, field(1, "ns") + field(2, "sa"));
    const std::string clause = field(2, match);
    const auto a = decode<istio::security::Authorization>(field(1, "p") + field(2, "ns") + number_field(3, 2) + number_field(4, 1) +
                                                          field(5, field(1, clause)) + number_field(6, 1));
    CHECK(a.scope() == istio::security::WORKLOAD_SELECTOR);
    CHECK(a.action() == istio::security::DENY);
    CHECK(a.dry_run());
    const auto& m = a.rules(0).clauses(0).matches(0);
    CHECK(m.principals(0).exact() == "a/ns/b/sa/c");
    CHECK(m.not_principals(0).match_type_case() == istio::security::StringMatch::kPresence);
    CHECK(m.source_ips(0).address() == "\x0a\x00\x00\x00"s);
    CHECK(m.source_ips(0).length() == 8);
    CHECK(m.destination_ports(0) == 80);
    CHECK(m.service_accounts(0).serviceaccount() == "sa");
}

TEST_CASE("proto: a delta discovery request and response written by hand decode") {
    const auto request = decode<xds::DeltaDiscoveryRequest>(
        field(1, field(1, "ztunnel~ip~a.b~c") + field(3, field(1, field(1, "NODE_NAME") + field(2, field(3, "n1"))))) + field(2, "type") +
        field(3, "*") + field(4, "*") + field(5, field(1, "r") + field(2, "v7")) + field(6, "nonce") +
        field(7, "\x08\x03"s + field(2, "bad")));
    CHECK(request.node().id() == "ztunnel~ip~a.b~c");
    CHECK(request.node().metadata().fields().at("NODE_NAME").string_value() == "n1");
    CHECK(request.resource_names_subscribe(0) == "*");
    CHECK(request.resource_names_unsubscribe(0) == "*");
    CHECK(request.initial_resource_versions().at("r") == "v7");
    CHECK(request.response_nonce() == "nonce");
    CHECK(request.error_detail().code() == 3);
    CHECK(request.error_detail().message() == "bad");

    const auto response = decode<xds::DeltaDiscoveryResponse>(
        field(1, "now") + field(2, field(1, "v") + field(2, field(1, "t") + field(2, "bytes")) + field(3, "name") + field(4, "/10.0.0.1")) +
        field(4, "type") + field(5, "nonce") + field(6, "gone"));
    CHECK(response.resources(0).version() == "v");
    CHECK(response.resources(0).resource().value() == "bytes");
    CHECK(response.resources(0).name() == "name");
    CHECK(response.resources(0).aliases(0) == "/10.0.0.1");
    CHECK(response.type_url() == "type");
    CHECK(response.nonce() == "nonce");
    CHECK(response.removed_resources(0) == "gone");
}

TEST_CASE("proto: a certificate request and response written by hand decode") {
    const auto request = decode<istio::v1::auth::IstioCertificateRequest>(
        field(1, "PEM") + "\x18\x80\xa3\x05"s +
        field(4, field(1, field(1, "ImpersonatedIdentity") + field(2, field(3, "spiffe://t/ns/a/sa/b")))));
    CHECK(request.csr() == "PEM");
    CHECK(request.validity_duration() == 86400);
    CHECK(request.metadata().fields().at("ImpersonatedIdentity").string_value() == "spiffe://t/ns/a/sa/b");
    const auto response = decode<istio::v1::auth::IstioCertificateResponse>(field(1, "leaf") + field(1, "root"));
    REQUIRE(response.cert_chain_size() == 2);
    CHECK(response.cert_chain(1) == "root");
}

TEST_CASE("proto: in-pod packets written by hand decode") {
    namespace zds = istio::workload::zds;
    CHECK(decode<zds::ZdsHello>("\x08\x01"s).version() == zds::V1);
    const auto add =
        decode<zds::WorkloadRequest>(field(1, field(1, "uid-1") + field(2, field(1, "web") + field(2, "ns") + field(3, "sa"))));
    REQUIRE(add.payload_case() == zds::WorkloadRequest::kAdd);
    CHECK(add.add().uid() == "uid-1");
    CHECK(add.add().workload_info().service_account() == "sa");
    CHECK(decode<zds::WorkloadRequest>(field(2, field(1, "u"))).del().uid() == "u");
    CHECK(decode<zds::WorkloadRequest>(field(3, "")).payload_case() == zds::WorkloadRequest::kSnapshotSent);
    CHECK(decode<zds::WorkloadRequest>(field(5, field(1, "u"))).keep().uid() == "u");
    CHECK(decode<zds::WorkloadResponse>(field(1, "")).payload_case() == zds::WorkloadResponse::kAck);
    CHECK(decode<zds::WorkloadResponse>(field(1, field(1, "port busy"))).ack().error() == "port busy");
    CHECK(decode<zds::WorkloadRequest>("").payload_case() == zds::WorkloadRequest::PAYLOAD_NOT_SET);
}

TEST_CASE("proto: a flow written by hand decodes, and a measured zero is not an absent measure") {
    const std::string decision = number_field(1, 2) + field(2, "ns/p") + number_field(3, 0) + field(4, "no_rule_matched");
    const std::string bytes = field(1, "n1") + number_field(2, 9) + number_field(3, 1) + number_field(4, 2) +
                              field(5, field(1, "spiffe://t/ns/a/sa/b") + number_field(2, 3)) +
                              field(8, field(1, "\x0a\x00\x00\x01"s) + "\x10\x50"s) + field(11, decision) + "\xa0\x01\x00"s;
    const auto batch = decode<flow::FlowBatch>(number_field(1, 1) + number_field(2, 5) + field(3, bytes));
    CHECK(batch.sequence() == 1);
    CHECK(batch.lost() == 5);
    REQUIRE(batch.flows_size() == 1);
    const auto& f = batch.flows(0);
    CHECK(f.cookie() == 9);
    CHECK(f.direction() == flow::DIRECTION_OUTBOUND);
    CHECK(f.path() == flow::PATH_TUNNEL);
    CHECK(f.source().proof() == flow::IDENTITY_PROOF_CERTIFICATE);
    CHECK(f.requested_address().port() == 80);
    CHECK_FALSE(f.has_destination_address());
    CHECK(f.decision().verdict() == flow::VERDICT_DENIED);
    CHECK(f.decision().policy() == "ns/p");
    CHECK(f.decision().has_rule_index());
    CHECK(f.decision().reason() == "no_rule_matched");
    CHECK(f.has_retransmits());
    CHECK_FALSE(f.has_smoothed_rtt_us());
}

TEST_CASE("proto: unknown fields survive a round trip at every depth") {
    const std::string later = "\xfa\x7f\x03new"s;  // field 2047, as a later control plane may add
    const std::string bytes = field(2, field(1, "web") + field(7, number_field(3, 80) + later) + later) + later;
    const auto address = decode<istio::workload::Address>(bytes);
    CHECK(address.service().waypoint().hbone_mtls_port() == 80);
    CHECK(address.SerializeAsString() == bytes);

    const std::string reserved = field(1, "web") + field(15, "old");  // a number that Workload reserves
    CHECK(decode<istio::workload::Workload>(reserved).SerializeAsString() == reserved);
}

TEST_CASE("proto: unknown enum numbers are kept as they are, for the strict readers to refuse") {
    const auto workload = decode<istio::workload::Workload>(number_field(5, 77));
    CHECK(static_cast<int>(workload.tunnel_protocol()) == 77);
    CHECK(workload.SerializeAsString() == number_field(5, 77));
    CHECK(static_cast<int>(decode<istio::security::Authorization>(number_field(4, 9)).action()) == 9);
}

TEST_CASE("proto: a truncated message is refused") {
    istio::workload::Address address;
    const std::string whole = field(1, field(1, "web-1") + field(2, "ns"));
    for (size_t n = 1; n < whole.size(); ++n) CHECK_FALSE(address.ParseFromString(whole.substr(0, n)));
    CHECK(address.ParseFromString(whole));
}

TEST_CASE("proto: an authorization in JSON reads with the names that control planes show") {
    const auto a =
        from_json<istio::security::Authorization>(R"({"name": "p", "namespace": "ns", "scope": "WORKLOAD_SELECTOR", "action": "DENY",
        "rules": [{"clauses": [
            {"matches": [{"destinationPorts": [80]}, {"destinationPorts": [81], "notDestinationPorts": [82]}]},
            {"matches": [{"namespaces": [{"exact": "a"}, {"prefix": "b-"}, {"suffix": "-c"}], "notNamespaces": [{"exact": "q"}]}]},
            {"matches": [{"principals": [{"exact": "x/ns/y/sa/z"}], "notPrincipals": [{"presence": {}}],
                          "sourceIps": [{"address": "CgAAAA==", "length": 8}], "notSourceIps": [{"address": "CgEAAA==", "length": 16}],
                          "destinationIps": [{"address": "CgIAAQ==", "length": 32}]}]},
            {"matches": [{"serviceAccounts": [{"namespace": "ns", "serviceAccount": "a"}],
                          "notServiceAccounts": [{"namespace": "ns", "serviceAccount": "b"}]}]}]}]})");
    CHECK(a.scope() == istio::security::WORKLOAD_SELECTOR);
    REQUIRE(a.rules_size() == 1);
    REQUIRE(a.rules(0).clauses_size() == 4);
    CHECK(a.rules(0).clauses(0).matches(1).not_destination_ports(0) == 82);
    CHECK(a.rules(0).clauses(1).matches(0).namespaces(2).suffix() == "-c");
    CHECK(a.rules(0).clauses(2).matches(0).not_principals(0).has_presence());
    CHECK(a.rules(0).clauses(2).matches(0).source_ips(0).address() == "\x0a\x00\x00\x00"s);
    CHECK(a.rules(0).clauses(3).matches(0).not_service_accounts(0).serviceaccount() == "b");

    std::string json;
    REQUIRE(MessageToJsonString(a.rules(0).clauses(3), &json).ok());
    CHECK(
        json ==
        R"({"matches":[{"serviceAccounts":[{"namespace":"ns","serviceAccount":"a"}],"notServiceAccounts":[{"namespace":"ns","serviceAccount":"b"}]}]})");
}

TEST_CASE("proto: a workload in JSON reads with the names that control planes show") {
    const auto w = from_json<istio::workload::Workload>(R"({"uid": "Kubernetes//Pod/ns/web-1", "name": "web-1", "namespace": "ns",
        "addresses": ["ClAAXQ=="], "authorizationPolicies": ["ns/p"], "canonicalName": "web", "canonicalRevision": "latest", "capacity": 0,
        "clusterId": "Kubernetes", "hostname": "h", "locality": {"region": "r1", "zone": "z1", "subzone": "s1"}, "network": "net",
        "networkMode": "HOST_NETWORK", "node": "n1", "serviceAccount": "web", "status": "UNHEALTHY", "tunnelProtocol": "HBONE",
        "services": {"ns/web.ns.svc.cluster.local": {"ports": [{"servicePort": 80, "targetPort": 8080}]}}, "workloadName": "web-1",
        "workloadType": "POD"})");
    CHECK(w.addresses(0) == "\x0a\x50\x00\x5d"s);
    CHECK(w.has_capacity());
    CHECK(w.network_mode() == istio::workload::HOST_NETWORK);
    CHECK(w.services().at("ns/web.ns.svc.cluster.local").ports(0).target_port() == 8080);
}

TEST_CASE("proto: a service in JSON reads with the names that control planes show") {
    const auto s = from_json<istio::workload::Service>(R"({"name": "web", "namespace": "ns", "hostname": "web.ns.svc.cluster.local",
        "addresses": [{"address": "CmAAAQ=="}, {"network": "n", "address": "CmAAAA==", "length": 0}], "canonical": true,
        "ingressUseWaypoint": true, "ipFamilies": "IPV4_ONLY",
        "loadBalancing": {"healthPolicy": "ALLOW_ALL", "mode": "FAILOVER", "routingPreference": ["NETWORK", "REGION", "ZONE"]},
        "ports": [{"appProtocol": "HTTP2", "servicePort": 80, "targetPort": 8080}],
        "waypoint": {"address": {"address": "CmAACQ=="}, "hboneMtlsPort": 15008}})");
    CHECK_FALSE(s.addresses(0).has_length());
    CHECK(s.addresses(1).has_length());  // the default route is a prefix, not a host
    CHECK(s.load_balancing().routing_preference(2) == istio::workload::LoadBalancing::ZONE);
    CHECK(s.waypoint().destination_case() == istio::workload::GatewayAddress::kAddress);
    CHECK(s.waypoint().hbone_mtls_port() == 15008);
    istio::workload::Service refused;
    CHECK_FALSE(JsonStringToMessage(R"({"name": "web", "ip_famly": 1})", &refused).ok());
}
